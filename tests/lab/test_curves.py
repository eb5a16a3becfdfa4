import json

import pytest

from leechcodec.lab import curves
from leechcodec.lab.errors import PeerError, ResultsError
from tests.lab.lab_files import results


def test_measured_curves_are_in_the_units_drawn():
    curve = curves.measured(results(lpips=False))
    assert curve.key == "jpeg" and not curve.published
    assert curve.points("ms-ssim")[1][0] == pytest.approx(10)
    assert curve.points("lpips") == ([], [])
    assert curve.points("psnr") == (list(curve.bpp), [25, 31, 37, 43, 49, 55])


def test_published_curves(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text(
        json.dumps(
            {
                "A": {"bpp": [2, 1], "psnr": [40, 30], "ms_ssim": None, "ssimulacra2": [80, 60], "source": "a paper"},
                "B": {"bpp": [1]},
            }
        )
    )
    first, second = curves.published(path)
    assert first.bpp == (1, 2) and first.metrics["psnr"] == (30, 40) and first.metrics["ms-ssim"] == (None, None)
    assert first.values("ssimulacra2") == (60, 80) and first.values("lpips") == (None, None)
    assert first.published and second.points("psnr") == ([], [])
    assert [curve.name for curve in curves.published(path, ["B"])] == ["B"]
    with pytest.raises(PeerError, match="'C'"):
        curves.published(path, ["C"])


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"A": 1}',
        '{"A": {"bpp": []}}',
        '{"A": {"bpp": ["x"]}}',
        '{"A": {"bpp": [1, 2], "psnr": [30]}}',
        '{"A": {"bpp": [1], "psnr": [true]}}',
    ],
)
def test_damaged_curves_are_refused(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ResultsError):
        curves.published(tmp_path / "c.json")
