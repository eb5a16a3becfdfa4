"""LGQ: a codebook learned through soft assignments that harden.

Altun et al., "LGQ: Learning Discretization Geometry for Scalable and Stable Image Tokenization", arXiv 2602.16086, and
the authors' code (KurbanIntelligenceLab/LGQ), of which this takes: responsibilities p_k ∝ exp(-|z - c_k|² / τ) of an
isotropic Gaussian mixture; a value that is Σ p_k c_k backward and the nearest codeword forward; τ from 1 to 0.1,
linearly; peakedness 1 - Σ p_k² and usage K·Σ (mean p_k)², each of weight 0.005 there (``entropy_weight`` here).
Distance and code are drawn together by the mixture's free energy -τ log mean_k exp(-|z - c_k|² / τ), whose gradient is
that of Σ p_k |z - c_k|²; the authors' code has |z - c|² of the value instead, equal to it as τ goes to 0.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leechcodec.quantizers.learned import GRID, LearnedQuantizer, sampled
from leechcodec.quantizers.table import full_precision

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

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.training and torch.is_grad_enabled()):
            return super().quantize(z)
        u = self.project(z)
        codes = self.nearest(u.detach().reshape(-1, self.dim)).reshape(u.shape)
        soft = self._light(self._mean, u.reshape(-1, self.dim)).reshape(u.shape) * GRID
        return codes, soft + (codes - soft).detach()

    def _light(self, function: Callable[[Tensor, Tensor], Tensor], u: Tensor) -> Tensor:
        """function(z, centres), whose responsibilities, as large as tokens times codewords, are computed again on the
        way back instead of kept."""
        return checkpoint(function, u / GRID, self.centres, use_reentrant=False)

    def _mean(self, z: Tensor, centres: Tensor) -> Tensor:
        with full_precision(z):
            return torch.softmax(self._logits(z, centres), -1) @ centres

    def _logits(self, z: Tensor, centres: Tensor) -> Tensor:
        """-|z - c_k|² / τ: (N, dim), (K, dim) -> (N, K)."""
        with full_precision(z):
            distances = z.square().sum(1, keepdim=True) + centres.square().sum(1) - 2 * z @ centres.T
        return distances / -self.temperature

    def entropy_loss(self, z: Tensor) -> Tensor:
        """Peakedness and usage, over at most 1,024 of the tokens. (N, dim) -> scalar."""
        return self._light(self._penalty, self.project(sampled(z)))

    def _penalty(self, z: Tensor, centres: Tensor) -> Tensor:
        p = torch.softmax(self._logits(z, centres), -1)
        peak = 1 - p.square().sum(1).mean()
        return peak + self.size * p.mean(0).square().sum()

    def codebook_loss(self, z: Tensor) -> Tensor:
        """The free energy a coordinate, over at most 1,024 of the tokens."""
        return self._light(self._free_energy, self.project(sampled(z)))

    def _free_energy(self, z: Tensor, centres: Tensor) -> Tensor:
        mean = torch.logsumexp(self._logits(z, centres), -1) - math.log(self.size)
        return -self.temperature * mean.mean() / self.dim

    def after_step(self, fraction: float) -> None:
        self.temperature.fill_(FIRST + (LAST - FIRST) * min(max(fraction, 0.0), 1.0))
        self.refresh()
