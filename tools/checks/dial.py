"""Do size and PSNR rise with the dial? From each whole quality to the next, image by image and for their mean.

    python -m tools.checks.dial IMAGE... --step 1 --targets 40

Prints the least and the greatest step of a file's size (per cent) from one quality to the next, the least of its PSNR
(dB), where they happen, and whether the means over the images rise all the way. Exit status 1 where a size falls by
more than 1 %, a PSNR by more than 0.05 dB, or a mean falls at all. With --targets, that many sizes between an image's
smallest and largest file, evenly spaced in their logarithm, and that many PSNRs are asked for: how many are met within
2 % and 0.05 dB, and what was found where not?
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.distortion import psnr


def measured(image: Image.Image, quality: float, model: str | None) -> tuple[int, float]:
    """Bytes and PSNR in dB."""
    data = api.compress(image, quality=quality, model=model)
    return len(data), psnr(np.asarray(image), np.asarray(api.decompress(data, model=model)))


def met(image: Image.Image, name: str, targets: np.ndarray, model: str | None) -> str:
    """How many targets of compress_to's argument of that name are met, and what was found for the others."""
    missed = []
    for target in targets.tolist():
        found = api.compress_to(image, **{name: target}, model=model)[1]
        if not found.close:
            missed.append(f"{found.value:,.2f} for {target:,.2f} at q = {found.quality:g}")
    return f"{len(targets) - len(missed)} of {len(targets)} targets met" + "".join(f"; {miss}" for miss in missed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--targets", type=int, default=0)
    parser.add_argument("--model", default=None)
    args = parser.parse_args()
    dial = np.arange(1, 100 + 1e-9, args.step)
    sizes, psnrs, failed = [], [], False
    for path in args.images:
        image = Image.open(path).convert("RGB")
        size, psnr = np.array([measured(image, quality, args.model) for quality in dial]).T
        growth, gain = 100 * (size[1:] / size[:-1] - 1), np.diff(psnr)
        failed |= bool(growth.min() < -1 or gain.min() < -0.05)
        print(
            f"{path.name}: size {size[0]:,.0f} to {size[-1]:,.0f} bytes, steps {growth.min():+.2f} % (from q = "
            f"{dial[growth.argmin()]:g}) to {growth.max():+.2f} % (q = {dial[growth.argmax()]:g}); "
            f"PSNR {psnr[0]:.2f} to {psnr[-1]:.2f} dB, least step {gain.min():+.3f} dB (q = {dial[gain.argmin()]:g})",
            flush=True,
        )
        if args.targets:
            ends = np.geomspace(size[0], size[-1], args.targets), np.linspace(psnr[0], psnr[-1], args.targets)
            for name, targets in zip(("size", "psnr"), ends):
                print(f"  {name}: {met(image, name, targets, args.model)}", flush=True)
        sizes.append(8 * size / (image.width * image.height))
        psnrs.append(psnr)
    for name, means in (("bpp", np.mean(sizes, axis=0)), ("PSNR", np.mean(psnrs, axis=0))):
        falls = dial[:-1][np.diff(means) <= 0]
        failed |= len(falls) > 0
        print(f"mean {name}: {'rises all the way' if not len(falls) else f'falls at q = {falls.tolist()}'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
