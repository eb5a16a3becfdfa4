"""How far codes are from Shannon's bound, rate by rate: the whole Leech lattice beside scalars, shells and signs.

The source is white and Gaussian of unit power, whose bound is D(R) = 2^(-2R), R in bits a dimension (Shannon 1959).
Every decoder may scale its answer by one number, the best over the samples. Rates are ideal code lengths:

    Λ24       the nearest point to y / s, of all of the lattice. Probabilities exp(-c·v²) a coordinate, normalised over
              the lattice; c of maximum likelihood. That is also this model's rate-aware choice: the nearest point to a
              shrunk vector (lattice/closest.py), and s and the decoder's scale are free.
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
import torch

from leechcodec.formats.packages import require
from leechcodec.lab.limits import lined_up
from leechcodec.lattice import kernels
from leechcodec.lattice.closest import closest_point
from leechcodec.lattice.leech import DIM, NORM_SQUARED, SIZE
from leechcodec.lattice.partition import log_partition
from leechcodec.lattice.points import WINDOW_STEP

RATES = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Bits a dimension."""
SAMPLES = 20_000
STEPS = np.geomspace(0.07, 2.2, 48)
"""Of the lattice in integer form, in standard deviations of the source: 4.3 to 0.03 bits a dimension."""
ZEROS = np.arange(0, 1.6, 0.04)
"""How much wider half of the zero's cell is than half a step, in steps."""
HIGHEST = 3.5
"""Decibels."""
LATTICE, SCALARS, ORIGIN, SHELLS, SIGNS = (
    "leech-lattice: Λ24, entropy-coded",
    "scalars, dead zone, entropy-coded",
    "Λ24-SQ with the origin, entropy-coded",
    "Λ24-SQ, stacked",
    "BSQ, stacked",
)


@dataclass(frozen=True)
class RateLimit:
    """One code at one rate. bits: a dimension. distortion, bound: shares of the source's energy. gap_db: 10 log10 of
    their ratio."""

    code: str
    bits: float
    distortion: float
    bound: float
    gap_db: float


def rate_limits(rates: Sequence[float] = RATES, samples: int = SAMPLES, seed: int = 0) -> list[RateLimit]:
    """All codes at the rates they have: the entropy-coded ones at every one, the shell with the origin below its own,
    stacked shells and signs at theirs.

    rates: 0.05 to 4.2 bits a dimension, else a ValueError. samples: tokens of 24 Gaussian numbers.
    """
    if not 0.05 <= min(rates) <= max(rates) <= 4.2:
        raise ValueError("rates are 0.05 to 4.2 bits a dimension")
    y = np.random.default_rng(seed).standard_normal((samples, DIM))
    y /= np.sqrt(np.square(y).mean())
    rows = [_row(LATTICE, rate, gap) for rate, gap in zip(rates, lattice_gaps(y, rates))]
    rows += [_row(SCALARS, rate, _gap(rate, scalar_distortion(rate))) for rate in rates]
    shell_rate = math.log2(SIZE) / DIM
    rows += [_row(ORIGIN, rate, _gap(rate, origin_distortion(y, rate))) for rate in rates if rate < shell_rate]
    highest = max(rates)
    for name, nearest, rate in ((SHELLS, _nearest_codeword, shell_rate), (SIGNS, np.sign, 1.0)):
        stages = int(highest / rate)
        rows += [
            _row(name, rate * (k + 1), _gap(rate * (k + 1), share))
            for k, share in enumerate(stacked_distortions(y, nearest, stages))
        ]
    return rows


def lattice_gaps(y: np.ndarray, rates: Sequence[float]) -> np.ndarray:
    """The lattice's distance from the bound in dB at each rate: float64 (N, 24), of unit power -> (len(rates),).

    Measured over STEPS and interpolated, since the gap hardly changes from one to the next.
    """
    found = [lattice_point_of_curve(y, step) for step in STEPS]
    bits, gaps = np.array([(bits, _gap(bits, share)) for bits, share in found][::-1]).T
    return np.interp(rates, bits, gaps)


def lattice_point_of_curve(y: np.ndarray, step: float) -> tuple[float, float]:
    """Bits a dimension and distortion at one step: float64 (N, 24), of unit power."""
    x = closest_point(y / step)
    energy = np.square(x.astype(np.float64)).sum(axis=1).mean()
    if not energy:
        return 0.0, 1.0
    half = WINDOW_STEP // 2 * math.ceil(max(np.abs(x).max() + 1, 8 * math.sqrt(energy / DIM)) / (WINDOW_STEP // 2))
    return gaussian_bits(energy, half) / DIM, 1 - (x * y).mean() ** 2 / np.square(x.astype(np.float64)).mean()


def gaussian_bits(energy: float, half: int) -> float:
    """Bits a token of the best model exp(-c·|x|²) for points of this mean squared norm, within a window of ±half: the
    minimum over c of log Z(c) + c·energy, which is convex."""
    squares = np.square(np.arange(-half, half, dtype=np.float64))
    low, high = math.log(0.1 / (energy / DIM + 1)), math.log(20.0)
    index = np.repeat(np.arange(9)[:, None], DIM, axis=1)
    for _ in range(16):
        logs = np.linspace(low, high, 9)
        costs = log_partition(-np.exp(logs)[:, None] * squares, index) + np.exp(logs) * energy
        best = int(costs.argmin())
        low, high = logs[max(best - 1, 0)], logs[min(best + 1, 8)]
    return float(costs.min()) / math.log(2)


def scalar_distortion(rate: float) -> float:
    """The least distortion of dead-zone scalars on a unit Gaussian at an entropy of `rate` bits."""
    return min(scalar_point(_step_of(rate, zero), zero)[1] for zero in ZEROS)


def scalar_point(step: float, zero: float) -> tuple[float, float]:
    """Entropy in bits and distortion of cells of one step, the zero's from -(1/2 + zero)·step to (1/2 + zero)·step."""
    edges = np.append(step * (np.arange(math.ceil(12 / step) + 1) + 0.5 + zero), np.inf)
    above = torch.erfc(torch.from_numpy(edges / math.sqrt(2))).numpy() / 2
    density = np.exp(-np.square(edges) / 2) / math.sqrt(2 * math.pi)
    cells, moments = above[:-1] - above[1:], density[:-1] - density[1:]
    alive = cells > 0
    cells, moments = cells[alive], moments[alive]
    silent = 1 - 2 * above[0]
    entropy = -silent * math.log2(silent) - 2 * float((cells * np.log2(cells)).sum())
    return entropy, 1 - 2 * float((np.square(moments) / cells).sum())


def _step_of(rate: float, zero: float) -> float:
    """The step at which scalars of this zero have this entropy, which falls as steps grow."""
    low, high = 2.0**-rate, 50.0
    for _ in range(50):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if scalar_point(middle, zero)[0] > rate else (low, middle)
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


def _nearest_codeword(y: np.ndarray) -> np.ndarray:
    return kernels.nearest(y.astype(np.float32))


def _gap(bits: float, distortion: float) -> float:
    return 10 * math.log10(distortion) + 20 * math.log10(2) * bits


def _row(code: str, bits: float, gap: float) -> RateLimit:
    bound = 2.0 ** (-2 * bits)
    return RateLimit(code, bits, bound * 10 ** (gap / 10), bound, gap)


def draw(rows: Sequence[RateLimit], target: Path) -> None:
    """The gaps over the rate, a line a code: a figure, .svg, .png or .pdf by its name. Above HIGHEST it is cut off."""
    figures = require("matplotlib.figure")
    figure = figures.Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    styles = {LATTICE: ("#0072B2", "o"), SCALARS: ("#D55E00", "s"), ORIGIN: ("#56B4E9", "^"), SHELLS: ("#009E73", "D"),
              SIGNS: ("#CC79A7", "v")}  # fmt: skip
    axis.axhline(0, color="#444444", linewidth=1.2)
    for code, (colour, marker) in styles.items():
        chosen = [row for row in rows if row.code == code]
        line = ":" if code in (SHELLS, SIGNS) else "-"  # fixed rates: nothing lies between
        axis.plot([row.bits for row in chosen], [row.gap_db for row in chosen], line, marker=marker, color=colour,
                  markersize=5, label=code)  # fmt: skip
    axis.set_xlabel("rate (bits per dimension)")
    axis.set_ylabel("distortion above Shannon's bound (dB)")
    axis.set_xlim(0, 1.03 * max(row.bits for row in rows))
    axis.set_ylim(-0.1, min(HIGHEST, 1.08 * max(row.gap_db for row in rows)))
    axis.grid(True, linewidth=0.5, alpha=0.4)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    metadata = {"Date": None} if target.suffix.lower() == ".svg" else None
    figure.savefig(target, dpi=150, metadata=metadata)


def table(rows: Sequence[RateLimit], form: str = "text") -> str:
    """The rows as aligned text or as Markdown."""
    cells = [
        (row.code, f"{row.bits:.3f}", f"{row.distortion:.5f}", f"{row.bound:.5f}", f"{row.gap_db:+.2f} dB")
        for row in rows
    ]
    return lined_up(("code", "bits/d", "D", "bound", "gap"), cells, form)
