"""Large photographs: time and memory of encoding and decoding, and whether working in bands changes anything.

    python -m tools.checks.large data/sample.png --megapixels 1 4 16 64 100

The photograph is mirrored side by side up to each size. Every encoding and decoding is a process of its own, weights
and imports included in its peak memory (VmHWM, Linux). Up to --whole megapixels the image is also coded without bands:
tokens must be equal and pixels within one level. What that takes stands in the last column. Exit status 1 where they
are not, or memory passes --limit.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

QUALITY = 50


def mosaic(sample: Image.Image, pixels: float) -> Image.Image:
    """The sample, mirrored side by side, at about so many pixels in its own shape."""
    scale = math.sqrt(pixels / (sample.width * sample.height))
    image = Image.new("RGB", (round(sample.width * scale), round(sample.height * scale)))
    for row, top in enumerate(range(0, image.height, sample.height)):
        for column, left in enumerate(range(0, image.width, sample.width)):
            tile = ImageOps.mirror(sample) if column % 2 else sample
            image.paste(ImageOps.flip(tile) if row % 2 else tile, (left, top))
    return image


def work(job: dict) -> None:
    """A process's part: encode or decode one file; what it took goes to standard output as JSON."""
    from leechcodec.codec import api
    from leechcodec.networks import onnx_walk

    if job["whole"]:
        onnx_walk.WHOLE_PIXELS = 1 << 40
    api.decompress(api.compress(Image.new("RGB", (64, 64)), quality=QUALITY))  # compiles what is compiled
    Image.MAX_IMAGE_PIXELS = None
    if job["encode"]:
        image = Image.open(job["png"]).convert("RGB")
        started = time.perf_counter()
        Path(job["lq"]).write_bytes(api.compress(image, quality=QUALITY))
        seconds = time.perf_counter() - started
    else:
        data = Path(job["lq"]).read_bytes()
        started = time.perf_counter()
        image = api.decompress(data)
        seconds = time.perf_counter() - started
        image.save(job["out"], compress_level=1)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "gigabytes": peak / 1e6}))


def run(**job) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tools.checks.large", "--work", json.dumps(job)], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr.strip()[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def against_whole(folder: Path, png: Path) -> tuple[bool, str]:
    """Whether tokens are those without bands and pixels within a level, and how it was without bands."""
    found = [
        run(encode=True, whole=True, png=str(png), lq=str(folder / "whole.lq")),
        run(encode=False, whole=True, lq=str(folder / "banded.lq"), out=str(folder / "whole.png")),
    ]
    same = (folder / "whole.lq").read_bytes() == (folder / "banded.lq").read_bytes()
    a, b = (np.asarray(Image.open(folder / name), dtype=np.int16) for name in ("whole.png", "banded.png"))
    worst = int(np.abs(a - b).max())
    took = ", ".join(f"{part['seconds']:.1f} s and {part['gigabytes']:.2f} GB" for part in found)
    return same and worst <= 1, f"{'equal' if same else 'OTHER'} tokens, {worst} levels; {took}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sample", type=Path, nargs="?")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16, 64, 100])
    parser.add_argument("--whole", type=float, default=16.0)
    parser.add_argument("--limit", type=float, default=2.0, help="gigabytes")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(json.loads(args.work))
    Image.MAX_IMAGE_PIXELS, failed = None, False
    sample = Image.open(args.sample).convert("RGB")
    print("| megapixels | encode | a megapixel | memory | decode | a megapixel | memory | against the whole |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for size in args.megapixels:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            png = folder / "in.png"
            mosaic(sample, size * 1e6).save(png, compress_level=1)
            found = [
                run(encode=True, whole=False, png=str(png), lq=str(folder / "banded.lq")),
                run(encode=False, whole=False, lq=str(folder / "banded.lq"), out=str(folder / "banded.png")),
            ]
            compared = "–"
            if size <= args.whole:
                same, compared = against_whole(folder, png)
                failed |= not same
        failed |= max(part["gigabytes"] for part in found) > args.limit
        columns = [
            f"{part['seconds']:.1f} s | {part['seconds'] / size:.2f} s | {part['gigabytes']:.2f} GB" for part in found
        ]
        print(f"| {size:g} | {' | '.join(columns)} | {compared} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
