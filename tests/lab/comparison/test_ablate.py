import json

import pytest

from leechcodec.lab.comparison import ablate

pytestmark = pytest.mark.slow

POINTS = [{"bpp": 0.1 * n, "psnr": 20.0 + n, "ms_ssim_db": 10.0 + n} for n in range(1, 5)]


def logged(run, step):
    run.mkdir(exist_ok=True)
    rows = [{"step": 50 * n, "seconds": 10.0 * n} for n in range(1, 4)]
    rows.append({"step": step, "validation": {"score": 0.5, "points": POINTS}})
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_a_row_is_finished_at_its_last_step_alone(tmp_path):
    logged(tmp_path / "run", 150)
    assert ablate.result_of(tmp_path / "run", 150)["score"] == 0.5
    assert ablate.result_of(tmp_path / "run", 300) is None
    assert ablate.result_of(tmp_path / "none", 150) is None
    line = ablate.line_of("Z-loss", tmp_path / "run", 150)
    assert line == "| Z-loss | 150 | 0.5000 | 0.2500 | 22.50 dB | 12.50 dB | 0.20 s |"
    with pytest.raises(ValueError, match="no validation at step 300"):
        ablate.line_of("Z-loss", tmp_path / "run", 300)


def test_rows_have_folders_of_their_own():
    assert len({ablate.slug(name) for name in ablate.ROWS}) == len(ablate.ROWS)
    assert ablate.slug("dion, rank 1/4") == "dion-rank-1-4"
