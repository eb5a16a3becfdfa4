"""Distortion of a decoded image: PSNR, MS-SSIM, SSIM and LPIPS, all on 8-bit RGB.

PSNR is over all three channels together. SSIM and MS-SSIM are pytorch-msssim's (11-tap Gaussian window, data range
255, mean over the channels). LPIPS is v0.1 with AlexNet; its backbone is given as a file (lpips_net.py).
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from leechcodec.codec.distortion import PSNR_CAP, psnr
from leechcodec.formats.packages import require
from leechcodec.training.lpips_net import SMALLEST_SIDE as LPIPS_SMALLEST
from leechcodec.training.lpips_net import Lpips

__all__ = ["PSNR_CAP", "Scores", "ms_ssim", "psnr", "scores", "ssim"]
WINDOW = 11
"""Side of SSIM's window in pixels."""
MS_SSIM_SMALLEST = (WINDOW - 1) * 2**4 + 1
"""Pixels: the shortest side whose fifth scale still holds a window."""


@dataclass(frozen=True)
class Scores:
    """Distortion of one image. None where the image is too small for the metric, or LPIPS has no weights.

    psnr: dB, at most PSNR_CAP. ms_ssim, ssim: at most 1, higher is better. lpips: from 0, lower is better.
    """

    psnr: float
    ms_ssim: float | None
    ssim: float | None
    lpips: float | None


def scores(original: Image.Image, decoded: Image.Image, lpips: Lpips | None = None) -> Scores:
    """All metrics of a decoded RGB image against its original of the same size."""
    if original.size != decoded.size:
        raise ValueError(f"images of {original.size} and {decoded.size} pixels")
    a, b = _pixels(original), _pixels(decoded)
    return Scores(psnr(a, b), ms_ssim(a, b), ssim(a, b), lpips(a, b) if lpips and _side(a) >= LPIPS_SMALLEST else None)


@torch.inference_mode()
def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """MS-SSIM of two uint8 (height, width, 3) arrays; None where a side is shorter than 161 pixels."""
    if _side(a) < MS_SSIM_SMALLEST:
        return None
    return require("pytorch_msssim").ms_ssim(_tensor(a), _tensor(b), data_range=255).item()


@torch.inference_mode()
def ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """SSIM of two uint8 (height, width, 3) arrays; None where a side is shorter than the window of 11 pixels."""
    if _side(a) < WINDOW:
        return None
    return require("pytorch_msssim").ssim(_tensor(a), _tensor(b), data_range=255).item()


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def _side(pixels: np.ndarray) -> int:
    return min(pixels.shape[:2])


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
