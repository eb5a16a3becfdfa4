"""How far codes are from Shannon's bound, rate by rate: the whole Leech lattice beside scalars, shells and signs.

Sources are white and of unit power (sources.py). Every decoder may scale its answer by one number, the best over the
samples. Rates are ideal code lengths in bits a dimension:

    Λ24       points of all of the lattice, chosen with their rate in mind. Probabilities exp(-c·v²) a coordinate for
              the Gaussian source, exp(-c·|v|) for the Laplacian, normalised over the lattice, c of maximum likelihood.
              For the Gaussian that is the nearest point to y / s, s free (lattice/closest.py); for the Laplacian the
              rate-aware point at the best of a few weights.
    scalars   steps of one size with a wider zero, each cell's mean in the decoder, the entropy of the cells; of all
              widths of the zero the best. Integrated, not sampled.
    Λ24-SQ    one codeword of the shell a token. With the origin, entropy-coded: the shell where the largest inner
              product is large. Stacked: each shell quantizes what the one before left, with a gain of its own.
    BSQ       signs, stacked likewise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leechcodec.formats.packages import require
from leechcodec.lab.figures import save_figure
from leechcodec.lab.limits import lined_up
from leechcodec.lab.sources import SOURCES, Source
from leechcodec.lattice import kernels
from leechcodec.lattice.closest import closest_point, rate_aware_point
from leechcodec.lattice.leech import DIM, NORM_SQUARED, SIZE
from leechcodec.lattice.partition import log_partition
from leechcodec.lattice.points import WINDOW_STEP

RATES = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Bits a dimension."""
SAMPLES = 20_000
STEPS = np.geomspace(2.2, 0.065, 49)
"""Of the lattice in integer form, in standard deviations of the source: up to 4.3 bits a dimension."""
LATTICE_ERROR = 8 * 0.065771
"""Squared error a coordinate at high rate (Conway and Sloane, table 2.3)."""
WEIGHTS = (0.4, 0.6, 0.9)
"""Of the squared error against the rate, in units of its value at high rate, 1 / (2 · LATTICE_ERROR)."""
ROUNDS = 2
"""Of choosing points under a model and fitting the model to the points."""
ZEROS = np.arange(0, 1.6, 0.04)
"""How much wider half of the zero's cell is than half a step, in steps."""
HIGHEST = 3.5
"""Decibels."""
LATTICE, SCALARS, ORIGIN, SHELLS, SIGNS = CODES = (
    "leech-lattice: Λ24, entropy-coded",
    "scalars, dead zone, entropy-coded",
    "Λ24-SQ with the origin, entropy-coded",
    "Λ24-SQ, stacked",
    "BSQ, stacked",
)


@dataclass(frozen=True)
class RateLimit:
    """One code at one rate. bits: a dimension. distortion, bound: shares of the source's energy. gap_db: 10 log10 of
    their ratio. weight: of the rate-aware choice, the best of WEIGHTS, where there is one."""

    code: str
    source: str
    bits: float
    distortion: float
    bound: float
    gap_db: float
    weight: float | None = None


def rate_limits(
    rates: Sequence[float] = RATES, samples: int = SAMPLES, seed: int = 0, sources: Sequence[Source] = SOURCES
) -> list[RateLimit]:
    """All codes at the rates they have: the entropy-coded ones at every one, the shell with the origin below its own,
    stacked shells and signs at theirs.

    rates: 0.05 to 4.2 bits a dimension, else a ValueError. samples: tokens of 24 numbers.
    """
    if not 0.05 <= min(rates) <= max(rates) <= 4.2:
        raise ValueError("rates are 0.05 to 4.2 bits a dimension")
    shell_rate, rows = math.log2(SIZE) / DIM, []
    for source in sources:
        y = source.draw(samples, DIM, seed)
        curves = lattice_curves(source, y)
        found, weights = [], {}
        for rate in rates:
            share, weights[rate] = min((at_rate(source, curve, rate), weight) for weight, curve in curves.items())
            found.append((LATTICE, rate, share))
        found += [(SCALARS, rate, scalar_distortion(source, rate)) for rate in rates]
        found += [(ORIGIN, rate, origin_distortion(y, rate)) for rate in rates if rate < shell_rate]
        for name, nearest, rate in ((SHELLS, _nearest_codeword, shell_rate), (SIGNS, np.sign, 1.0)):
            shares = stacked_distortions(y, nearest, int(max(rates) / rate))
            found += [(name, rate * (k + 1), share) for k, share in enumerate(shares)]
        for code, bits, distortion in found:
            bound = source.bound(bits)
            gap, weight = 10 * math.log10(distortion / bound), weights[bits] if code == LATTICE else None
            rows.append(RateLimit(code, source.name, bits, distortion, bound, gap, weight))
    return rows


def lattice_curves(source: Source, y: np.ndarray) -> dict[float | None, list[tuple[float, float]]]:
    """Bits a dimension and distortion over STEPS, rising in bits, a curve for each weight: float64 (N, 24)."""
    if source.name == "Gaussian":
        return {None: [_measured(y, closest_point(y / step), 2)[:2] for step in STEPS]}
    curves = {}
    for weight in WEIGHTS:
        curve, slope = [(0.0, 1.0)], math.sqrt(2) * STEPS[0]
        for step, before in zip(STEPS[::2], (STEPS[0], *STEPS[::2])):
            slope *= step / before
            for _ in range(ROUNDS):
                half = _window(np.abs(y).max() / step + 8)
                scores = -slope * np.abs(np.arange(-half, half))[None]
                index = np.zeros(y.shape, dtype=np.int64)
                x, _ = rate_aware_point(y / step, weight / (2 * LATTICE_ERROR), scores, index)
                if not x.any():
                    break
                bits, distortion, slope = _measured(y, x, 1)
            else:
                curve.append((bits, distortion))
        curves[weight] = curve
    return curves


def at_rate(source: Source, curve: Sequence[tuple[float, float]], rate: float) -> float:
    """Distortion at a rate, interpolated in the distance from the bound, which hardly changes from step to step."""
    bits, shares = np.array(curve).T
    gaps = np.log(shares) - [math.log(source.bound(value)) for value in bits]
    return source.bound(rate) * math.exp(np.interp(rate, bits, gaps))


def _measured(y: np.ndarray, x: np.ndarray, power: int) -> tuple[float, float, float]:
    """Bits a dimension, distortion and slope c of points under their best model exp(-c·Σ|v|^power)."""
    x = x.astype(np.float64)
    if not x.any():
        return 0.0, 1.0, 1.0
    half = _window(max(np.abs(x).max() + 1, 8 * x.std()))
    mean = (np.abs(x) ** power).sum(axis=1).mean()
    bits, slope = fitted_bits(mean, np.abs(np.arange(-half, half, dtype=np.float64)) ** power)
    return bits / DIM, 1 - (x * y).mean() ** 2 / np.square(x).mean(), slope


def fitted_bits(mean: float, feature: np.ndarray) -> tuple[float, float]:
    """Bits a token, and c, of the best model exp(-c·Σ feature(x_i)) for points whose sums have this mean: the minimum
    over c of log Z(c) + c·mean, which is convex. feature: float64 (W,), over a window."""
    low, high = math.log(1e-2 / (mean / DIM + 1)), math.log(20.0)
    index = np.repeat(np.arange(9)[:, None], DIM, axis=1)
    for _ in range(16):
        logs = np.linspace(low, high, 9)
        costs = log_partition(-np.exp(logs)[:, None] * feature, index) + np.exp(logs) * mean
        best = int(costs.argmin())
        low, high = logs[max(best - 1, 0)], logs[min(best + 1, 8)]
    return float(costs.min()) / math.log(2), math.exp(logs[best])


def scalar_distortion(source: Source, rate: float) -> float:
    """The least distortion of dead-zone scalars at an entropy of `rate` bits."""
    return min(scalar_point(source, _step_of(source, rate, zero), zero)[1] for zero in ZEROS)


def scalar_point(source: Source, step: float, zero: float) -> tuple[float, float]:
    """Entropy in bits and distortion of cells of one step, the zero's from -(1/2 + zero)·step to (1/2 + zero)·step."""
    edges = np.append(step * (np.arange(math.ceil(16 / step) + 1) + 0.5 + zero), np.inf)
    above, moment = source.above(edges)
    cells, moments = above[:-1] - above[1:], moment[:-1] - moment[1:]
    alive = cells > 1e-18
    cells, moments = cells[alive], moments[alive]
    silent = 1 - 2 * above[0]
    entropy = -silent * math.log2(silent) - 2 * float((cells * np.log2(cells)).sum())
    return entropy, 1 - 2 * float((np.square(moments) / cells).sum())


def _step_of(source: Source, rate: float, zero: float) -> float:
    """The step at which scalars of this zero have this entropy, which falls as steps grow."""
    low, high = 2.0**-rate, 50.0
    for _ in range(45):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if scalar_point(source, middle, zero)[0] > rate else (low, middle)
    return math.sqrt(low * high)


def origin_distortion(y: np.ndarray, rate: float) -> float:
    """Distortion of shell and origin at a rate below the shell's: as many tokens take the shell as the rate allows."""
    products = np.sort((y * _nearest_codeword(y)).sum(axis=1) / math.sqrt(NORM_SQUARED))[::-1]
    share = np.arange(1, len(y)) / len(y)
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    bits = (entropy + share * math.log2(SIZE)) / DIM
    distortions = 1 - share * np.square(np.cumsum(products)[:-1] / np.arange(1, len(y))) / DIM
    rising = bits.argmax()  # beyond it the entropy falls faster than the codewords cost
    return float(np.interp(rate, bits[:rising], distortions[:rising]))


def stacked_distortions(y: np.ndarray, nearest: Callable, stages: int) -> list[float]:
    """Distortion after each of several stages, every one with the best gain for what the ones before left."""
    rest, found = y, []
    for _ in range(stages):
        codes = nearest(rest).astype(np.float64)
        rest = rest - (rest * codes).mean() / np.square(codes).mean() * codes
        found.append(float(np.square(rest).mean()))
    return found


def _window(reach: float) -> int:
    """Half of the smallest window that holds values up to this."""
    half = WINDOW_STEP // 2
    return half * math.ceil(reach / half)


def _nearest_codeword(y: np.ndarray) -> np.ndarray:
    return kernels.nearest(y.astype(np.float32))


def draw(rows: Sequence[RateLimit], target: Path) -> None:
    """The gaps over the rate, a panel a source and a line a code: a figure, .svg, .png or .pdf by its name. What is
    above HIGHEST is cut off."""
    figures = require("matplotlib.figure")
    names = list(dict.fromkeys(row.source for row in rows))
    figure = figures.Figure(figsize=(4.6 * len(names), 4.2), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, names):
        axis.axhline(0, color="#444444", linewidth=1.2)
        for code, colour, marker in zip(CODES, ("#0072B2", "#D55E00", "#56B4E9", "#009E73", "#CC79A7"), "os^Dv"):
            chosen = [row for row in rows if row.code == code and row.source == name]
            line = ":" if code in (SHELLS, SIGNS) else "-"  # fixed rates: nothing lies between
            axis.plot([row.bits for row in chosen], [row.gap_db for row in chosen], line, marker=marker, color=colour,
                      markersize=5, label=code)  # fmt: skip
        axis.set_title(f"{name} source", fontsize=10)
        axis.set_xlabel("rate (bits per dimension)")
        axis.set_xlim(0, 1.03 * max(row.bits for row in rows))
        axis.set_ylim(-0.1, min(HIGHEST, 1.08 * max(row.gap_db for row in rows)))
        axis.grid(True, linewidth=0.5, alpha=0.4)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("distortion above Shannon's bound (dB)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save_figure(figure, target)


def table(rows: Sequence[RateLimit], form: str = "text") -> str:
    """The rows as aligned text or as Markdown."""
    cells = [
        (row.code, row.source, f"{row.bits:.3f}", f"{row.distortion:.5f}", f"{row.bound:.5f}", f"{row.gap_db:+.2f} dB")
        for row in rows
    ]
    return lined_up(("code", "source", "bits/d", "D", "bound", "gap"), cells, form)
