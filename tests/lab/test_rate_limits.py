import json
import math
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

from leechcodec.apps.cli.laboratory import COMMANDS
from leechcodec.lab import rate_limits
from leechcodec.lab.sources import SOURCES, Gaussian

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows():
    return rate_limits.rate_limits(samples=2000)


def gaps(rows, code: str, source: str = "Gaussian") -> dict[float, float]:
    return {round(row.bits, 2): row.gap_db for row in rows if row.code == code and row.source == source}


def test_the_lattice_stays_half_a_decibel_from_the_bound(rows):
    """At high rate 10 log10(2πe · 0.065771) = 0.505 dB (Conway and Sloane, table 2.3)."""
    found = gaps(rows, rate_limits.LATTICE)
    assert list(found) == list(rate_limits.RATES)
    assert found[4.0] == pytest.approx(10 * math.log10(2 * math.pi * math.e * 0.065771), abs=0.02)
    assert all(found[rate] == pytest.approx(0.51, abs=0.04) for rate in (0.5, 1.0, 2.0, 3.0))
    assert 0.05 < found[0.1] < found[0.25] < found[0.5]


def test_scalars_lose_a_quarter_of_a_bit_at_high_rate(rows):
    """Gish and Pierce 1968: 10 log10(πe / 6) = 1.53 dB."""
    found = gaps(rows, rate_limits.SCALARS)
    assert found[4.0] == pytest.approx(10 * math.log10(math.pi * math.e / 6), abs=0.005)
    assert found[1.0] == pytest.approx(1.44, abs=0.01) and found[0.1] == pytest.approx(0.185, abs=0.005)


def test_shells_stack_badly_and_signs_worse(rows):
    shells, signs = gaps(rows, rate_limits.SHELLS), gaps(rows, rate_limits.SIGNS)
    assert shells[0.73] == pytest.approx(0.52, abs=0.05) and shells[2.2] > 1.3
    assert signs[1.0] == pytest.approx(10 * math.log10(4 * (1 - 2 / math.pi)), abs=0.03)
    assert list(signs) == [1.0, 2.0, 3.0, 4.0] and signs[2.0] > 3


def test_on_a_laplacian_source_the_lattice_gains_from_half_a_bit_on(rows):
    lattice, scalars = (gaps(rows, code, "Laplacian") for code in (rate_limits.LATTICE, rate_limits.SCALARS))
    assert lattice[0.25] == pytest.approx(0.215, abs=0.04) and lattice[1.0] == pytest.approx(0.55, abs=0.05)
    assert scalars[0.25] == pytest.approx(0.22, abs=0.02) and scalars[1.0] == pytest.approx(0.81, abs=0.02)
    assert all(lattice[rate] < scalars[rate] for rate in (0.5, 1.0, 2.0, 4.0))


def test_no_code_is_below_the_bound(rows):
    for row in rows:
        assert row.gap_db > 0
        assert row.gap_db == pytest.approx(10 * math.log10(row.distortion / row.bound))


def test_cells_of_scalars_are_counted_right():
    """Against a histogram of samples."""
    y = np.random.default_rng(0).standard_normal(400_000)
    step, zero = 0.9, 0.2
    cells = np.sign(y) * np.ceil(np.maximum(np.abs(y) / step - (0.5 + zero), 0))
    values, inverse, counts = np.unique(cells, return_inverse=True, return_counts=True)
    share = counts / len(y)
    means = np.bincount(inverse, y) / counts
    bits, distortion = rate_limits.scalar_point(Gaussian(), step, zero)
    assert len(values) > 7
    assert bits == pytest.approx(-(share * np.log2(share)).sum(), abs=5e-3)
    assert distortion == pytest.approx(np.square(y - means[inverse]).mean(), abs=2e-3)


def test_the_model_is_one_of_maximum_likelihood():
    """exp(-c·|x|²) on points drawn so: at high rate a Gaussian, whose entropy is known: cells have the volume 8^12."""
    sigma = 20.0
    bits, c = rate_limits.fitted_bits(24 * sigma**2, np.square(np.arange(-160.0, 160.0)))
    assert c == pytest.approx(1 / (2 * sigma**2), rel=1e-3)
    assert bits / 24 == pytest.approx(math.log2(sigma * math.sqrt(2 * math.pi * math.e)) - 1.5, abs=1e-3)


def test_refuses_rates_that_are_not_measured():
    with pytest.raises(ValueError, match=r"0\.05 to 4\.2"):
        rate_limits.rate_limits(rates=(0.01,), samples=100)


def test_commands(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    quick = partial(rate_limits.rate_limits, rates=(0.5, 1.0), sources=SOURCES[:1])
    monkeypatch.setattr(rate_limits, "rate_limits", quick)
    run = CliRunner().invoke
    figure = tmp_path / "a.svg"
    found = run(COMMANDS["limits"], ["--rates", "--samples", "1000", "-o", str(figure), "--format", "markdown"])
    assert found.exit_code == 0 and found.output.startswith("| code | source |") and "Shannon" in figure.read_text()
    rows = json.loads(run(COMMANDS["quantizers"], ["--rates", "--samples", "1000", "--json"]).stdout)
    assert {row["code"] for row in rows} >= {rate_limits.LATTICE, rate_limits.SIGNS}
    for name in ("limits", "quantizers"):
        assert run(COMMANDS[name], ["--rates", "a.png"]).exit_code == 2
