import math

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.apps.cli.laboratory import COMMANDS
from leechcodec.lab import limits
from leechcodec.quantizers import BSQ
from tests.lab.lab_files import picture


def mean_coordinate(d: int) -> float:
    """E|u_1| of a uniform direction: Γ(d/2) / (√π Γ((d + 1)/2))."""
    return math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)


def test_signs_of_uniform_directions_have_a_known_distortion():
    d = 18
    cosine = math.sqrt(d) * mean_coordinate(d)
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


@given(bits=st.floats(0.1, 24))
def test_the_bound_by_caps_has_a_closed_form_on_circle_and_sphere(bits):
    share = 2.0**-bits
    assert limits.cap_bound(2, bits) == pytest.approx(
        1 - (math.sin(math.pi * share) / (math.pi * share)) ** 2, abs=1e-10
    )
    assert limits.cap_bound(3, bits) == pytest.approx(1 - (1 - share) ** 2, abs=1e-10)


def test_two_opposite_codewords_reach_the_bound_by_caps():
    for dim in (2, 8, 24, 64):  # their cells are half spheres
        assert limits.cap_bound(dim, 1) == pytest.approx(1 - mean_coordinate(dim) ** 2)


@pytest.mark.slow
@given(dim=st.integers(2, 32), bits=st.floats(1.5, 18), share=st.floats(1e-7, 1))
def test_cells_of_unequal_measure_do_no_better(dim, bits, share):
    def energy(p: float) -> float:
        """p·m(p)², m the mean cosine of a cap of measure p to its centre."""
        return p * (1 - limits.cap_bound(dim, -math.log2(p)))

    at, step = 2.0**-bits, 1e-5 * 2.0**-bits
    slope = (energy(at + step) - energy(at - step)) / (2 * step)
    assert energy(share) <= energy(at) + slope * (share - at) + 1e-6 * energy(share)


@pytest.mark.slow
@given(dim=st.integers(2, 8), count=st.integers(2, 64), seed=st.integers(0, 99))
def test_no_code_is_below_the_bound_by_caps(dim, count, seed):
    generator = torch.Generator().manual_seed(seed)
    code, u = torch.randn(count, dim, generator=generator), torch.randn(20_000, dim, generator=generator)
    u = torch.nn.functional.normalize(u, dim=1)
    nearest = code[torch.cdist(u, code).argmin(1)]
    assert limits.distortion(u, nearest) > limits.cap_bound(dim, math.log2(count)) - 0.02  # of so few samples


def test_command_and_figure(tmp_path):
    pytest.importorskip("matplotlib")
    found = CliRunner().invoke(
        COMMANDS["limits"], ["--samples", "1000", "-o", str(tmp_path / "a.svg"), "--format", "markdown"]
    )
    assert found.exit_code == 0 and found.output.startswith("| code | source |")
    assert "17.6 bits, d = 24" in (tmp_path / "a.svg").read_text()


def test_latents_of_a_model_under_the_default_runtime(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.delenv("LEECHCODEC_RUNTIME", raising=False)
    latents = limits.latents_of([picture(64, 64)], tiny_folder, qualities=(20, 80))
    assert latents.shape[1] == 24 and len(latents) > 100
    picture(64, 64).save(tmp_path / "a.png")
    arguments = [str(tmp_path / "a.png"), "--model", str(tiny_folder), "--samples", "1000"]
    for command, further in (("limits", []), ("quantizers", ["-q", "bsq-24"])):
        found = CliRunner().invoke(COMMANDS[command], [*arguments, *further])
        assert found.exit_code == 0, found.output
