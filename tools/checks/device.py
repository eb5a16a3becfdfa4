"""A device against the processor: speed, and whether its files hold the tokens and the pixels that they should.

    python -m tools.checks.device photos/ --device cuda       at most --seconds for each row
    python -m tools.checks.device --device cpu                the sample, the code path alone

Photographs are encoded at effort 1 and 3 and decoded, one after the other, on the device. Of every file the tokens that
the processor decodes must be those that the device asked for, and its picture that of the processor within a level.
Exit status 1 where they are not. Tokens that the device and the processor choose for one photograph may differ here and
there; how many do is told.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.apps.batch.names import PHOTOGRAPHS
from leechcodec.codec import api
from leechcodec.formats.files import files_below
from leechcodec.formats.images import load_image

SAMPLE = Path(__file__).parents[2] / "data" / "sample.png"
EFFORTS = (1, 3)


def speed(work: Callable[[Image.Image], object], images: list[Image.Image], seconds: float) -> float:
    """Megapixels per second, over the images that can be done in the time; the first one is done before, to warm up."""
    work(images[0])
    started, pixels = time.perf_counter(), 0
    for image in images:
        work(image)
        pixels += image.width * image.height
        if time.perf_counter() - started > seconds:
            break
    return pixels / 1e6 / (time.perf_counter() - started)


def compared(image: Image.Image, quality: float, device: str) -> tuple[bool, int, int]:
    """Whether a file of the device decodes to its tokens; the largest difference of its pixels in levels; and how many
    tokens the processor would have chosen otherwise."""
    data = api.compress(image, quality=quality, device=device)
    asked = api.tokenize(image, quality=quality, device=device)
    decoded = api.read_tokens(data)
    pixels = (np.asarray(api.decompress(data, device=where), dtype=int) for where in (device, "cpu"))
    there, here = pixels
    own = api.tokenize(image, quality=quality, device="cpu")
    other = sum(int((a != b).any(-1).sum()) for a, b in zip(asked.codes, own.codes))
    return asked.digest() == decoded.digest(), int(np.abs(there - here).max()), other


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photographs", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quality", type=float, default=55.0, help="at most 90")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each row")
    args = parser.parse_args()
    single = args.photographs.is_file()
    below = [Path()] if single else sorted(files_below(args.photographs, PHOTOGRAPHS, False))
    images = [load_image(args.photographs / path).convert("RGB") for path in below]
    print("| quality | on | what | megapixels/s |\n|---|---|---|---|", flush=True)
    for device in dict.fromkeys((args.device, "cpu")):
        options = {"quality": args.quality, "device": device}
        for effort in EFFORTS if device == args.device else EFFORTS[:1]:
            found = speed(lambda image, e=effort: api.compress(image, effort=e, **options), images, args.seconds)  # noqa: B023
            print(f"| {args.quality:g} | {device} | encode, effort {effort} | {found:.2f} |", flush=True)
        files = {id(image): api.compress(image, **options) for image in images[:8]}
        found = speed(lambda image: api.decompress(files[id(image)], device=device), images[:8], args.seconds)  # noqa: B023
        print(f"| {args.quality:g} | {device} | decode | {found:.2f} |", flush=True)
    failed = False
    for path, image in zip(below[:8], images):
        same, levels, other = compared(image, args.quality, args.device)
        failed |= not same or levels > 1
        tokens = "its own tokens" if same else "**other tokens**"
        print(f"{path if path.name else args.photographs}: {tokens}, {levels} levels, {other} tokens unlike the cpu's")
    sys.exit(failed)


if __name__ == "__main__":
    main()
