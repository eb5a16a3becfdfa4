"""A second decoder beside the model's own, on the very same files.

    python tools/compare_decoders.py KODAK models/leech-vbr-perceptual --lpips-weights FILE --quality 20 35 55 -o DIR

Every image is coded once at each quality and decoded with both: mean bpp, PSNR, MS-SSIM and LPIPS, and with the package
piq also GMSD (Xue et al., 2014) and HaarPSI (Reisenhofer et al., 2018), on which nothing here was trained. DIR gets a
sheet an image and quality, its busiest part: original, own decoder, second decoder.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leechcodec import codec
from leechcodec.checkpoint import load_model
from leechcodec.lab.datasets import photographs
from leechcodec.lab.lpips_net import Lpips
from leechcodec.lab.metrics import scores
from tools.demo import side_by_side

try:
    import piq
except ImportError:
    piq = None

CROP = 160


def unseen(original: Image.Image, decoded: Image.Image) -> list[float]:
    """GMSD (0 is best) and HaarPSI (1 is best)."""
    a, b = (torch.from_numpy(np.array(i)).permute(2, 0, 1)[None].float() / 255 for i in (original, decoded))
    return [piq.gmsd(a, b).item(), piq.haarpsi(a, b).item()] if piq else []


def busiest(image: Image.Image) -> tuple[int, int, int, int]:
    """The crop of the strongest gradients, where decoders differ."""
    grey = np.asarray(image.convert("L"), dtype=float)
    strength = np.hypot(*np.gradient(grey))
    boxes = [
        (x, y, x + CROP, y + CROP)
        for y in range(0, image.height - CROP + 1, CROP // 2)
        for x in range(0, image.width - CROP + 1, CROP // 2)
    ]
    return max(boxes, key=lambda box: strength[box[1] : box[3], box[0] : box[2]].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("decoder")
    parser.add_argument("--model", default="leech-vbr")
    parser.add_argument("--lpips-weights", type=Path, required=True)
    parser.add_argument("--quality", type=float, nargs="+", default=[20.0, 35.0, 55.0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    lpips = Lpips(args.lpips_weights)
    found, _ = photographs(args.images)
    originals = [(photograph.path.stem, Image.open(photograph.path).convert("RGB")) for photograph in found]
    names = {args.model: "own", args.decoder: load_model(args.decoder).name}
    print("| bpp | decoder | PSNR | MS-SSIM | LPIPS |" + (" GMSD | HaarPSI |" if piq else ""))
    print("|---|---|---|---|---|" + ("---|---|" if piq else ""))
    for quality in args.quality:
        files = [codec.compress(image, quality=quality, model=args.model) for _, image in originals]
        rate = np.mean([8 * len(data) / i.width / i.height for data, (_, i) in zip(files, originals, strict=True)])
        decoded = {}
        for model in names:
            pictures = [codec.decompress(data, model=model).convert("RGB") for data in files]
            decoded[model] = pictures
            rows = []
            for (_, original), picture in zip(originals, pictures, strict=True):
                row = scores(original, picture, lpips)
                rows.append([row.psnr, row.ms_ssim, row.lpips, *unseen(original, picture)])
            psnr, *rest = np.mean(rows, axis=0)
            cells = [
                f"{rate:.4f} (q = {quality:g})",
                names[model],
                f"{psnr:.2f} dB",
                *(f"{value:.4f}" for value in rest),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
        for (stem, original), *pair in zip(originals, *decoded.values(), strict=True):
            sheet = zip(("original", *names.values()), (original, *pair), strict=True)
            side_by_side(list(sheet), busiest(original)).save(args.output / f"{stem}-q{quality:g}.png")


if __name__ == "__main__":
    main()
