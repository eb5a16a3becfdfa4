"""The distortion D that refinement lowers, against originals that stay.

D = 0.73 · 255² · MSE + 0.2 · 1300 · (1 - MS-SSIM) + 0.07 · 8 · SSIMULACRA2's distance
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from leechcodec.codec.efforts import Box
from leechcodec.networks.gaussian import WINDOW
from leechcodec.networks.ms_ssim import PER_SQUARED_ERROR, MsSsim
from leechcodec.networks.ssimulacra2 import PER_SSIMULACRA2, Ssimulacra2Distance

SIMILARITY, SSIMULACRA2 = 0.2, 0.07
"""Shares of MS-SSIM and SSIMULACRA2: squared error alone would take its gains from faint texture."""


class Distortion:
    """D of pictures, each against its own original, in units of 255² · MSE.

    x: the originals, (n, 3, H, W), -1..1, sides of at least 11. Pictures x_hat are like x.
    """

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self._ms_ssim, self._ssimulacra2 = MsSsim(x / 2 + 0.5), Ssimulacra2Distance(x / 2 + 0.5)

    def __call__(self, x_hat: Tensor) -> Tensor:
        """(n,)"""
        return torch.stack(list(self._terms(x_hat))).sum(0)

    @torch.enable_grad()
    def slope(self, x_hat: Tensor) -> Tensor:
        """The gradient of the sum of D over all pictures by x_hat, like x.

        Term by term: of what one keeps for its way back nothing is left when the next is computed.
        """
        x_hat, slope = x_hat.detach().requires_grad_(), torch.zeros_like(x_hat)
        for term in self._terms(x_hat):
            slope += torch.autograd.grad(term.sum(), x_hat)[0]
        return slope

    def _terms(self, x_hat: Tensor) -> Iterator[Tensor]:
        squared = 255**2 / 4 * (x_hat - self._x).square().mean((1, 2, 3))
        yield (1 - SIMILARITY - SSIMULACRA2) * squared
        yield SIMILARITY * PER_SQUARED_ERROR * (1 - self._ms_ssim(x_hat / 2 + 0.5))
        yield SSIMULACRA2 * PER_SSIMULACRA2 * self._ssimulacra2(x_hat / 2 + 0.5)


class Proper:
    """What of a window is the image proper, where errors count: the rest is what the image is continued by.

    x: the window's pixels, (1, 3, H, W). box: where they lie. size: (height, width) of the image proper.
    """

    def __init__(self, x: Tensor, box: Box, size: tuple[int, int]) -> None:
        self._x = x
        bottom, right = (min(end, image) for end, image in zip(box[1::2], size, strict=True))
        self._shown = slice(0, bottom - box.top), slice(0, right - box.left)
        self._judged = [slice(0, max(WINDOW, part.stop)) for part in self._shown]  # MS-SSIM needs its window

    def seen(self, x_hat: Tensor) -> Tensor:
        """x_hat, with x where no errors count: (1, 3, H, W)."""
        seen = self._x.clone()
        seen[:, :, *self._shown] = x_hat[:, :, *self._shown]
        return seen

    def picture(self, x_hat: Tensor) -> Tensor:
        """x_hat in the image proper: (1, 3, h, w)."""
        return self.seen(x_hat)[:, :, *self._judged]

    def slope(self, distortion: Distortion, x_hat: Tensor) -> Tensor:
        """The gradient by x_hat of D times the pixels of the image proper: (1, 3, H, W)."""
        found = distortion.slope(self.picture(x_hat))
        slope = torch.zeros_like(x_hat)
        slope[:, :, *self._shown] = found[0, 0].numel() * found[:, :, *self._shown]
        return slope
