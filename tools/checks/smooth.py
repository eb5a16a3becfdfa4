"""What smooth pictures cost, and how far off they come back: bytes, levels, and bits per token of every stage.

    python -m tools.checks.smooth [PHOTOGRAPH …] [--quality 20] [--model NAME]

Flat colours and a ramp of 512 x 512 pixels, then the photographs given. Levels: the largest difference of a value.
Bits are by the coder's own probabilities; a token of Λ24-SQ takes 17.6 bits without a prior, and a stage that takes
more is one that the prior does not know. A Markdown table on standard output.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.formats.images import load_image

SIDE = 512
FLAT = {
    "white": (255, 255, 255), "black": (0, 0, 0), "dark grey": (40, 40, 40), "grey": (128, 128, 128),
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
}  # fmt: skip
STAGES = 5
"""Shown: strides 64, 32 and the three of stride 16."""


def drawn() -> dict[str, Image.Image]:
    ramp = np.broadcast_to(np.linspace(20, 235, SIDE).round().astype(np.uint8)[None, :, None], (SIDE, SIDE, 3))
    flat = {name: Image.new("RGB", (SIDE, SIDE), colour) for name, colour in FLAT.items()}
    return flat | {"ramp": Image.fromarray(np.ascontiguousarray(ramp))}


def row(name: str, picture: Image.Image, quality: float, model: str | None) -> str:
    data = api.compress(picture, quality=quality, model=model)
    off = np.abs(np.asarray(api.decompress(data, model=model), int) - np.asarray(picture, int)).max()
    means = [bits.mean() for bits in api.token_bits(api.read_tokens(data, model=model), model=model)[:STAGES]]
    bpp = 8 * len(data) / (picture.width * picture.height)
    cells = [name, f"{quality:g}", f"{len(data):,}", f"{bpp:.4f}", f"{off}", *(f"{mean:.1f}" for mean in means)]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photographs", type=Path, nargs="*")
    parser.add_argument("--quality", type=float, nargs="+", default=[20.0])
    parser.add_argument("--model", default=None)
    args = parser.parse_args()
    pictures = drawn() | {path.stem: load_image(path).convert("RGB") for path in args.photographs}
    print("| picture | q | bytes | bpp | levels | 64 | 32 | 16 | 16 | 16 |\n|---|---|---|---|---|---|---|---|---|---|")
    for name, picture in pictures.items():
        for quality in args.quality:
            print(row(name, picture, quality, args.model), flush=True)


if __name__ == "__main__":
    main()
