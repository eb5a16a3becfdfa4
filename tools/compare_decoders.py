"""A second decoder beside the model's own, on the very same files.

    python -m tools.compare_decoders KODAK models/leech-open-perceptual --lpips-weights FILE --quality 20 35 55 -o DIR

Every image is coded once at each quality and decoded with both: mean bpp, PSNR, MS-SSIM and LPIPS, and two measures
that nothing here was trained on: GMSD (Xue et al., 2014) where the package piq is installed, and BRISQUE (Mittal et
al., 2012), which sees no original, where brisque is; a dash where not. A mean is over the images large enough for it.
DIR gets a sheet an image and quality, its busiest part: original, own decoder, second decoder.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import load_model
from leechcodec.lab.datasets import photographs, pixels_of
from leechcodec.lab.metrics import scores
from leechcodec.training.lpips_net import Lpips
from tools.demo import side_by_side

CROP = 160


def gmsd(original: Image.Image, decoded: Image.Image) -> float:
    """0 is best; NaN without piq."""
    try:
        import piq
    except ImportError:
        return float("nan")
    a, b = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255 for image in (original, decoded))
    return piq.gmsd(a, b).item()


def brisque_of(images: list[Image.Image]) -> float:
    """Mean, lower is better; NaN without brisque."""
    try:
        from brisque import BRISQUE
    except ImportError:
        return float("nan")
    measure = BRISQUE(url=False)
    return float(np.mean([measure.score(np.asarray(image)) for image in images]))


def busiest(image: Image.Image) -> tuple[int, int, int, int]:
    """The crop of the strongest gradients, where decoders differ."""
    grey = np.asarray(image.convert("L"), dtype=float)
    strength = np.hypot(*np.gradient(grey))
    width, height = min(CROP, image.width), min(CROP, image.height)
    boxes = [
        (x, y, x + width, y + height)
        for y in range(0, image.height - height + 1, CROP // 2)
        for x in range(0, image.width - width + 1, CROP // 2)
    ]
    return max(boxes, key=lambda box: strength[box[1] : box[3], box[0] : box[2]].mean())


def mean_of(values: Iterable[float | None]) -> float:
    """The mean of those that there are: a small picture has no MS-SSIM. NaN where there is none."""
    present = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")


def _cell(value: float, digits: int = 4) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("decoder")
    parser.add_argument("--model", default="leech-open")
    parser.add_argument("--lpips-weights", type=Path, required=True)
    parser.add_argument("--quality", type=float, nargs="+", default=[20.0, 35.0, 55.0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    lpips = Lpips(args.lpips_weights)
    found, _ = photographs(args.images)
    originals = [(photograph.path.stem, pixels_of(photograph.path)) for photograph in found]
    names = {args.model: "own", args.decoder: load_model(args.decoder).name}
    print("| bpp | decoder | PSNR | MS-SSIM | LPIPS | GMSD | BRISQUE |\n|---|---|---|---|---|---|---|")
    print(f"| | the originals | | | | | {_cell(brisque_of([image for _, image in originals]), 1)} |")
    for quality in args.quality:
        files = [api.compress(image, quality=quality, model=args.model) for _, image in originals]
        rate = np.mean([8 * len(data) / i.width / i.height for data, (_, i) in zip(files, originals, strict=True)])
        decoded = {}
        for model in names:
            pictures = [api.decompress(data, model=model).convert("RGB") for data in files]
            decoded[model] = pictures
            rows = []
            for (_, original), picture in zip(originals, pictures, strict=True):
                row = scores(original, picture, lpips)
                rows.append([row.psnr, row.ms_ssim, row.lpips, gmsd(original, picture)])
            psnr, *rest = map(mean_of, zip(*rows, strict=True))
            cells = [f"{rate:.4f} (q = {quality:g})", names[model], f"{psnr:.2f} dB", *(_cell(value) for value in rest)]
            cells.append(_cell(brisque_of(pictures), 1))
            print(f"| {' | '.join(cells)} |", flush=True)
        for (stem, original), *pair in zip(originals, *decoded.values(), strict=True):
            sheet = zip(("original", *names.values()), (original, *pair), strict=True)
            side_by_side(list(sheet), busiest(original)).save(args.output / f"{stem}-q{quality:g}.png")


if __name__ == "__main__":
    main()
