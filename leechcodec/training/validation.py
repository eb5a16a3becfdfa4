"""Rate and distortion on the held-out split: what a checkpoint is chosen by.

Scores are means over qualities of log2 of the Lagrangian (0.01 is about 0.7 %): of the central 256 x 256 of many
pictures, comparable with every run before, and of a few whole pictures, which is what people encode. Busy pictures have
most of a mean Lagrangian, so an even score counts every picture's own logarithm alike.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from leechcodec.config import STRIDES
from leechcodec.networks.model import CodecModel
from leechcodec.networks.ms_ssim import ms_ssim
from leechcodec.training.processes import Processes
from leechcodec.training.settings import TrainingConfig

QUALITIES = (10.0, 35.0, 60.0, 85.0)
CROP, BATCH = 256, 4
MAX_IMAGES = 24
WHOLE_IMAGES = 6
WHOLE_PIXELS = 768 * 512
"""Of a whole picture, at most: larger ones are cut."""


def large_enough(images: list[Tensor]) -> list[Tensor]:
    """Those of some images (3, H, W) that hold a crop."""
    return [image for image in images if min(image.shape[1:]) >= CROP]


def validate(
    model: CodecModel, images: list[Tensor], settings: TrainingConfig, processes: Processes | None = None
) -> dict:
    """Mean bpp (the prior's cross-entropy), PSNR, MS-SSIM and Lagrangian lmbda·255²·MSE + bpp at four qualities.

    images: uint8 (3, H, W), one at least large enough. "score" and "points" are of the central 256 x 256 of the first
    24 that are, and "even_score" the mean over these of each one's own; "whole_score", "whole_even_score" and
    "whole_points" of whole pictures, the six largest of these.
    processes: all of which call this, with the same weights, and measure a share each; None: this one alone.
    """
    processes = processes or Processes()
    large = large_enough(images)[:MAX_IMAGES]
    starts = range(0, len(large), BATCH)
    centres = [torch.stack([centre(image) for image in large[start : start + BATCH]]) for start in starts]
    largest = sorted(large, key=lambda image: -image.shape[1] * image.shape[2])[:WHOLE_IMAGES]
    crops = _measure(model, centres, settings, processes)
    wholes = _measure(model, [whole(image)[None] for image in largest], settings, processes)
    return crops | {f"whole_{name}": value for name, value in wholes.items()}


@torch.no_grad()
def _measure(model: CodecModel, batches: Sequence[Tensor], settings: TrainingConfig, processes: Processes) -> dict:
    """The two scores and a row a quality. batches: uint8 (B, 3, H, W)."""
    rows, score, even, count = [], 0.0, 0.0, sum(map(len, batches))
    device = next(model.parameters()).device
    for quality in QUALITIES:
        totals = torch.zeros(5)
        lmbda = model.config.lmbda(quality)
        for batch in batches[processes.rank :: processes.world]:
            x = batch.to(device).float() / 127.5 - 1
            with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                out = model(x, torch.full((len(x),), quality, device=device))
            mse = (out.x_hat.float().clamp(-1, 1) - x).square().mean((1, 2, 3)) / 4
            bpp = out.rates.bits.sum(1) / (x.shape[2] * x.shape[3])
            lagrangian = lmbda * 255**2 * mse + bpp
            alike = ms_ssim(x / 2 + 0.5, out.x_hat.float().clamp(-1, 1) / 2 + 0.5)
            sums = bpp.sum(), (-10 * torch.log10(mse)).sum(), lagrangian.sum(), alike.sum(), lagrangian.log2().sum()
            totals += torch.stack(sums).cpu()
        bpp, psnr, lagrangian, alike, own = (processes.total(totals.to(device)).cpu() / count).tolist()
        row = {"q": quality, "bpp": round(bpp, 4), "psnr": round(psnr, 3), "lagrangian": round(lagrangian, 4)}
        rows.append(row | {"ms_ssim_db": round(-10 * math.log10(1 - alike), 3)})
        score += math.log2(lagrangian) / len(QUALITIES)
        even += own / len(QUALITIES)
    return {"score": round(score, 4), "even_score": round(even, 4), "points": rows}


def centre(image: Tensor) -> Tensor:
    """The central 256 x 256 of (C, H, W)."""
    top, left = (image.shape[1] - CROP) // 2, (image.shape[2] - CROP) // 2
    return image[:, top : top + CROP, left : left + CROP]


def whole(image: Tensor) -> Tensor:
    """The upper left of (C, H, W), sides multiples of 64, no more than :data:`WHOLE_PIXELS`."""
    unit = STRIDES[0]
    height, width = (side // unit * unit for side in image.shape[1:])
    while height * width > WHOLE_PIXELS:
        height, width = (height - unit, width) if height >= width else (height, width - unit)
    return image[:, :height, :width]
