"""Markdown for docs/results.md from results of ``leechcodec eval``: this codec's points, and its peers' PSNR there.

    leechcodec eval KODAK -o results
    python -m leechcodec.lab.comparison.kodak_table results

A peer's PSNR at a rate is linear in log bpp between its two nearest points; "–" outside its range.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from leechcodec.lab.results import Results, load

RATES = (0.1, 0.15, 0.234, 0.2747, 0.4, 0.6)
"""bpp at which the second table compares; 0.234 and 0.2747 are the goals of the first release."""


def psnr_at(results: Results, bpp: float) -> float:
    """dB at a rate, NaN outside the measured range."""
    rates, values = (np.array(results.results[name], float) for name in ("bpp", "psnr-rgb"))
    return float(np.interp(math.log(bpp), np.log(rates), values, left=math.nan, right=math.nan))


def decibels(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default="leech")
    args = parser.parse_args()
    found = {path.stem: load(path) for path in sorted(args.folder.glob("*.json"))}
    if args.codec not in found:
        sys.exit(f"{args.folder}: no results of {args.codec}")
    ours = found.pop(args.codec)
    names = {key: results.name for key, results in found.items()}

    print(
        row("q", "bpp", "PSNR", "MS-SSIM", "SSIMULACRA2", "LPIPS", *names.values(), "worst image", "encode", "decode")
    )
    print(row(*["---"] * (9 + len(names))))
    for index, setting in enumerate(ours.settings):
        point = {name: column[index] for name, column in ours.results.items()}
        worst = min((image for image in ours.images if image.setting == setting), key=lambda image: image.psnr)
        lpips = "–" if point["lpips"] is None else f"{point['lpips']:.3f}"
        score = "–" if point["ssimulacra2"] is None else f"{point['ssimulacra2']:.1f}"
        peers = [decibels(psnr_at(results, point["bpp"] or math.nan)) for results in found.values()]
        print(row(setting, f"{point['bpp']:.4f}", f"**{point['psnr-rgb']:.2f} dB**", f"{point['ms-ssim-rgb']:.4f}",
                  score, lpips, *peers, f"{worst.psnr:.2f} dB ({Path(worst.image).stem})",
                  f"{point['encoding_time']:.2f} s", f"{point['decoding_time']:.2f} s"))  # fmt: skip
    print()
    print(row("bpp", ours.name, *names.values()))
    print(row(*["---"] * (2 + len(names))))
    for rate in RATES:
        print(row(rate, *(decibels(psnr_at(results, rate)) for results in (ours, *found.values()))))


if __name__ == "__main__":
    main()
