"""MS-SSIM as a term of the loss: what squared error does not see.

Squared error hardly asks for faint texture: leaving it out costs next to nothing in PSNR and much in structural
similarity. A small share of the distortion given to MS-SSIM keeps it, and because the squared error is near its
minimum, a small share costs little of it (docs/experiments.md). Wang, Simoncelli and Bovik, "Multiscale structural
similarity for image quality assessment", 2003; the laboratory measures with pytorch-msssim, which this agrees with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.networks.gaussian import WINDOW, smooth

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
K1, K2 = 0.01, 0.03
PER_SQUARED_ERROR = 1300.0
"""What 1 - MS-SSIM weighs against 255² · MSE: the ratio of CompressAI's lambdas for models of equal rates."""


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of each image, mean over the channels, differentiable: float (B, C, H, W) in 0..1, twice -> (B,).

    Five scales; fewer, with their weights scaled up to a sum of 1, where a side is below 161 pixels. Raises ValueError
    for a side shorter than the window of 11.
    """
    scales = min(len(SCALE_WEIGHTS), _scales(min(x.shape[2:])))
    if scales < 1:
        raise ValueError(f"MS-SSIM needs sides of at least {WINDOW} pixels, got {tuple(x.shape[2:])}")
    whole = sum(SCALE_WEIGHTS[:scales])
    result = x.new_ones(x.shape[:2])
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float(), y.float()
        for scale in range(scales):
            contrast, similarity = _ssim(x, y)
            last = similarity if scale == scales - 1 else contrast
            result = result * last.clamp(min=1e-4) ** (SCALE_WEIGHTS[scale] / whole)
            if scale < scales - 1:
                odd = [side % 2 for side in x.shape[2:]]
                x, y = (F.avg_pool2d(image, 2, padding=odd) for image in (x, y))
    return result.mean(1)


def _scales(side: int) -> int:
    """How many halvings of a side hold a window."""
    count = 0
    while side >= WINDOW:
        count, side = count + 1, (side + 1) // 2
    return count


def _ssim(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Means over positions of SSIM's contrast-structure part and of the whole: (B, C) each."""
    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    contrast = (2 * covariance + K2**2) / (var_x + var_y + K2**2)
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    return contrast.mean((2, 3)), (contrast * luminance).mean((2, 3))
