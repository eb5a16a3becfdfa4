"""Compress a photograph with the released model and show it beside JPEG and WebP at the same size.

python tools/demo.py data/sample.png -o build/demo
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

import leechcodec


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB of two RGB images."""
    error = np.square(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)).mean()
    return float(10 * np.log10(255**2 / error))


def nearest_size(image: Image.Image, file_format: str, size: int, **options) -> bytes:
    """A Pillow codec's file at the quality whose size comes nearest."""
    files = []
    for quality in range(0, 101):
        buffer = io.BytesIO()
        image.save(buffer, file_format, quality=quality, **options)
        files.append(buffer.getvalue())
    return min(files, key=lambda data: abs(len(data) - size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photograph", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/demo"))
    parser.add_argument("-q", "--quality", type=float, default=50.0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    image = Image.open(args.photograph).convert("RGB")
    name, pixels = args.photograph.stem, image.width * image.height

    start = time.perf_counter()
    data = leechcodec.compress(image, quality=args.quality)
    middle = time.perf_counter()
    decoded = leechcodec.decompress(data)
    end = time.perf_counter()
    (args.output / f"{name}.lq").write_bytes(data)
    decoded.save(args.output / f"{name}.lq.png")
    rows = [(f"leechcodec -q {args.quality:g}", data, decoded, f"{name}.lq.png")]
    peers = (("JPEG", "JPEG", "jpg", dict(optimize=True)), ("WebP", "WEBP", "webp", dict(method=6)))
    for label, file_format, suffix, options in peers:
        peer = nearest_size(image, file_format, len(data), **options)
        (args.output / f"{name}.{suffix}").write_bytes(peer)
        rows.append((label, peer, Image.open(io.BytesIO(peer)).convert("RGB"), f"{name}.{suffix}"))

    print(f"{args.photograph}: {image.width} x {image.height}, {args.photograph.stat().st_size:,} bytes")
    print(f"{'':<18} {'bytes':>8} {'bpp':>7} {'PSNR':>9}   written to {args.output}/")
    for label, encoded, picture, path in rows:
        size = len(encoded)
        print(f"{label:<18} {size:>8,} {8 * size / pixels:>7.4f} {psnr(image, picture):>6.2f} dB   {path}")
    print(f"encoded in {middle - start:.2f} s, decoded in {end - middle:.2f} s (first calls, model loading included)")


if __name__ == "__main__":
    main()
