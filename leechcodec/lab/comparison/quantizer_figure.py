"""BD-rates of trained quantizers as a figure: a dot a seed, the mean with its 95 % interval, a panel a metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leechcodec.formats.packages import require

PANELS = {"psnr": "PSNR", "ms-ssim": "MS-SSIM", "lpips": "LPIPS"}
LIMIT = 60.0
"""Percent: a worse quantizer's row is cut there, and its mean written at the edge."""


@dataclass(frozen=True)
class Spread:
    """A quantizer's BD-rates in percent. half: half width of their 95 % interval, None with one seed."""

    seeds: Sequence[float]
    mean: float
    half: float | None


def draw(found: Mapping[str, Mapping[str, Spread | None]], anchor: str, target: Path) -> None:
    """Write a figure. found: metric -> quantizer -> its BD-rates; one without any is left out of that panel."""
    figures = require("matplotlib.figure")
    names = list(next(iter(found.values())))
    figure = figures.Figure(figsize=(2 + 3.0 * len(found), 1.3 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axis, (metric, rates) in zip(axes, found.items()):
        axis.axvline(0, color="#666666", linewidth=1)
        for height, name in enumerate(names):
            if (spread := rates[name]) is None:
                continue
            mean, shown = spread.mean, min(spread.mean, LIMIT)
            seeds = [min(value, LIMIT) for value in spread.seeds]
            axis.plot(seeds, [height] * len(seeds), "o", color="#0072B2", alpha=0.35, markersize=4)
            if spread.half is not None and mean <= LIMIT:
                axis.errorbar(mean, height, xerr=spread.half, fmt="none", ecolor="#0072B2", elinewidth=1.6, capsize=3)
            axis.plot(shown, height, "D" if mean <= LIMIT else ">", color="#0072B2", markersize=6, zorder=3)
            if mean > LIMIT:
                axis.annotate(f"{mean:+.0f} %", (shown, height), (-8, 0), textcoords="offset points", ha="right",
                              va="center", fontsize=8)  # fmt: skip
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        left, right = axis.get_xlim()
        axis.set_xlim(max(left, -LIMIT), min(right, 1.05 * LIMIT))
        axis.set_xlabel(f"BD-rate against {anchor} (%)")
        axis.set_title(PANELS[metric])
        axis.grid(axis="x", linewidth=0.5, alpha=0.4)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)
