import json
import math

import pytest
import torch
from click.testing import CliRunner

from leechcodec.apps.cli.laboratory import COMMANDS
from leechcodec.codec.model_store import save_model
from leechcodec.lab import limits, quantizer_table
from leechcodec.testing.tiny import tiny_model
from tests.lab.lab_files import picture


@pytest.mark.slow
def test_every_listed_quantizer_has_its_row():
    found = {row.name: row for row in quantizer_table.rows(samples=1000)}
    assert list(found) == list(quantizer_table.NAMES)
    assert found["leech"].delta_min == 1 and found["leech"].delta_printed == 0.866
    assert found["bsq-18"].delta_min == pytest.approx(0.471, abs=5e-4) and found["bsq-18"].delta_printed == 0.471
    assert found["vq-12-12"].distortion is None and found["round-12"].delta_min is None
    for row in found.values():
        if row.distortion is not None:
            assert 0 < row.distortion < 1 and row.bound == pytest.approx(2 ** (-2 * row.bits / row.dim))
            assert row.gap_db == pytest.approx(10 * math.log10(row.distortion / row.bound))
            assert row.cap_gap_db == pytest.approx(10 * math.log10(row.distortion / row.cap_bound))
            assert row.cap_gap_db > 0


def test_distortions_agree_with_those_of_limits():
    known = {row.code: row for row in limits.limits(samples=20_000)}
    names = ("leech", "bsq-18", "lfq-18", "fsq-8x8x8x5x5x5", "fsq-3x3x3x3x3x3x3x3x3x3x3")
    ours = {row.name: row for row in quantizer_table.rows(names, samples=20_000)}
    assert ours["leech"].distortion == pytest.approx(known["Λ24-SQ"].distortion, abs=2e-3)
    assert ours["bsq-18"].distortion == pytest.approx(known["BSQ-18"].distortion, abs=2e-3)
    # Codewords of 8 levels reach 7/8 to either side, those of 5 levels 1; in limits all reach 1.
    assert known["FSQ 8^3·5^3"].distortion < ours[names[3]].distortion < known["FSQ 8^3·5^3"].distortion + 6e-3
    assert ours[names[4]].distortion == pytest.approx(known["FSQ 3^11"].distortion, abs=2e-3)
    assert ours["lfq-18"].distortion == pytest.approx(ours["bsq-18"].distortion, abs=1e-6)


def test_usage_is_counted_on_a_models_latents(tmp_path):
    save_model(tmp_path / "model", tiny_model("vq-12-6"))
    latents = limits.latents_of([picture(64, 64)], tmp_path / "model", qualities=(80,))
    own, other, *rest = quantizer_table.rows(("bsq-12", "e8", "fsq-8x5"), latents, tmp_path / "model", 1000)
    assert own.name == "vq-12-6" and own.delta_min > 0 and 0 < own.used <= 64 and own.tokens == len(latents)
    assert other.name == "bsq-12" and other.used == len(torch.unique((latents > 0).int(), dim=0))
    assert all(row.used is None for row in rest)


def test_command(tmp_path):
    run = CliRunner().invoke
    arguments = ["-q", "d4", "-q", "leech", "--samples", "1000"]
    rows = json.loads(run(COMMANDS["quantizers"], [*arguments, "--json"]).stdout)
    assert [row["name"] for row in rows] == ["d4", "leech"] and rows[1]["size"] == 196560 and rows[0]["used"] is None
    assert run(COMMANDS["quantizers"], [*arguments, "--markdown"]).stdout.startswith("| quantizer | d |")
    text = run(COMMANDS["quantizers"], arguments).stdout
    assert "δ_min" in text and "0.866" in text
    assert run(COMMANDS["quantizers"], [*arguments, "--json", "--markdown"]).exit_code == 2
    assert run(COMMANDS["quantizers"], ["--model", "x"]).exit_code == 2
    save_model(tmp_path / "model", tiny_model("d4x3"))
    picture(64, 64).save(tmp_path / "a.png")
    found = run(
        COMMANDS["quantizers"], [str(tmp_path / "a.png"), "--model", str(tmp_path / "model"), *arguments, "--json"]
    )
    assert json.loads(found.stdout)[0]["used"] > 1


def test_a_code_without_distortion_has_no_gap():
    (row,) = quantizer_table.rows(["bsq-1"], samples=100)
    assert row.distortion == pytest.approx(0) and row.gap_db is None and row.cap_bound is None
