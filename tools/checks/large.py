"""Large photographs: time and memory of encoding and decoding, and whether working in bands changes anything.

    python -m tools.checks.large data/sample.png --megapixels 1 4 16 64 100

The photograph is mirrored side by side up to each size. Every encoding and decoding is a process of its own, weights
and imports included in its peak memory (VmHWM, Linux). Up to --whole megapixels the image is also coded without bands:
tokens must be equal and pixels within one level. Time is told by the clock, in all and of a megapixel, and as that of
processors of a megapixel. Exit status 1 where something differs, or memory passes --limit.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps


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
    api.decompress(api.compress(Image.new("RGB", (64, 64))))  # compiles what is compiled
    Image.MAX_IMAGE_PIXELS = None
    if "quality" in job:
        image, told = Image.open(job["png"]).convert("RGB"), (lambda _: None) if job["measured"] else None
        how = {name: job[name] for name in ("quality", "effort", "max_seconds")}
        data, took = timed(lambda: api.compress(image, measured=told, **how))
        Path(job["lq"]).write_bytes(data)
    else:
        data = Path(job["lq"]).read_bytes()
        image, took = timed(lambda: api.decompress(data))
        image.save(job["png"], compress_level=1)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    print(json.dumps(took | {"gigabytes": peak / 1e6}))


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    started, before = time.perf_counter(), time.process_time()
    made = function()
    return made, {"seconds": time.perf_counter() - started, "processor": time.process_time() - before}


def run(**job) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tools.checks.large", "--work", json.dumps(job)], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr.strip()[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def both_ways(folder: Path, name: str, options: dict, whole: bool) -> list[dict]:
    """Encode in.png and decode the file; what each took."""
    lq, png = str(folder / f"{name}.lq"), str(folder / f"{name}.png")
    encoding = run(whole=whole, png=str(folder / "in.png"), lq=lq, **options)
    return [encoding, run(whole=whole, lq=lq, png=png)]


def differences(folder: Path) -> tuple[bool, int]:
    """Whether the tokens are those without bands, and how far the pixels are apart at most."""
    same = (folder / "whole.lq").read_bytes() == (folder / "bands.lq").read_bytes()
    a, b = (np.asarray(Image.open(folder / name), dtype=np.int16) for name in ("whole.png", "bands.png"))
    return same, int(np.abs(a - b).max())


def row(size: float, found: list[dict], remark: str) -> str:
    parts = [
        f"{part['seconds']:.1f} s | {part['seconds'] / size:.2f} s | {part['processor'] / size:.2f} s | "
        f"{part['gigabytes']:.2f} GB"
        for part in found
    ]
    return f"| {size:g} | {' | '.join(parts)} | {remark} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sample", type=Path, nargs="?")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16, 64, 100])
    parser.add_argument("--quality", type=float, default=50.0)
    parser.add_argument("--measured", action="store_true", help="with the PSNR, as the command line encodes")
    parser.add_argument("--effort", type=int, default=1)
    parser.add_argument("--max-seconds", type=float, help="as of leechcodec encode: as many steps as fit")
    parser.add_argument("--whole", type=float, default=16.0)
    parser.add_argument("--limit", type=float, default=2.0, help="gigabytes")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(json.loads(args.work))
    Image.MAX_IMAGE_PIXELS, failed = None, False
    sample = Image.open(args.sample).convert("RGB")
    options = {name: getattr(args, name) for name in ("quality", "measured", "effort", "max_seconds")}
    way = "a megapixel | processor | memory"
    print(f"| megapixels | encode | {way} | decode | {way} | |\n|---{9 * '|---'}|", flush=True)
    for size in args.megapixels:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            mosaic(sample, size * 1e6).save(folder / "in.png", compress_level=1)
            found = both_ways(folder, "bands", options, whole=False)
            print(row(size, found, ""), flush=True)
            failed |= max(part["gigabytes"] for part in found) > args.limit
            if size <= args.whole:
                found = both_ways(folder, "whole", options, whole=True)
                same, worst = differences(folder)
                failed |= not same or worst > 1
                print(row(size, found, f"whole: {'equal' if same else 'OTHER'} tokens, {worst} levels"), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
