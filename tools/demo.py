"""Compress a photograph with the released model and show it beside JPEG and WebP at the same size.

python -m tools.demo data/sample.png -o build/demo
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import leechcodec
from leechcodec.codec.distortion import psnr


def nearest_size(image: Image.Image, file_format: str, size: int, **options) -> bytes:
    """A Pillow codec's file at the quality whose size comes nearest."""
    files = []
    for quality in range(0, 101):
        buffer = io.BytesIO()
        image.save(buffer, file_format, quality=quality, **options)
        files.append(buffer.getvalue())
    return min(files, key=lambda data: abs(len(data) - size))


def decibels(a: Image.Image, b: Image.Image) -> float:
    return psnr(np.asarray(a), np.asarray(b))


def side_by_side(pictures: list[tuple[str, Image.Image]], box: tuple[int, int, int, int]) -> Image.Image:
    """The same crop of several pictures at twice its size, each with its name below."""
    width, height, caption, gap = 2 * (box[2] - box[0]), 2 * (box[3] - box[1]), 28, 8
    sheet = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + caption), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, picture) in enumerate(pictures):
        left = number * (width + gap)
        sheet.paste(picture.crop(box).resize((width, height), Image.Resampling.LANCZOS), (left, 0))
        draw.text((left + width // 2, height + caption // 2), label, "black", ImageFont.load_default(15), "mm")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
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

    centre, half = (image.width * 5 // 16, image.height * 7 // 16), min(image.width, image.height, 224) // 2
    box = (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
    pictures = [("original", image)]
    for label, encoded, picture, _ in rows:
        pictures.append((f"{label.split()[0]}, {len(encoded):,} bytes, {decibels(image, picture):.1f} dB", picture))
    side_by_side(pictures, box).save(args.output / "comparison.png", optimize=True)

    print(f"{args.photograph}: {image.width} x {image.height}, {args.photograph.stat().st_size:,} bytes")
    print(f"{'':<18} {'bytes':>8} {'bpp':>7} {'PSNR':>9}   written to {args.output}/")
    for label, encoded, picture, path in rows:
        size = len(encoded)
        print(f"{label:<18} {size:>8,} {8 * size / pixels:>7.4f} {decibels(image, picture):>6.2f} dB   {path}")
    print(f"encoded in {middle - start:.2f} s, decoded in {end - middle:.2f} s (first calls, model loading included)")


if __name__ == "__main__":
    main()
