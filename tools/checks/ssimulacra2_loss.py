"""SSIMULACRA2 of training (networks/ssimulacra2.py) against the package that the laboratory measures with.

    python -m tools.checks.ssimulacra2_loss IMAGES [--crop 256] [--part 128] [--files leech:10,35,60,85]

Prints both scores of each file, and what training's constant comes from: 255² · MSE, the distance, and their ratio.
Exit status 1 where the scores differ by more than 0.5. --part: the mean distance of the squares of that side that the
picture holds, beside the picture's own, as training sees crops.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from leechcodec.lab.datasets import pixels_of
from leechcodec.lab.metrics import SSIMULACRA2_SMALLEST
from leechcodec.lab.metrics import ssimulacra2 as of_the_package
from leechcodec.lab.peers.neural import Leech
from leechcodec.lab.peers.pillow import Avif, Jpeg, WebP
from leechcodec.networks.ssimulacra2 import ssimulacra2, ssimulacra2_distance

PEERS = {"jpeg": Jpeg, "webp": WebP, "avif": Avif, "leech": Leech}
FILES = "jpeg:5,40,90 webp:40 avif:16,60 leech:10,35,60,85"
ALLOWED = 0.5


def parts(image: Tensor, side: int) -> Tensor:
    """The squares of that side, side by side from the upper left: (1, 3, H, W) -> (N, 3, side, side)."""
    squares = image[0].unfold(1, side, side).unfold(2, side, side)
    return squares.permute(1, 2, 0, 3, 4).reshape(-1, 3, side, side)


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 255


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--crop", type=int, help="side of the square taken from the upper left corner")
    parser.add_argument("--part", type=int, default=128)
    parser.add_argument("--files", default=FILES, help="codec:quality,quality …")
    args = parser.parse_args()
    worst, sums = 0.0, {}
    print(f"image             file          package     ours  difference  255² MSE  distance  in {args.part}s   ratio")
    for path in args.images:
        image = pixels_of(path)
        if args.crop:
            image = image.crop((0, 0, args.crop, args.crop))
        if min(image.size) < SSIMULACRA2_SMALLEST:
            sys.exit(f"{path}: too small")
        x = tensor(np.asarray(image))
        for key, quality in (
            (key, q) for key, some in (f.split(":") for f in args.files.split()) for q in some.split(",")
        ):
            peer = PEERS[key]()
            decoded = peer.decode(peer.encode(image, peer.setting(int(quality))))
            expected = cast("float", of_the_package(np.asarray(image), np.asarray(decoded)))  # None of small ones
            y = tensor(np.asarray(decoded))
            found, distance = ssimulacra2(x, y).item(), ssimulacra2_distance(x, y).item()
            in_parts = ssimulacra2_distance(parts(x, args.part), parts(y, args.part)).mean().item()
            squared = 255**2 * (x - y).square().mean().item()
            worst = max(worst, abs(found - expected))
            sums.setdefault((key, int(quality)), []).append((squared, distance, in_parts))
            scores = f"{expected:>8.3f} {found:>8.3f}  {found - expected:>+10.4f}"
            errors = f"{squared:>8.2f}  {distance:>8.3f}  {in_parts:>7.3f}  {squared / distance:>6.1f}"
            print(f"{path.stem[-16:]:<16}  {key:<6} q{quality:<4} {scores}  {errors}", flush=True)
    for (key, quality), rows in sums.items():
        ratios = [squared / distance for squared, distance, _ in rows]
        squared, distance, in_parts = map(sum, zip(*rows))
        print(
            f"{key} q{quality}: median ratio {statistics.median(ratios):.1f}, {min(ratios):.1f} to {max(ratios):.1f}; "
            f"ratio of means {squared / distance:.1f}, in {args.part}s {squared / in_parts:.1f}"
        )
    print(f"largest difference {worst:.4f}")
    sys.exit(worst > ALLOWED)


if __name__ == "__main__":
    main()
