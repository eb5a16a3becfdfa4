"""Rate-distortion curves as a figure: one panel a metric, told apart by marker and dash as well as by colour.

Measured curves are solid with filled markers; published ones are dashed, with hollow markers, and named as published.
"""

from collections.abc import Sequence
from pathlib import Path

from leechcodec.formats.packages import require
from leechcodec.lab.curves import LPIPS, MEASURES, Curve
from leechcodec.lab.errors import ResultsError

MARKERS = "osD^vP*X<>hp"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe and Ito's, which the colour-blind tell apart, the yellow darkened."""
DASHES = ((0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (8, 2, 2, 2, 2, 2)), (0, (1, 1)), (0, (10, 3)))
SUFFIXES = (".svg", ".png", ".pdf")
PANEL_WIDTH, PANEL_HEIGHT = 5.2, 4.4
"""Inches."""


def draw(curves: Sequence[Curve], target: Path, *, max_bpp: float | None = None, title: str | None = None) -> None:
    """Write a figure of curves to a file, .svg, .png or .pdf by its name.

    max_bpp: right end of the rate axis; by default half as much again as the first measured curve reaches, and at
    least 1. A panel with no curve is left out. Raises ResultsError where nothing can be drawn.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise ResultsError(f"{target}: the figure's name ends in {', '.join(SUFFIXES)}")
    panels = [metric for metric in MEASURES if any(len(curve.points(metric)[0]) for curve in curves)]
    if not panels:
        raise ResultsError("no curve to draw")
    first = next((curve for curve in curves if not curve.published), curves[0])
    limit = max_bpp or max(1.0, 1.5 * first.bpp[-1])

    matplotlib = require("matplotlib")
    figures = require("matplotlib.figure")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "leechcodec", "font.size": 10}):
        names = [_label(curve) for curve in curves]
        width = PANEL_WIDTH * len(panels)
        columns = max(1, min(len(names), int(width / (0.8 + 0.075 * max(map(len, names))))))
        height = PANEL_HEIGHT + 0.22 * -(-len(names) // columns)
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        styles = _styles(curves)
        for axis, metric in zip(axes, panels):
            _panel(axis, curves, styles, metric, limit)
        handles = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels()):
                handles.setdefault(label, handle)
        names = [name for name in names if name in handles]
        figure.legend(  # outside the panels, where it covers no curve
            [handles[name] for name in names],
            names,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            handlelength=4,
        )
        if title:
            figure.suptitle(title)
        metadata = {"Date": None} if target.suffix.lower() == ".svg" else None  # the same data, the same file
        figure.savefig(target, dpi=150, metadata=metadata)


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
        axis.set_ylim(0 if metric == LPIPS else min(shown) - margin, max(shown) + margin)
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
            style |= {"linestyle": "-", "linewidth": 1.8, "markersize": 6, "zorder": 3}
        styles.append(style)
    return styles


def _label(curve: Curve) -> str:
    return f"{curve.name}, published" if curve.published else curve.name
