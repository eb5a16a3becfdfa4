import math

import pytest
import torch
from click.testing import CliRunner

from leechcodec.lab import limits
from leechcodec.lab.commands import COMMANDS
from leechcodec.quantizers import BSQ


def test_signs_of_uniform_directions_have_a_known_distortion():
    # E|u_1| of a uniform direction: Γ(d/2) / (√π Γ((d + 1)/2)); E cos = √d E|u_1|.
    d = 18
    cosine = math.sqrt(d) * math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)
    (row,) = [row for row in limits.limits(samples=20_000) if row.code == "BSQ-18"]
    assert row.distortion == pytest.approx(1 - cosine**2, abs=2e-3)
    assert row.bound == 0.25 and row.gap_db == pytest.approx(10 * math.log10(row.distortion / 0.25))


def test_leech_is_nearest_to_the_bound():
    rows = {row.code: row for row in limits.limits(samples=20_000)}
    assert rows["Λ24-SQ"].distortion == pytest.approx(0.396, abs=2e-3)
    assert rows["Λ24-SQ"].gap_db < min(row.gap_db for code, row in rows.items() if row.dim > 8 and code != "Λ24-SQ")


def test_a_binary_grid_is_bsq():
    u = torch.nn.functional.normalize(torch.randn(2000, 18), dim=1)
    assert limits.distortion(u, limits.Grid((2,) * 18).nearest(u)) == pytest.approx(
        limits.distortion(u, BSQ(18).nearest(u))
    )


def test_command_and_figure(tmp_path):
    pytest.importorskip("matplotlib")
    found = CliRunner().invoke(
        COMMANDS["limits"], ["--samples", "1000", "-o", str(tmp_path / "a.svg"), "--format", "markdown"]
    )
    assert found.exit_code == 0 and found.output.startswith("| code | source |")
    assert "17.6 bits, d = 24" in (tmp_path / "a.svg").read_text()
