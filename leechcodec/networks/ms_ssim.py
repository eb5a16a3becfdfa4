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
from leechcodec.quantizers.base import full_precision

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
K1, K2 = 0.01, 0.03
PER_SQUARED_ERROR = 1300.0
"""What 1 - MS-SSIM weighs against 255² · MSE: the ratio of CompressAI's lambdas for models of equal rates."""


class MsSsim:
    """MS-SSIM of images against originals that stay: what depends on these alone is computed once.

    x: float (B, C, H, W) in 0..1. Five scales; fewer, with their weights scaled up to a sum of 1, where a side is below
    161 pixels. Raises ValueError for a side shorter than the window of 11.
    """

    def __init__(self, x: Tensor) -> None:
        count = min(len(SCALE_WEIGHTS), _scales(min(x.shape[2:])))
        if count < 1:
            raise ValueError(f"MS-SSIM needs sides of at least {WINDOW} pixels, got {tuple(x.shape[2:])}")
        self._weights = [weight / sum(SCALE_WEIGHTS[:count]) for weight in SCALE_WEIGHTS[:count]]
        self._scales: list[_Moments] = []
        with full_precision(x):
            x = x.float()
            for scale in range(count):
                x = _halved(x) if scale else x
                self._scales.append(_Moments(x))

    def __call__(self, y: Tensor) -> Tensor:
        """Mean over the channels, differentiable: y like x -> (B,)."""
        result = y.new_ones(y.shape[:2], dtype=torch.float32)
        with full_precision(y):
            y = y.float()
            for scale, (of_x, weight) in enumerate(zip(self._scales, self._weights, strict=True)):
                y = _halved(y) if scale else y
                contrast, similarity = of_x.ssim(_Moments(y))
                last = similarity if scale == len(self._scales) - 1 else contrast
                result = result * last.clamp(min=1e-4) ** weight
        return result.mean(1)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """:class:`MsSsim` of each pair of images, differentiable: float (B, C, H, W) in 0..1, twice -> (B,)."""
    return MsSsim(x)(y)


def _scales(side: int) -> int:
    """How many halvings of a side hold a window."""
    count = 0
    while side >= WINDOW:
        count, side = count + 1, (side + 1) // 2
    return count


def _halved(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2, padding=[side % 2 for side in image.shape[2:]])


class _Moments:
    """An image, its means and variances in the window."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.mean = image, smooth(image)
        self.variance = smooth(image * image) - self.mean**2

    def ssim(self, y: "_Moments") -> tuple[Tensor, Tensor]:
        """Means over positions of SSIM's contrast-structure part and of the whole: (B, C) each."""
        covariance = smooth(self.image * y.image) - self.mean * y.mean
        contrast = (2 * covariance + K2**2) / (self.variance + y.variance + K2**2)
        luminance = (2 * self.mean * y.mean + K1**2) / (self.mean**2 + y.mean**2 + K1**2)
        return contrast.mean((2, 3)), (contrast * luminance).mean((2, 3))
