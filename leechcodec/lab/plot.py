"""Rate-distortion curves as a figure: one panel a metric, told apart by marker and dash as well as by colour.

Measured curves are solid with filled markers; published ones are dashed, with hollow markers, and named as published.
Names stand beside the panels, in a legend or each at the end of its curve: never on a curve.
"""

from collections.abc import Sequence
from pathlib import Path

from leechcodec.formats.packages import require
from leechcodec.lab.curves import LPIPS, MEASURES, SSIMULACRA2, Curve
from leechcodec.lab.errors import ResultsError
from leechcodec.lab.figures import check_figure, save_figure

MARKERS = "osD^vP*X<>hp"
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F",
    "#882255", "#44AA99", "#332288", "#999933",
)  # fmt: skip
"""Okabe and Ito's, which the colour-blind tell apart, the yellow darkened; then four of Tol's muted ones."""
DASHES = ((0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (8, 2, 2, 2, 2, 2)), (0, (1, 1)), (0, (10, 3)))
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "alpha": 0.6, "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 3}
"""The line from a label's left edge to its curve."""
PANEL_WIDTH, PANEL_HEIGHT = 4.4, 3.5
"""Inches."""
LABEL_SIZE, LABEL_GAP = 8.5, 0.045
"""Points, and the least distance of two labels as a share of a panel's height."""


def draw(
    curves: Sequence[Curve],
    target: Path,
    *,
    max_bpp: float | None = None,
    title: str | None = None,
    labels: bool = False,
) -> None:
    """Write a figure of curves to a file, .svg, .png or .pdf by its name.

    max_bpp: right end of the rate axis; by default half as much again as the first measured curve reaches, and at
    least 1. labels: name each curve at its end, in place of the legend. A panel with no curve is left out. Raises
    ResultsError where nothing can be drawn.
    """
    check_figure(target)
    panels = [metric for metric in MEASURES if any(len(curve.points(metric)[0]) for curve in curves)]
    if not panels:
        raise ResultsError("no curve to draw")
    first = next((curve for curve in curves if not curve.published), curves[0])
    limit = max_bpp or max(1.0, 1.5 * first.bpp[-1])

    matplotlib = require("matplotlib")
    figures = require("matplotlib.figure")
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 10}):
        columns = 1 if len(panels) == 1 else 2
        rows = -(-len(panels) // columns)
        beside = 0.075 * max(len(_label(curve)) for curve in curves) + 0.5
        width = columns * (PANEL_WIDTH + labels * beside) + (not labels) * (beside + 0.4)
        figure = figures.Figure(figsize=(width, rows * PANEL_HEIGHT), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        styles = _styles(curves)
        for axis, metric in zip(axes, panels):
            _panel(axis, curves, styles, metric, limit)
            if labels:
                _name_ends(axis, curves, styles, metric, limit)
        for axis in axes[len(panels) :]:
            axis.remove()
        if not labels:
            _legend(figure, curves)
        if title:
            figure.suptitle(title)
        save_figure(figure, target)


def _legend(figure, curves: Sequence[Curve]) -> None:
    handles = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    names = [name for name in dict.fromkeys(map(_label, curves)) if name in handles]
    legend = [handles[name] for name in names]
    figure.legend(legend, names, loc="outside right upper", frameon=False, handlelength=3.5, labelspacing=0.7)


def _name_ends(axis, curves: Sequence[Curve], styles: Sequence[dict], metric: str, limit: float) -> None:
    """Each curve's name beside the panel at the height where the curve ends, or leaves the panel."""
    low, high = axis.get_ylim()
    ends = []
    for curve, style in zip(curves, styles):
        if end := _end(*curve.points(metric), limit):
            ends.append((end[0], (end[1] - low) / (high - low), _label(curve), style["color"]))
    ends.sort(key=lambda end: end[1])
    for (rate, height, name, colour), place in zip(ends, spread([end[1] for end in ends], LABEL_GAP)):
        axis.annotate(
            name,
            (rate / limit, height),
            (1.03, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=LABEL_SIZE,
            color=colour,
            arrowprops=LEADER | {"color": colour},
            annotation_clip=False,
        )


def _end(rates: Sequence[float], values: Sequence[float], limit: float) -> tuple[float, float] | None:
    """The last point of a curve up to the limit: one of its own, or where it crosses; None where it begins beyond."""
    inside = [point for point in zip(rates, values) if point[0] <= limit]
    if not inside or len(inside) == len(rates):
        return inside[-1] if inside else None
    (x0, y0), (x1, y1) = inside[-1], (rates[len(inside)], values[len(inside)])
    return limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Ascending heights moved to 0..1 and apart by at least a gap, or by as much as all have room for."""
    gap = min(gap, 1 / max(1, len(wanted) - 1))
    groups: list[list[float]] = []  # [sum of what its labels wish for the first of them, number of labels]
    for height in wanted:
        groups.append([height, 1])
        while len(groups) > 1 and _first(groups[-2], gap) + gap * groups[-2][1] > _first(groups[-1], gap):
            total, count = groups.pop()
            groups[-1][0] += total - count * gap * groups[-1][1]
            groups[-1][1] += count
    return [_first(group, gap) + gap * index for group in groups for index in range(int(group[1]))]


def _first(group: Sequence[float], gap: float) -> float:
    """The place of a group's first label: the mean of what its labels wish, so that all are within 0..1."""
    total, count = group
    return min(max(total / count, 0.0), 1 - gap * (count - 1))


def _panel(axis, curves: Sequence[Curve], styles: Sequence[dict], metric: str, limit: float) -> None:
    shown = []
    for curve, style in zip(curves, styles):
        rates, values = curve.points(metric)
        if rates:
            axis.plot(rates, values, label=_label(curve), **style)
            shown += [value for rate, value in zip(rates, values) if rate <= limit]
    axis.set_xlim(0, limit)
    if shown:
        margin = 0.04 * (max(shown) - min(shown)) or 1.0
        low = 0 if metric == LPIPS else min(shown) - margin
        if metric == SSIMULACRA2 and max(shown) > 0:
            low = max(low, 0)  # below, pictures are too poor for their order to matter
        axis.set_ylim(low, max(shown) + margin)
    axis.set_xlabel("rate (bits per pixel)")
    axis.set_ylabel(MEASURES[metric].label)
    axis.grid(True, linewidth=0.5, alpha=0.4)
    axis.spines[["top", "right"]].set_visible(False)


def _styles(curves: Sequence[Curve]) -> list[dict]:
    """A style for each curve; no two of one kind share marker and dash."""
    styles = []
    counts = {True: 0, False: 0}
    for curve in curves:
        number = counts[curve.published]
        counts[curve.published] += 1
        style = {"marker": MARKERS[number % len(MARKERS)], "color": COLOURS[number % len(COLOURS)]}
        if curve.published:
            round_ = number // len(MARKERS)
            style |= {"linestyle": DASHES[(number + round_) % len(DASHES)], "linewidth": 1.0, "alpha": 0.85}
            style |= {"markerfacecolor": "white", "markersize": 4, "zorder": 2}
        else:
            width, order = (2.8, 4) if number == 0 else (1.6, 3)  # the first is what the figure is about
            style |= {"linestyle": "-", "linewidth": width, "markersize": 5.5, "zorder": order}
        styles.append(style)
    return styles


def _label(curve: Curve) -> str:
    return f"{curve.name}, published" if curve.published else curve.name
