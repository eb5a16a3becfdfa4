"""SSIMULACRA2 as a term of the loss: what people see more of than squared error and MS-SSIM do.

    sRGB ─▶ linear RGB ─┬─▶ XYB ─┬─▶ structure lost ─┐
                        │        ├─▶ edges added    ─┼─▶ mean, 4-norm ─▶ weighted sum: distance ─▶ score
                        │        └─▶ edges lost     ─┘         ▲
                        └─▶ means of 2 x 2, five times ────────┘

Sneyers, "SSIMULACRA 2", https://github.com/cloudinary/ssimulacra2, version 2.1: formulas and constants are from there.
The laboratory measures with the package ssimulacra2, which this agrees with (``python -m
tools.checks.ssimulacra2_loss``).

A score of 100 is the original. The score is no loss: near the original it is a power of 0.63 of the distance, so its
slope has no bound there. The distance is linear in the errors, and the score falls with it alone.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.networks import ssimulacra2_kernels as kernels
from leechcodec.networks.gaussian import WINDOW, smooth
from leechcodec.quantizers.base import full_precision

PER_SSIMULACRA2 = 8.0
"""What the distance weighs against 255² · MSE: the ratio of their means over 13 held-out photographs, as the released
model decodes them, was 7.8, 8.5, 9.2 and 11.6 at q = 10, 35, 60 and 85 (docs/experiments.md)."""
SCALES = 6
SMALLEST_SIDE = 8
"""Pixels: a scale with a shorter side does not count."""
C2 = 0.0009
"""SSIM's constant against division by the variance of flat parts."""
BIAS = 0.0037930732552754493
"""Added to each of the three cones' responses before their cube roots ..."""
CONES = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
"""... which are these mixtures of linear red, green and blue."""
OPPONENTS = ((7.0, -7.0, 0.0), (0.5, 0.5, 0.0), (-0.5, -0.5, 1.0))
"""X, Y and B - Y as mixtures of the roots (less the bias's root): X is enlarged 14 times ..."""
OFFSETS = (0.42, 0.01, 0.55)
"""... and all three are moved into 0..1."""
WEIGHTS = (
    # X: a row for each scale, the finest first; means, then 4-norms, of structure lost, edges added, edges lost.
    0.0, 0.000737660671, 0.0, 0.0, 0.000779348168, 0.0,
    0.0, 0.000437115573, 0.0, 1.10417264, 0.000662848341, 0.000152316328,
    0.0, 0.00164064375, 0.0, 1.84224555, 11.4411726, 0.0,
    0.000798910944, 0.000176816438, 0.0, 1.8787595, 10.9490699, 0.0,
    0.000728934699, 0.967793708, 0.0, 0.000140034243, 0.998176698, 0.000319497559,
    0.000455099211, 0.0, 0.0, 0.00136487662, 0.0, 0.0,
    # Y
    0.0, 0.0, 0.0, 7.46689033, 0.0, 17.445834,
    0.000623560163, 0.0, 0.0, 6.68367815, 0.00037724408, 1.02788994,
    225.205153, 0.0, 0.0, 19.2132382, 0.00114015246, 0.00123775564,
    176.393176, 0.0, 0.0, 24.43301, 0.285208026, 0.000448543692,
    0.0, 0.0, 0.0, 34.7790634, 44.8356253, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    # B - Y
    0.0, 0.000868055657, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.000531319187, 0.0, 0.000165338142, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.00041791718, 0.00172908282, 0.0,
    0.00208270058, 0.0, 0.0, 8.82698276, 23.1924334, 0.0,
    95.1080499, 0.986397803, 0.983438279, 0.0012286405, 171.266726, 0.980785887,
    0.0, 0.0, 0.0, 0.000513006459, 0.0, 0.000108540579,
)  # fmt: skip
"""To nine digits; (channel, scale, norm, map)."""
CUBIC = (2.32676564, -0.0208845212, 6.24849663e-05)
SCALE, EXPONENT = 0.956238262, 0.627633647
"""With d = SCALE · distance, the score is 100 - 10 · (CUBIC[0] · d + CUBIC[1] · d² + CUBIC[2] · d³) ^ EXPONENT."""


def ssimulacra2(x: Tensor, y: Tensor) -> Tensor:
    """The score of each image y against its original x: float (B, 3, H, W), sRGB in 0..1, twice -> (B,), at most 100.

    30 is low, 50 medium and 70 high quality; poor images are below 0. Raises ValueError as ssimulacra2_distance does.
    """
    scaled = SCALE * ssimulacra2_distance(x, y)
    first, second, third = CUBIC
    return 100 - 10 * (scaled * (first + scaled * (second + scaled * third))) ** EXPONENT


class Ssimulacra2Distance:
    """The weighted sum of errors of images against originals that stay: what depends on these alone is computed once.

    x: float (B, 3, H, W), sRGB in 0..1; what lies outside is clipped, as in a file. Six scales need sides of at least
    225 pixels. Where a side is shorter, the scales that are left keep their own weights, scaled up to the same sum:
    nothing changes from 113 pixels on, since the sixth scale weighs three millionths; with four scales (57 to 112) they
    are 1.65 times as large. Raises ValueError for a side of fewer than 8 pixels.
    """

    def __init__(self, x: Tensor) -> None:
        if min(x.shape[2:]) < SMALLEST_SIDE:
            raise ValueError(f"SSIMULACRA2 needs sides of at least {SMALLEST_SIDE} pixels, got {tuple(x.shape[2:])}")
        self._scales: list[_Scale | _PlaneScale] = []
        scale = _PlaneScale if x.device.type == "cpu" else _Scale
        with full_precision(x):
            x = _linear(x.float())
            while len(self._scales) < SCALES and min(x.shape[2:]) >= SMALLEST_SIDE:
                self._scales.append(scale(_xyb(x)))
                x = _halved(x)

    def __call__(self, y: Tensor) -> Tensor:
        """Differentiable, gradients finite: y like x -> (B,), 0 for x itself and 2 to 15 for what people encode."""
        errors = []
        with full_precision(y):
            y = _linear(y.float())
            weights = _constants(y.device)[0]
            for number, of_x in enumerate(self._scales):
                errors.append(of_x.errors(_xyb(y), weights[:, number]))
                y = _halved(y)
            return torch.stack(errors).sum(0) * (weights.sum() / weights[:, : len(errors)].sum())


def ssimulacra2_distance(x: Tensor, y: Tensor) -> Tensor:
    """:class:`Ssimulacra2Distance` of each pair of images, differentiable: float (B, 3, H, W), twice -> (B,)."""
    return Ssimulacra2Distance(x)(y)


@cache
@torch.inference_mode(False)  # or a first call under inference_mode would leave tensors that gradients refuse
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """WEIGHTS (3, SCALES, 2, 3), CONES (3, 3), OPPONENTS (3, 3), what is added to these (3, 1): float32."""
    weights = torch.tensor(WEIGHTS, dtype=torch.float64, device=device).reshape(3, SCALES, 2, 3)
    cones, opponents = (torch.tensor(matrix, dtype=torch.float64, device=device) for matrix in (CONES, OPPONENTS))
    added = torch.tensor(OFFSETS, dtype=torch.float64, device=device)[:, None]
    added = added - BIAS ** (1 / 3) * opponents.sum(1, keepdim=True)
    return weights.float(), cones.float(), opponents.float(), added.float()


def _linear(image: Tensor) -> Tensor:
    """Linear RGB of sRGB, both 0..1 (IEC 61966-2-1)."""
    image = image.clamp(0, 1)
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def _xyb(linear: Tensor) -> Tensor:
    """X, Y and B - Y of linear RGB, moved into 0..1."""
    _, cones, opponents, added = _constants(linear.device)
    roots = (cones @ linear.flatten(2) + BIAS) ** (1 / 3)
    return (opponents @ roots + added).view(linear.shape)


def _halved(linear: Tensor) -> Tensor:
    return F.avg_pool2d(linear, 2, ceil_mode=True)


class _PlaneScale:
    """:class:`_Scale` of an original on a processor, in kernels."""

    def __init__(self, image: Tensor) -> None:
        self._image = image.detach()
        self._mean, self._variance = kernels.moments(self._image)

    def errors(self, y: Tensor, weights: Tensor) -> Tensor:
        return _PlaneErrors.apply(y, self._image, self._mean, self._variance, weights)


class _PlaneErrors(torch.autograd.Function):
    """The gradient is computed on the way forward, so that nothing else is kept for the way back."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, mean: Tensor, variance: Tensor, weights: Tensor) -> Tensor:
        errors, gradient = kernels.errors(y.detach(), x, mean, variance, weights, C2, ctx.needs_input_grad[0])
        ctx.save_for_backward(gradient)
        return errors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad[:, None, None, None], None, None, None, None


class _Scale:
    """An image of X, Y and B - Y, its means and variances in the window, and 1 plus how far it is from its means."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.mean = image, _smooth(image)
        self.variance = _smooth(image * image) - self.mean**2
        self.edges = 1 + (image - self.mean).abs()

    def errors(self, y: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of an image's errors: like this one -> (B,). weights: (3, 2, 3), of one scale."""
        return (self.norms(_Scale(y)) * weights).sum((1, 2, 3))

    def norms(self, y: "_Scale") -> Tensor:
        """Mean and 4-norm of the three error maps: (B, 3, 2, 3)."""
        luminance = (self.mean - y.mean) ** 2
        # The variance of the difference, as a share of both variances, is 1 less SSIM's contrast-structure part.
        contrast = (_smooth((self.image - y.image) ** 2) - luminance) / (self.variance + y.variance + C2)
        structure = (contrast + luminance - contrast * luminance).clamp(min=0)
        edges = y.edges / self.edges - 1
        maps = torch.stack([structure, edges.clamp(min=0), (-edges).clamp(min=0)], 2)
        return torch.stack([maps.mean((3, 4)), _fourth_norm(maps)], 2)


def _fourth_norm(maps: Tensor) -> Tensor:
    """(mean of the fourth powers) ^ 1/4 over the last two dimensions; its gradient at 0 is 0."""
    return (maps.square().square().mean((-2, -1)) + kernels.FLOOR) ** 0.25 - kernels.FLOOR**0.25


def _smooth(image: Tensor) -> Tensor:
    """The Gaussian window at every position. Beyond the border there is the image's mirror image, or zero.

    The package mirrors up and down and takes zeros left and right; libjxl takes zeros everywhere.
    """
    half = WINDOW // 2
    image = torch.cat([image[:, :, :half].flip(2), image, image[:, :, -half:].flip(2)], 2)
    return smooth(F.pad(image, (half, half)))
