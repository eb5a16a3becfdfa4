"""What smooth pictures cost, stage by stage: bytes, and bits per token by the coder's own probabilities.

    python -m tools.checks.smooth [PHOTOGRAPH …] [--quality 20] [--model NAME]

White, dark grey and a ramp of 512 x 512 pixels, then the photographs given. A token of Λ24-SQ takes 17.6 bits without a
prior; a stage that takes more is one that the prior does not know. A Markdown table on standard output.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.formats.images import load_image

SIDE = 512
STAGES = 5
"""Shown: strides 64, 32 and the three of stride 16."""


def drawn() -> dict[str, Image.Image]:
    ramp = np.broadcast_to(np.linspace(20, 235, SIDE).round().astype(np.uint8)[None, :, None], (SIDE, SIDE, 3))
    return {
        "white": Image.new("RGB", (SIDE, SIDE), (255, 255, 255)),
        "dark grey": Image.new("RGB", (SIDE, SIDE), (40, 40, 40)),
        "ramp": Image.fromarray(np.ascontiguousarray(ramp)),
    }


def row(name: str, picture: Image.Image, quality: float, model: str | None) -> str:
    tokens = api.tokenize(picture, quality=quality, model=model)
    size = len(api.write_tokens(tokens, model=model))
    means = [bits.mean() for bits in api.token_bits(tokens, model=model)[:STAGES]]
    bpp = 8 * size / (picture.width * picture.height)
    return f"| {name} | {quality:g} | {size:,} | {bpp:.4f} | " + " | ".join(f"{mean:.1f}" for mean in means) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photographs", type=Path, nargs="*")
    parser.add_argument("--quality", type=float, nargs="+", default=[20.0])
    parser.add_argument("--model", default=None)
    args = parser.parse_args()
    pictures = drawn() | {path.stem: load_image(path).convert("RGB") for path in args.photographs}
    print("| picture | q | bytes | bpp | 64 | 32 | 16 | 16 | 16 |\n|---|---|---|---|---|---|---|---|---|")
    for name, picture in pictures.items():
        for quality in args.quality:
            print(row(name, picture, quality, args.model), flush=True)


if __name__ == "__main__":
    main()
