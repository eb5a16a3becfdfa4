"""The figure of docs/sampling.md: what the released model's prior draws.

    python tools/sampling_sheet.py data/sample.png docs/sampling.jpg

Three rows of four, 256 x 256 pixels each, nothing chosen: pictures drawn at the defaults, seeds 0 to 3; a part of the
photograph whose first 1, 2, 3 and 5 token stages are kept; a hole in it, then filled with 0, 2 and 5 stages kept under
it. Also prints how many bytes of the photograph's file each stage takes.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import leechcodec
from leechcodec import codec
from leechcodec.image import contact_sheet

QUALITY = 60
HEAD = (128, 112, 384, 368)
"""Left, upper, right, lower of the part that the second row shows."""
HOLE = (352, 160, 512, 320)
AROUND_THE_HOLE = (304, 112, 560, 368)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photograph", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    start = leechcodec.tokenize(Image.open(args.photograph), quality=QUALITY)
    total = 0.0
    for stage, bits in enumerate(codec.token_bits(start)):
        total += (cost := bits.sum() / 8)
        print(f"stage {stage + 1:>2}: {bits.size:>6,} tokens, {cost:>7,.0f} bytes, {total:>7,.0f} so far")

    mask = np.zeros((start.height, start.width), dtype=bool)
    mask[HOLE[1] : HOLE[3], HOLE[0] : HOLE[2]] = True
    pierced = np.array(leechcodec.detokenize(start))
    pierced[mask] = 255
    pictures = [leechcodec.detokenize(leechcodec.sample(seed=seed)) for seed in range(4)]
    for kept in (1, 2, 3, 5):
        pictures.append(leechcodec.detokenize(leechcodec.sample(start=start, keep_stages=kept)).crop(HEAD))
    pictures.append(Image.fromarray(pierced).crop(AROUND_THE_HOLE))
    for kept in (0, 2, 5):
        filled = leechcodec.sample(start=start, mask=mask, keep_stages=kept)
        pictures.append(leechcodec.detokenize(filled).crop(AROUND_THE_HOLE))
    contact_sheet(pictures, len(pictures), 256, 256).save(args.output, quality=75, optimize=True)


if __name__ == "__main__":
    main()
