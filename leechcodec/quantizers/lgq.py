"""LGQ: a codebook learned through soft assignments that harden.

Altun et al., "LGQ: Learning Discretization Geometry for Scalable and Stable Image Tokenization", arXiv 2602.16086, and
the authors' code (KurbanIntelligenceLab/LGQ), of which this takes: responsibilities p_k ∝ exp(-|z - c_k|² / τ) of an
isotropic Gaussian mixture; a value that is Σ p_k c_k backward and the nearest codeword forward; τ from 1 to 0.1,
linearly; peakedness 1 - Σ p_k² and usage K·Σ (mean p_k)², each of weight 0.005 there (``entropy_weight`` here).
Distance and code are drawn together by the mixture's free energy -τ log mean_k exp(-|z - c_k|² / τ), whose gradient is
that of Σ p_k |z - c_k|², p held fixed; the authors' code has |z - c|² of the value instead, equal to it as τ goes to 0.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from leechcodec.quantizers.learned import GRID, LearnedQuantizer, sampled
from leechcodec.quantizers.table import AT_ONCE, full_precision

FIRST, LAST = 1.0, 0.1
"""Temperature at the beginning and at the end of a run."""


class LGQ(LearnedQuantizer):
    """centres: (K, dim), trained by the gradient. temperature: a scalar."""

    def __init__(self, dim: int, bits: int) -> None:
        super().__init__("lgq", dim, bits)
        self.centres = nn.Parameter(torch.randn(self.size, dim))
        self.register_buffer("temperature", torch.tensor(FIRST))
        self.refresh()

    def codewords(self) -> Tensor:
        return self.centres

    @torch.no_grad()
    def set_codewords(self, codewords: Tensor) -> None:
        self.centres.copy_(codewords)

    def _quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.training and torch.is_grad_enabled()):
            return super()._quantize(z)
        u = self.project(z)
        codes = self.nearest(u.detach().reshape(-1, self.dim))
        value = _Hardened.apply(u.reshape(-1, self.dim) / GRID, self.centres, self.temperature, codes / GRID)
        return codes.reshape(u.shape), value.reshape(u.shape) * GRID

    def entropy_loss(self, z: Tensor) -> Tensor:
        """Peakedness and usage, over at most 1,024 of the tokens. (N, dim) -> scalar."""

        def sums(z: Tensor, centres: Tensor) -> Tensor:
            p = torch.softmax(logits(z, centres, self.temperature), -1)
            return torch.cat([p.sum(0), p.square().sum()[None]])

        z = self.project(sampled(z)) / GRID
        used, peaks = (self._summed(sums, z) / len(z)).split([self.size, 1])
        return 1 - peaks[0] + self.size * used.square().sum()

    def codebook_loss(self, z: Tensor) -> Tensor:
        """The free energy a coordinate, over at most 1,024 of the tokens."""

        def energy(z: Tensor, centres: Tensor) -> Tensor:
            mean = torch.logsumexp(logits(z, centres, self.temperature), -1) - math.log(self.size)
            return -self.temperature * mean.sum()

        z = self.project(sampled(z)) / GRID
        return self._summed(energy, z) / (len(z) * self.dim)

    def _summed(self, function: Callable[[Tensor, Tensor], Tensor], z: Tensor) -> Tensor:
        """function(z, centres) of a few rows after the other, added up. Its responsibilities, as large as tokens times
        codewords, are computed again on the way back instead of kept."""
        parts = z.split(max(1, AT_ONCE // self.size))
        return torch.stack([checkpoint(function, part, self.centres, use_reentrant=False) for part in parts]).sum(0)

    def after_step(self, fraction: float) -> None:
        self.temperature.fill_(FIRST + (LAST - FIRST) * min(max(fraction, 0.0), 1.0))
        self.refresh()


def logits(z: Tensor, centres: Tensor, temperature: Tensor) -> Tensor:
    """-|z - c_k|² / τ: (N, dim), (K, dim) -> (N, K)."""
    with full_precision(z):
        distances = z.square().sum(1, keepdim=True) + centres.square().sum(1) - 2 * z @ centres.T
    return distances / -temperature


class _Hardened(torch.autograd.Function):
    """The nearest codewords forward, the gradient of Σ p_k c_k backward, without ever computing that sum.

    Of a gradient g of the value, with s_k = g·c_k and t_k = p_k (s_k - Σ p s): Σ 2/τ t_k c_k for z (Σ t = 0, so that
    z itself drops out), and p_k g + 2/τ t_k (z - c_k) for c_k.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, centres: Tensor, temperature: Tensor, words: Tensor) -> Tensor:
        ctx.save_for_backward(z, centres, temperature)
        return words

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        z, centres, temperature = ctx.saved_tensors
        of_z, of_centres = torch.empty_like(z), torch.zeros_like(centres)
        rows = max(1, AT_ONCE // len(centres))
        with full_precision(z):
            for part, g, out in zip(z.split(rows), grad.float().split(rows), of_z.split(rows)):
                p = torch.softmax(logits(part, centres, temperature), -1)
                of_centres += p.T @ g
                s = g @ centres.T
                t = p.mul_(s - (p * s).sum(1, keepdim=True)).mul_(2 / temperature)
                out.copy_(t @ centres)
                of_centres += t.T @ part - t.sum(0)[:, None] * centres
        return of_z, of_centres, None, None
