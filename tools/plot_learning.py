"""Draw learning curves: score on the held-out photographs against the pixels trained.

    python -m tools.plot_learning docs/learning.csv -o docs/learning.png

The CSV has a row a validation: phase, steps, hours and megapixels since the first weights, score (docs/experiments.md).
All phases are those of the released model, one after another, but the last ones: a second generation, from nothing.
"""

import argparse
import csv
from itertools import cycle, groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PEERS = {"WebP": -0.708, "AVIF 4:4:4": -0.988}
"""On the same crops and trade-offs, through real files (docs/experiments.md)."""
MARKERS = "o^svDPX*"
SECOND = "second generation"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    rows = list(csv.DictReader(args.csv.read_text().splitlines()))
    figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
    for marker, (phase, group) in zip(cycle(MARKERS), groupby(rows, lambda row: row["phase"])):
        points = [(float(row["megapixels"]), float(row["score"])) for row in group]
        (line,) = axes.plot(*zip(*points), marker=marker, markersize=4, linewidth=1.2, label=phase)
        if phase.startswith(SECOND):
            line.set(color="black", linewidth=1.6)
    for name, score in PEERS.items():
        axes.axhline(score, color="0.4", linewidth=0.8, linestyle="--")
        axes.annotate(name, (0.01, score), (2, 3), ("axes fraction", "data"), "offset points", color="0.3", fontsize=8)
    axes.set(xscale="log", xlabel="megapixels trained", ylabel="score: mean log₂(λ·255²·MSE + bpp)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.25, which="both")
    figure.legend(fontsize=8, loc="outside right upper", edgecolor="white")
    figure.savefig(args.output, dpi=130)


if __name__ == "__main__":
    main()
