"""The figure and the numbers of docs/sampling.md: what a model's prior draws.

    python -m tools.sampling_sheet data/sample.png docs/sampling.jpg --model leech-vbr [--bits]

Three rows of four, 256 x 256 pixels each, no seed chosen: pictures drawn at the defaults, seeds 0 to 3; a part of the
photograph whose first 1, 2, 3 and 5 token stages are kept; a hole in it, then filled with 0, 2 and 5 stages kept under
it. Prints how many bytes of the photograph's file each stage takes, and the PSNR where the stages after it are drawn or
left out. With --bits also what drawn pictures cost at several settings, which takes minutes.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import leechcodec
from leechcodec.codec import api
from leechcodec.codec.distortion import psnr
from leechcodec.formats.images import contact_sheet

QUALITY = 60
KEPT = (1, 2, 3, 5)
HEAD = (128, 112, 384, 368)
"""Left, upper, right, lower of the part that the second row shows."""
HOLE = (352, 160, 512, 320)
AROUND_THE_HOLE = (304, 112, 560, 368)
COSTED: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.7},
    {"temperature": 0.5},
    {"top_p": 0.9},
    {"top_p": 0.8},
    {"temperature": 1.2},
)


def print_stages(photograph: Image.Image, start: leechcodec.Tokens) -> None:
    """A line a stage: its bytes by the prior's cross-entropy, and what it and those before it show."""

    def decibels(tokens: leechcodec.Tokens) -> float:
        return psnr(np.asarray(photograph), np.asarray(leechcodec.detokenize(tokens)))

    total = 0.0
    for kept, bits in enumerate(api.token_bits(start), start=1):
        total += (cost := bits.sum() / 8)
        drawn = decibels(leechcodec.sample(start=start, keep_stages=kept))
        left_out = decibels(replace(start, codes=start.codes[:kept]))
        print(
            f"stage {kept:>2}: {np.count_nonzero(bits):>6,} tokens, {cost:>7,.0f} bytes, {total:>7,.0f} so far; "
            f"the rest drawn {drawn:.1f} dB, left out {left_out:.1f} dB"
        )


def print_bits(model: str | None, width: int = 768, height: int = 512, quality: float = 55.0, seeds: int = 4) -> None:
    """Bits per pixel of drawn pictures."""
    for options in COSTED:
        drawn = [
            leechcodec.sample(width, height, quality=quality, seed=seed, model=model, **options)
            for seed in range(seeds)
        ]
        bpp = [sum(api.ideal_bits(tokens)) / (width * height) for tokens in drawn]
        print(f"{options or 'default'}: {np.mean(bpp):.3f} bpp ({min(bpp):.3f} to {max(bpp):.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photograph", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bits", action="store_true")
    parser.add_argument("--model", help="name or folder")
    args = parser.parse_args()
    photograph = Image.open(args.photograph).convert("RGB")
    start = leechcodec.tokenize(photograph, quality=QUALITY, model=args.model)

    mask = np.zeros((start.height, start.width), dtype=bool)
    mask[HOLE[1] : HOLE[3], HOLE[0] : HOLE[2]] = True
    pierced = np.array(leechcodec.detokenize(start))
    pierced[mask] = 255
    pictures = [leechcodec.detokenize(leechcodec.sample(seed=seed, model=args.model)) for seed in range(4)]
    for kept in KEPT:
        pictures.append(leechcodec.detokenize(leechcodec.sample(start=start, keep_stages=kept)).crop(HEAD))
    pictures.append(Image.fromarray(pierced).crop(AROUND_THE_HOLE))
    for kept in (0, 2, 5):
        filled = leechcodec.sample(start=start, mask=mask, keep_stages=kept)
        pictures.append(leechcodec.detokenize(filled).crop(AROUND_THE_HOLE))
    contact_sheet(pictures, len(pictures), 256, 256).save(args.output, quality=75, optimize=True)
    print_stages(photograph, start)
    if args.bits:
        print_bits(args.model)


if __name__ == "__main__":
    main()
