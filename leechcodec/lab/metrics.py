"""Distortion of a decoded image: PSNR, MS-SSIM, SSIM, SSIMULACRA2 and LPIPS, all on 8-bit RGB.

PSNR is over all three channels together. SSIM and MS-SSIM are pytorch-msssim's (11-tap Gaussian window, data range
255, mean over the channels). SSIMULACRA2 (Sneyers 2022, version 2.1) is the package ssimulacra2's. LPIPS is v0.1 with
AlexNet; its backbone is given as a file (lpips_net.py).
"""

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from leechcodec.codec.distortion import PSNR_CAP, psnr
from leechcodec.formats.packages import require
from leechcodec.training.lpips_net import SMALLEST_SIDE as LPIPS_SMALLEST
from leechcodec.training.lpips_net import Lpips

__all__ = ["PSNR_CAP", "Scores", "ms_ssim", "psnr", "scores", "ssim", "ssimulacra2"]
WINDOW = 11
"""Side of SSIM's window in pixels."""
MS_SSIM_SMALLEST = (WINDOW - 1) * 2**4 + 1
"""Pixels: the shortest side whose fifth scale still holds a window."""
SSIMULACRA2_SMALLEST = 7 * 2**5 + 1
"""Pixels: the shortest side with all six scales of at least 8. With fewer the package gives weights to wrong scales."""


@dataclass(frozen=True)
class Scores:
    """Distortion of one image. None where the image is too small for the metric, or LPIPS has no weights.

    psnr: dB, at most PSNR_CAP. ms_ssim, ssim: at most 1, higher is better. ssimulacra2: at most 100, higher is better;
    30 is low, 50 medium, 70 high quality, and poor pictures are below 0. lpips: from 0, lower is better.
    """

    psnr: float
    ms_ssim: float | None
    ssim: float | None
    ssimulacra2: float | None
    lpips: float | None


def scores(original: Image.Image, decoded: Image.Image, lpips: Lpips | None = None) -> Scores:
    """All metrics of a decoded RGB image against its original of the same size."""
    if original.size != decoded.size:
        raise ValueError(f"images of {original.size} and {decoded.size} pixels")
    a, b = _pixels(original), _pixels(decoded)
    distance = lpips(a, b) if lpips and _side(a) >= LPIPS_SMALLEST else None
    return Scores(psnr(a, b), ms_ssim(a, b), ssim(a, b), ssimulacra2(a, b), distance)


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


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float | None:
    """SSIMULACRA2 of b against a, two uint8 (height, width, 3) arrays; None where a side is shorter than 225 pixels."""
    if _side(a) < SSIMULACRA2_SMALLEST:
        return None
    return float(require("ssimulacra2").compute_ssimulacra2(_as_file(a), _as_file(b)))


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def _as_file(pixels: np.ndarray) -> io.BytesIO:
    """An uncompressed file in memory: the package reads files only."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PPM")
    file.seek(0)
    return file


def _side(pixels: np.ndarray) -> int:
    return min(pixels.shape[:2])


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
