"""What one model for every quality costs: against models of the same size trained for a single quality each.

    python -m leechcodec.lab.comparison.compare_single_rate KODAK --data photos/ --out runs/family --qualities 20 50 80
    python -m leechcodec.lab.comparison.compare_single_rate KODAK --data photos/ --out runs/narrowed \\
        --qualities 20 50 88 --config configs/narrowed.toml --init models/leech-vbr

The first trains configs/twin.toml over the whole dial and again for each quality alone, at the same steps and seed; the
second goes on from a released model for each quality alone, and compares with that model as it is. Images are coded
through real files: the single model at its quality, the variable one around it, its curve read at the same bpp (linear
in log bpp). A difference above zero is what the variable model loses. Each finished part is kept, and the first
command's variable model is the `leech-ball` one of compare_quantizers.py where --out already has it.
"""

import argparse
import math
from pathlib import Path

import numpy as np

from leechcodec.lab import curves
from leechcodec.lab.comparison.twins import arguments, config_of, curve_of, trained

ASIDE = 12.0
"""The variable model is measured this far to either side too, so that its curve spans the single model's rate."""


def main() -> None:
    parser = arguments(argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--qualities", type=float, nargs="+", default=[20.0, 50.0, 80.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--init", type=Path, help="a released model: the variable one, and where the others start")
    args = parser.parse_args()

    def model(name: str, changes: dict) -> tuple[Path, Path]:
        run = args.out / f"{name}-{args.seed}"
        config = config_of(args.config, changes, args.seed, run / "config.toml")
        return run, trained(run, config, args.data, args.threads, args.init)

    dial = {min(100.0, max(1.0, q + step)) for q in args.qualities for step in (-ASIDE, 0.0, ASIDE)}
    run, variable = (args.out / args.init.name, args.init) if args.init else model("leech-ball", {})
    rates, psnr = curve_of(run / "dial", variable, args.images, tuple(sorted(dial))).points(curves.PSNR)
    print("| quality | single: bpp | PSNR | variable at that bpp | difference |\n|---|---|---|---|---|")
    for quality in args.qualities:
        run, single = model(f"single-{quality:g}", {"dial": [quality, quality]})
        (rate,), (alone,) = curve_of(run, single, args.images, (quality,)).points(curves.PSNR)
        at_rate = float(np.interp(math.log(rate), np.log(rates), psnr, left=math.nan, right=math.nan))
        print(
            f"| {quality:g} | {rate:.4f} | {alone:.3f} dB | {at_rate:.3f} dB | {alone - at_rate:+.3f} dB |", flush=True
        )


if __name__ == "__main__":
    main()
