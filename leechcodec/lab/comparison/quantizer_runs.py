"""What trained quantizers showed, and how they compare: BD-rates over pairs of one seed, with their 95 % intervals."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leechcodec.formats.packages import require
from leechcodec.lab import bdrate, curves
from leechcodec.lab.comparison import quantizer_figure
from leechcodec.lab.limits import lined_up


@dataclass(frozen=True)
class Run:
    """What one trained model showed. Lists run over the dial.

    config: SHA-256 of its config, in short. fixed_bpp: tokens sent times log2 of the codebook's size, without a prior;
    None for a code not meant to be used evenly (rounding). ms_ssim in dB. seconds_a_step: median, of one thread.
    entropy: of the tokens' distribution, all stages together, in bits, from counts: with few images an underestimate.
    used: different codes among so many tokens.
    """

    variant: str
    seed: int
    config: str
    quantizer: str
    bits: float
    steps: int
    seconds_a_step: float | None
    quality: tuple[float, ...]
    bpp: tuple[float, ...]
    fixed_bpp: tuple[float, ...] | None
    psnr: tuple[float, ...]
    ms_ssim: tuple[float, ...]
    lpips: tuple[float | None, ...]
    entropy: float
    used: int
    tokens: int

    def curve(self) -> curves.Curve:
        metrics = {curves.PSNR: self.psnr, curves.MS_SSIM: self.ms_ssim, curves.LPIPS: self.lpips}
        return curves.Curve(self.variant, self.variant, False, self.bpp, metrics)


def read_run(values: dict[str, Any]) -> Run:
    read: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Run(**read)


def collected(path: Path) -> list[Run]:
    return [read_run(values) for values in json.loads(path.read_text())]


@dataclass(frozen=True)
class Interval:
    """Mean over the seeds, and half width of the 95 % interval; None with one seed."""

    mean: float
    half: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:+.1f} %" + ("" if self.half is None else f" ± {self.half:.1f}")


def interval(values: Sequence[float]) -> Interval | None:
    """Student's t; None without a value."""
    if not values:
        return None
    if len(values) == 1:
        return Interval(values[0], None, 1)
    deviation = statistics.stdev(values)
    quantile = float(require("scipy.stats").t.ppf(0.975, len(values) - 1))
    return Interval(statistics.mean(values), quantile * deviation / len(values) ** 0.5, len(values))


def rates_against(anchor: Sequence[Run], runs: Sequence[Run], metric: str) -> list[float]:
    """BD-rates of some runs against the anchor's of the same seeds, those that exist, in the order of the runs."""
    anchors = {run.seed: run.curve() for run in anchor}
    rates = [bdrate.bd_rate(anchors[run.seed], run.curve(), metric).rate for run in runs if run.seed in anchors]
    return [rate for rate in rates if rate is not None and math.isfinite(rate)]


def _rates(anchor: Sequence[Run], runs: Sequence[Run], turned: bool) -> list[list[float]]:
    """BD-rates of every metric; turned, the anchor's against the runs."""
    pair = (runs, anchor) if turned else (anchor, runs)
    return [rates_against(*pair, metric) for metric in curves.METRICS]


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    return {name: [run for run in runs if run.variant == name] for name in dict.fromkeys(run.variant for run in runs)}


HEADER = (
    "quantizer", "bits", "BD-rate: PSNR", "MS-SSIM", "LPIPS", "bpp", "fixed-length", "PSNR", "entropy", "in use",
    "s a step, best", "seeds",
)  # fmt: skip


def table(runs: Sequence[Run], anchor: str, turned: bool = False) -> list[tuple[str, ...]]:
    """A row a variant: its BD-rates against the anchor; turned, the anchor's against it. bpp, fixed-length bpp and PSNR
    at the middle of the dial; tokens at quality 60; seconds per step of the seed that other work disturbed least."""
    groups = grouped(runs)
    middle = len(runs[0].quality) // 2
    rows = []
    for name, group in groups.items():
        found = [interval(rates) for rates in _rates(groups[anchor], group, turned)]
        fixed = group[0].fixed_bpp
        used = statistics.mean(run.used for run in group)
        rows.append(
            (
                name,
                f"{group[0].bits:.2f}" if fixed else "–",
                *("" if name == anchor else _rate(rate, len(group)) for rate in found),
                _mean([run.bpp[middle] for run in group], ".3f"),
                f"{fixed[middle]:.3f}" if fixed else "–",
                _mean([run.psnr[middle] for run in group], ".2f"),
                _mean([run.entropy for run in group], ".2f"),
                f"{used:,.0f}" + (f" ({100 * used / 2 ** group[0].bits:.3g} %)" if fixed else ""),
                f"{min(paces):.2f}" if (paces := [run.seconds_a_step for run in group if run.seconds_a_step]) else "–",
                str(len(group)),
            )
        )
    return rows


RATES_HEADER = ("quantizer", "PSNR", "MS-SSIM", "LPIPS", "PSNR, each seed", "MS-SSIM, each", "LPIPS, each")


def rates_table(runs: Sequence[Run], anchor: str, turned: bool = False) -> list[tuple[str, ...]]:
    """The BD-rates alone, means and those of every seed, of :func:`table`'s rows but the anchor's; the smallest mean in
    PSNR first, rows without one last."""
    groups = grouped(runs)
    rows = []
    for name, group in groups.items():
        if name == anchor:
            continue
        each = _rates(groups[anchor], group, turned)
        means = [interval(rates) for rates in each]
        cells = [_rate(mean, len(group)) for mean in means]
        cells += [", ".join(f"{rate:+.1f}" for rate in rates) or "–" for rates in each]
        rows.append((means[0].mean if means[0] else math.inf, (name, *cells)))
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _rate(found: Interval | None, seeds: int) -> str:
    """With the number of pairs where it is not that of the seeds: curves that cannot be compared must not vanish."""
    if found is None:
        return "–"
    return str(found) + ("" if found.count == seeds else f" (n = {found.count})")


def _mean(values: Sequence[float], form: str) -> str:
    return f"{statistics.mean(values):{form}}"


def show(runs: Sequence[Run], anchor: str, turned: bool, form: str, each: bool = False) -> None:
    """Print :func:`table`, or with each :func:`rates_table`. Raises SystemExit where there is no run of the anchor."""
    if anchor not in {run.variant for run in runs}:
        raise SystemExit(f"no run of {anchor!r}: {', '.join(sorted({run.variant for run in runs}))}")
    what = f"of {anchor} against each" if turned else f"against {anchor}"
    print(f"BD-rates {what}, a pair a seed, with 95 % intervals; {runs[0].steps} steps\n")
    header, rows = (RATES_HEADER, rates_table) if each else (HEADER, table)
    print(lined_up(header, rows(runs, anchor, turned), form))


def mean_curves(runs: Sequence[Run]) -> list[curves.Curve]:
    """A curve a variant: the mean of every point over its seeds."""

    def mean(columns: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
        return tuple(None if None in point else statistics.mean(point) for point in zip(*columns))

    found = []
    for name, group in grouped(runs).items():
        each = [run.curve() for run in group]
        metrics = {metric: mean([curve.metrics[metric] for curve in each]) for metric in curves.METRICS}
        bpp = tuple(map(statistics.mean, zip(*(curve.bpp for curve in each))))
        found.append(curves.Curve(name, name, False, bpp, metrics))
    return found


def draw(runs: Sequence[Run], anchor: str, target: Path) -> None:
    groups = grouped(runs)

    def spread(group: Sequence[Run], metric: str) -> quantizer_figure.Spread | None:
        rates = rates_against(groups[anchor], group, metric)
        found = interval(rates)
        return found and quantizer_figure.Spread(rates, found.mean, found.half)

    others = {name: group for name, group in groups.items() if name != anchor}
    found = {metric: {name: spread(group, metric) for name, group in others.items()} for metric in curves.METRICS}
    quantizer_figure.draw(found, anchor, target)
