"""Bjontegaard delta rates by the ``bjontegaard`` package, refused where two curves do not share enough quality.

The rate (log10 bpp) is a function of quality: PSNR in dB, MS-SSIM in dB, or -10 log10(LPIPS), interpolated by Akima
splines and averaged over the qualities that both curves reach. The package itself averages over whatever overlap
there is, and only warns.
"""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from leechcodec.formats.packages import require
from leechcodec.lab.curves import LPIPS, METRICS, Curve
from leechcodec.lab.errors import PeerError, one_of

MIN_POINTS = 4
"""Of each curve: with fewer, the interpolation is a guess."""
MIN_OVERLAP = 0.5
"""Of the shorter of the two curves' ranges of quality."""


@dataclass(frozen=True)
class Delta:
    """A curve against the anchor. rate: mean change of the rate at equal quality in percent (negative: smaller
    files), None where there is none, for the reason given. low, high: the shared qualities, in the metric's unit."""

    name: str
    published: bool
    rate: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def find_anchor(curves: Sequence[Curve], anchor: str) -> Curve:
    """A curve by its key or name; a measured one goes before a published one. Raises PeerError for no such curve."""
    for curve in sorted(curves, key=lambda curve: curve.published):
        if anchor.lower() in (curve.key.lower(), curve.name.lower()):
            return curve
    one_of(anchor, [curve.key for curve in curves], "curve")
    raise PeerError(f"no curve {anchor!r}")


def bd_table(curves: Sequence[Curve], anchor: Curve, metric: str) -> list[Delta]:
    """Every other curve against the anchor, the smallest rate first, those without one last."""
    one_of(metric, METRICS, "metric")
    deltas = [bd_rate(anchor, curve, metric) for curve in curves if curve is not anchor]
    return sorted(deltas, key=lambda delta: (delta.rate is None, delta.rate or 0.0))


def bd_rate(anchor: Curve, curve: Curve, metric: str) -> Delta:
    """The BD-rate of one curve against the anchor in a metric, or why there is none."""

    def none(reason: str, low: float | None = None, high: float | None = None) -> Delta:
        return Delta(curve.name, curve.published, None, low, high, reason)

    sides = []
    for side in (anchor, curve):
        who = "the anchor: " if side is anchor else ""
        rates, qualities = side.points(metric)
        if len(rates) < MIN_POINTS:
            have = f"{len(rates)} point{'s' * (len(rates) != 1)}" if rates else "no figures"
            return none(f"{who}{have} in {metric}, {MIN_POINTS} points are needed")
        if metric == LPIPS and min(qualities) <= 0:
            return none(f"{who}an LPIPS of 0")
        qualities = [-10 * math.log10(value) for value in qualities] if metric == LPIPS else qualities
        if any(a >= b for a, b in itertools.pairwise(rates)) or any(a >= b for a, b in itertools.pairwise(qualities)):
            return none(f"{who}{metric} does not rise with the rate")
        sides.append((rates, qualities))
    (anchor_rates, anchor_qualities), (rates, qualities) = sides
    low, high = max(anchor_qualities[0], qualities[0]), min(anchor_qualities[-1], qualities[-1])
    shorter = min(anchor_qualities[-1] - anchor_qualities[0], qualities[-1] - qualities[0])
    share = max(0.0, high - low) / shorter
    bounds = sorted((_unit(low, metric), _unit(high, metric)))
    if share < MIN_OVERLAP:
        if share == 0:
            return none("no quality in common")
        return none(f"{share:.0%} of the shorter range in common, {MIN_OVERLAP:.0%} is needed", *bounds)
    rate = require("bjontegaard").bd_rate(
        anchor_rates, anchor_qualities, rates, qualities, "akima", require_matching_points=False, min_overlap=0
    )
    return Delta(curve.name, curve.published, float(rate), *bounds)


def as_text(deltas: Sequence[Delta], anchor: Curve, metric: str) -> str:
    """Aligned columns for a terminal."""
    rows = [(_name(delta), _rate(delta), _over(delta, metric)) for delta in deltas]
    head = (f"against {anchor.name}", f"BD-rate ({metric})", "over")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(3)]
    return "\n".join(f"{name:<{widths[0]}}  {rate:>{widths[1]}}  {over}".rstrip() for name, rate, over in [head, *rows])


def as_markdown(deltas: Sequence[Delta], anchor: Curve, metric: str) -> str:
    """A Markdown table."""
    rows = [f"| against {anchor.name} | BD-rate ({metric}) | over |", "|---|---|---|"]
    rows += [f"| {_name(delta)} | {_rate(delta)} | {_over(delta, metric)} |" for delta in deltas]
    return "\n".join(rows)


def as_csv(deltas: Sequence[Delta], anchor: Curve, metric: str) -> str:
    """Comma-separated values with a head line; numbers in full, empty where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["anchor", "codec", "published", "metric", "bd_rate_percent", "low", "high", "reason"])
    for delta in deltas:
        numbers = ["" if value is None else repr(value) for value in (delta.rate, delta.low, delta.high)]
        writer.writerow([anchor.name, delta.name, str(delta.published).lower(), metric, *numbers, delta.reason])
    return buffer.getvalue().rstrip("\n")


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv}


def _unit(quality: float, metric: str) -> float:
    """A quality back in the metric's own unit."""
    return 10 ** (-quality / 10) if metric == LPIPS else quality


def _name(delta: Delta) -> str:
    return f"{delta.name}, published" if delta.published else delta.name


def _rate(delta: Delta) -> str:
    return "–" if delta.rate is None else f"{delta.rate:+.1f} %"


def _over(delta: Delta, metric: str) -> str:
    if delta.rate is None:
        return delta.reason
    return f"{delta.low:.3f}..{delta.high:.3f}" if metric == LPIPS else f"{delta.low:.2f}..{delta.high:.2f} dB"
