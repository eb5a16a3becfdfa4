"""Bjontegaard delta rates by the ``bjontegaard`` package, refused where two curves do not share enough quality.

The rate (log10 bpp) is a function of quality: PSNR in dB, MS-SSIM in dB, the SSIMULACRA2 score, or -10 log10(LPIPS),
interpolated by Akima splines and averaged over the qualities that both curves reach. The package itself averages over
whatever overlap there is, and only warns.

A setting that costs more and shows no more than another of the same codec is left out: nobody would choose it, and
curves must rise. Some codecs have such ones at the ends of their dials.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from leechcodec.formats.packages import require
from leechcodec.lab.curves import LPIPS, MEASURES, Curve, common_images, measured
from leechcodec.lab.errors import PeerError, one_of
from leechcodec.lab.limits import lined_up
from leechcodec.lab.results import Results, kind_of

MIN_POINTS = 4
"""Of each curve: with fewer, the interpolation is a guess."""
MIN_OVERLAP = 0.5
"""Of the shorter of the two curves' ranges of quality."""


@dataclass(frozen=True)
class Delta:
    """A curve, by its key and name, against the anchor.

    rate: mean change of the rate at equal quality in percent (negative: smaller files), None where there is none, for
    the reason given. low, high: the shared qualities, in the metric's unit.
    """

    key: str
    name: str
    published: bool
    rate: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    error: float | None = None
    """Standard error of a mean of several rates, in percent."""


def find_anchor(curves: Sequence[Curve], anchor: str) -> Curve:
    """A curve by its key or name; a measured one goes before a published one. Raises PeerError for no such curve."""
    for curve in sorted(curves, key=lambda curve: curve.published):
        if anchor.lower() in (curve.key.lower(), curve.name.lower()):
            return curve
    one_of(anchor, [curve.key for curve in curves], "curve")
    raise PeerError(f"no curve {anchor!r}")


def _others(curves: Sequence[Curve], one: Curve) -> list[Curve]:
    """All curves but one. Raises PeerError where there is no other."""
    if others := [curve for curve in curves if curve is not one]:
        return others
    raise PeerError(f"nothing to compare {one.name} with")


def bd_table(curves: Sequence[Curve], anchor: Curve, metric: str) -> list[Delta]:
    """Every other curve against the anchor, the smallest rate first, those without one last.

    Raises PeerError where there is no other.
    """
    one_of(metric, MEASURES, "metric")
    deltas = [bd_rate(anchor, curve, metric) for curve in _others(curves, anchor)]
    return sorted(deltas, key=lambda delta: (delta.rate is None, delta.rate or 0.0))


def bd_rate(anchor: Curve, curve: Curve, metric: str) -> Delta:
    """The BD-rate of one curve against the anchor in a metric, or why there is none."""

    def none(reason: str, low: float | None = None, high: float | None = None) -> Delta:
        return Delta(curve.key, curve.name, curve.published, None, low, high, reason)

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
        rates, qualities = rising(rates, qualities)
        if len(rates) < MIN_POINTS:
            return none(f"{who}{metric} does not rise with the rate")
        sides.append((rates, qualities))
    (anchor_rates, anchor_qualities), (rates, qualities) = sides
    low, high = max(anchor_qualities[0], qualities[0]), min(anchor_qualities[-1], qualities[-1])
    shorter = min(anchor_qualities[-1] - anchor_qualities[0], qualities[-1] - qualities[0])
    share = max(0.0, high - low) / shorter
    least, most = sorted((_unit(low, metric), _unit(high, metric)))
    if share < MIN_OVERLAP:
        if share == 0:
            return none("no quality in common")
        return none(f"{share:.0%} of the shorter range in common, {MIN_OVERLAP:.0%} is needed", least, most)
    rate = require("bjontegaard").bd_rate(
        anchor_rates, anchor_qualities, rates, qualities, "akima", require_matching_points=False, min_overlap=0
    )
    return Delta(curve.key, curve.name, curve.published, float(rate), least, most)


def rising(rates: Sequence[float], qualities: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points of a curve, ascending in rate, that no point of a smaller or equal rate equals or beats."""
    kept: list[tuple[float, float]] = []
    for point in sorted(zip(rates, qualities), key=lambda point: (point[0], -point[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return [rate for rate, _ in kept], [quality for _, quality in kept]


def bd_groups(results: Sequence[Results], anchor: str, metric: str, by: str) -> list[tuple[str, list[Delta]]]:
    """(group, every other codec against the anchor on its images alone), and last ("all", on all of them).

    by: "kind" or "image". The groups are in the order of the first codec's rates, from its worst; "all" compares the
    curves of the means, which is not the mean of the groups' rates: a codec that gives the smooth images more of its
    bits does better in it. By image that mean comes before it, where there are several. Images of no kind are in "all"
    alone, those that some results lack in none.
    """
    one_of(metric, MEASURES, "metric")
    group_of = kind_of if by == "kind" else str
    images, _ = common_images(results)
    names = sorted({group_of(image) for image in images} - {""})

    def deltas(chosen: set[str]) -> list[Delta]:
        curves = [measured(each, chosen) for each in results]
        base = find_anchor(curves, anchor)
        return [bd_rate(base, curve, metric) for curve in curves if curve is not base]

    groups = [(name, deltas({image for image in images if group_of(image) == name})) for name in names]
    rates = {name: group[0].rate for name, group in groups if group}
    groups.sort(key=lambda group: math.inf if (rate := rates.get(group[0])) is None else -rate)
    means: list[tuple[str, list[Delta]]] = []
    if by == "image" and len(groups) > 1:
        means = [("mean", [_mean(one) for one in zip(*(group for _, group in groups))])]
    return [*groups, *means, ("all", deltas(images))]


def _mean(deltas: Sequence[Delta]) -> Delta:
    """Of one codec's rates on every image; none where it has none on one of them."""
    rates = [delta.rate for delta in deltas if delta.rate is not None]
    mean = replace(deltas[0], rate=None, low=None, high=None, reason="")
    if lacking := len(deltas) - len(rates):
        return replace(mean, reason=f"no rate on {lacking} of {len(deltas)} images, so no mean")
    error = stdev(rates) / len(rates) ** 0.5 if len(rates) > 1 else None
    return replace(mean, rate=fmean(rates), error=error)


def of_table(curves: Sequence[Curve], ours: Curve, form: str) -> str:
    """BD-rates of one curve against each other one as the anchor: a row an anchor, a column a metric.

    As text or Markdown, with the reasons below where there is no rate, without metrics that none has; CSV has the
    columns of as_csv. Raises PeerError where there is nothing to compare with.
    """
    others = _others(curves, ours)
    if form == "csv":
        pairs = [(base, metric) for base in others for metric in MEASURES]
        tables = [as_csv([bd_rate(base, ours, metric)], base, metric).splitlines() for base, metric in pairs]
        return "\n".join(line for number, table in enumerate(tables) for line in table[number > 0 :])
    metrics = [metric for metric in MEASURES if ours.points(metric)[0]] or list(MEASURES)
    rows, deltas = [], []
    for base in others:
        found = [bd_rate(base, ours, metric) for metric in metrics]
        rows.append((f"against {base.name}" + (", published" if base.published else ""), *map(_rate, found)))
        deltas += found
    header = (f"BD-rate of {ours.name}", *(MEASURES[metric].name for metric in metrics))
    return lined_up(header, rows, form) + _reasons(deltas, form)


def groups_table(groups: Sequence[tuple[str, list[Delta]]], anchor: Curve, metric: str, form: str) -> str:
    """A row a group, a column a codec: as text, Markdown, or CSV with the reasons where there is no rate."""
    if form == "csv":
        tables = [(name, as_csv(deltas, anchor, metric).splitlines()) for name, deltas in groups]
        rows = [f"{_field(name)},{line}" for name, (_, *lines) in tables for line in lines]
        return "\n".join([f"group,{tables[0][1][0]}", *rows])
    header = (f"BD-rate ({metric}) against {anchor.name}", *(delta.name for delta in groups[0][1]))
    table = lined_up(header, [(name, *map(_rate, deltas)) for name, deltas in groups], form)
    return table + _reasons([delta for _, deltas in groups for delta in deltas], form)


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


def _field(text: str) -> str:
    """A text as one field of a CSV line."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",\n') else text


def _unit(quality: float, metric: str) -> float:
    """A quality back in the metric's own unit."""
    return 10 ** (-quality / 10) if metric == LPIPS else quality


def _name(delta: Delta) -> str:
    return f"{delta.name}, published" if delta.published else delta.name


def _reasons(deltas: Sequence[Delta], form: str) -> str:
    """What stands below a table: why there are dashes in it, each reason once."""
    reasons = dict.fromkeys(delta.reason for delta in deltas if delta.rate is None)
    break_ = "\n" if form == "text" else "\n\n"
    return "".join(f"{break_}–: {reason}" for reason in reasons)


def _rate(delta: Delta) -> str:
    if delta.rate is None:
        return "–"
    return f"{delta.rate:+.1f} %" if delta.error is None else f"{delta.rate:+.1f} ± {delta.error:.1f} %"


def _over(delta: Delta, metric: str) -> str:
    if delta.rate is None:
        return delta.reason
    digits, unit = (3, "") if metric == LPIPS else (MEASURES[metric].digits, MEASURES[metric].unit)
    return f"{delta.low:.{digits}f}..{delta.high:.{digits}f} {unit}".rstrip()
