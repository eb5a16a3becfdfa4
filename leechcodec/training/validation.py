"""Rate and distortion on the held-out split: what a checkpoint is chosen by."""

import math

import torch
from torch import Tensor

from leechcodec.networks.model import CodecModel
from leechcodec.networks.ms_ssim import ms_ssim
from leechcodec.training.settings import TrainingConfig

QUALITIES = (10.0, 35.0, 60.0, 85.0)
CROP = 256
MAX_IMAGES = 24


def large_enough(images: list[Tensor]) -> list[Tensor]:
    """Those of some images (3, H, W) that hold a crop."""
    return [image for image in images if min(image.shape[1:]) >= CROP]


@torch.no_grad()
def validate(model: CodecModel, images: list[Tensor], settings: TrainingConfig) -> dict:
    """Mean bpp (the prior's cross-entropy), PSNR, MS-SSIM and Lagrangian lmbda·255²·MSE + bpp at four qualities.

    images: uint8 (3, H, W), one at least large enough; the central 256 x 256 of the first 24 that are. "score" is the
    mean over qualities of log2 of the Lagrangian: a difference of 0.01 is about 0.7 %.
    """
    large = large_enough(images)[:MAX_IMAGES]
    rows, score = [], 0.0
    device = next(model.parameters()).device
    for quality in QUALITIES:
        totals = torch.zeros(4)
        lmbda = model.config.lmbda(quality)
        for start in range(0, len(large), 8):
            batch = torch.stack([centre(image) for image in large[start : start + 8]]).to(device)
            x = batch.float() / 127.5 - 1
            with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                out = model(x, torch.full((len(x),), quality, device=device))
            mse = (out.x_hat.float().clamp(-1, 1) - x).square().mean((1, 2, 3)) / 4
            bpp = out.stage_bits.sum(1) / CROP**2
            lagrangian = lmbda * 255**2 * mse + bpp
            alike = ms_ssim(x / 2 + 0.5, out.x_hat.float().clamp(-1, 1) / 2 + 0.5)
            totals += torch.stack([bpp.sum(), (-10 * torch.log10(mse)).sum(), lagrangian.sum(), alike.sum()]).cpu()
        bpp, psnr, lagrangian, alike = (totals / len(large)).tolist()
        row = {"q": quality, "bpp": round(bpp, 4), "psnr": round(psnr, 3), "lagrangian": round(lagrangian, 4)}
        rows.append(row | {"ms_ssim_db": round(-10 * math.log10(1 - alike), 3)})
        score += torch.log2(torch.tensor(lagrangian)).item() / len(QUALITIES)
    return {"score": round(score, 4), "points": rows}


def centre(image: Tensor) -> Tensor:
    """The central 256 x 256 of (C, H, W)."""
    top, left = (image.shape[1] - CROP) // 2, (image.shape[2] - CROP) // 2
    return image[:, top : top + CROP, left : left + CROP]
