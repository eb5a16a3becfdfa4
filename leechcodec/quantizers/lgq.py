"""LGQ: a codebook learned through soft assignments that harden.

Altun et al., "LGQ: Learning Discretization Geometry for Scalable and Stable Image Tokenization", arXiv 2602.16086, and
the authors' code (KurbanIntelligenceLab/LGQ), of which this takes: responsibilities p_k ∝ exp(-|z - c_k|² / τ) of an
isotropic Gaussian mixture; a value that is Σ p_k c_k backward and the nearest codeword forward; τ from 1 to 0.1,
linearly; peakedness 1 - Σ p_k² and usage K·Σ (mean p_k)², each of weight 0.005 there (``entropy_weight`` here).
Distance and code are drawn together by the mixture's free energy -τ log mean_k exp(-|z - c_k|² / τ), whose gradient is
that of Σ p_k |z - c_k|², p held fixed; the authors' code has |z - c|² of the value instead, equal to it as τ goes to 0.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from leechcodec.quantizers.base import full_precision, straight_through
from leechcodec.quantizers.learned import GRID, LearnedQuantizer, sampled
from leechcodec.quantizers.table import chunks

FIRST, LAST = 1.0, 0.1
"""Temperature at the beginning and at the end of a run."""


class LGQ(LearnedQuantizer):
    """centres: (K, dim), trained by the gradient. temperature: a scalar."""

    temperature: Tensor

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

    def quantize_projected(self, u: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.training and torch.is_grad_enabled()):
            return super().quantize_projected(u)
        codes = self.nearest(u.detach().reshape(-1, self.dim))
        value = _Hardened.apply(u.reshape(-1, self.dim) / GRID, self.centres, self.temperature, codes / GRID)
        return codes.reshape(u.shape), value.reshape(u.shape) * GRID

    def book(self) -> Tensor:
        """Straight through the rounding to integers. A token's rate has a gradient for the codeword that was taken; the
        normaliser must have its own, for all of them: alone the first one lets codewords run away outwards, each to
        where the prior's scores are higher, until the prior cannot follow."""
        if not self.training:
            return super().book()
        return straight_through(super().book(), self.centres * GRID)

    def entropy_loss(self, z: Tensor) -> Tensor:
        """Peakedness and usage, over at most 1,024 of the tokens. (N, dim) -> scalar."""

        def sums(z: Tensor, columns: Tensor) -> Tensor:
            p = responsibilities(z, columns, self.temperature)
            return torch.cat([p.sum(0), p.square().sum()[None]])

        z = self.project(sampled(z)) / GRID
        # Responsibilities, as many as tokens times codewords, are computed again on the way back instead of kept.
        columns = columns_of(self.centres)
        parts = [checkpoint(sums, z[part], columns, use_reentrant=False) for part in chunks(z, self.size)]
        used, peaks = (torch.stack(parts).sum(0) / len(z)).split([self.size, 1])
        return 1 - peaks[0] + self.size * used.square().sum()

    def codebook_loss(self, z: Tensor) -> Tensor:
        """The free energy a coordinate, over at most 1,024 of the tokens."""
        z = self.project(sampled(z)) / GRID
        return _FreeEnergy.apply(z, self.centres, self.temperature) / (len(z) * self.dim)

    def after_step(self, fraction: float) -> None:
        self.temperature.fill_(FIRST + (LAST - FIRST) * min(max(fraction, 0.0), 1.0))
        self.refresh()


def columns_of(centres: Tensor) -> Tensor:
    """(K, dim) -> (dim, K): products with many columns are thrice as fast as those with many rows."""
    return centres.T.contiguous()


def responsibilities(z: Tensor, columns: Tensor, temperature: Tensor) -> Tensor:
    """softmax over k of -|z - c_k|² / τ, of which |z|² drops out: (N, dim), (dim, K) -> (N, K)."""
    return torch.softmax(_scores(z, columns, temperature), -1)


def _scores(z: Tensor, columns: Tensor, temperature: Tensor) -> Tensor:
    """(|z|² - |z - c_k|²) / τ: (N, dim), (dim, K) -> (N, K)."""
    with full_precision(z):
        return torch.addmm(columns.square().sum(0) / -temperature, z * (2 / temperature), columns)


def _with_ones(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones_like(rows[:, :1])], 1)


class _FreeEnergy(torch.autograd.Function):
    """-τ log mean_k exp(-|z - c_k|² / τ), summed over z. Its gradients, 2 Σ p_k (z - c_k) and 2 p_k (c_k - z), are
    computed with it, while the responsibilities are at hand."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, centres: Tensor, temperature: Tensor) -> Tensor:
        energy, of_z = z.square().sum(), torch.empty_like(z)
        columns = columns_of(centres)
        seen = centres.new_zeros(len(columns) + 1, len(centres))
        with full_precision(z):
            for rows in chunks(z, len(centres)):
                part = z[rows]
                scores = _scores(part, columns, temperature)
                logs = torch.logsumexp(scores, -1)
                energy = energy - temperature * (logs - math.log(len(centres))).sum()
                p = scores.sub_(logs[:, None]).exp_()
                of_z[rows] = 2 * (part - p @ centres)
                seen.addmm_(_with_ones(part).T, p)
        ctx.save_for_backward(of_z, 2 * (seen[-1] * columns - seen[:-1]).T)
        return energy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        of_z, of_centres = ctx.saved_tensors
        return grad * of_z, grad * of_centres, None


class _Hardened(torch.autograd.Function):
    """The nearest codewords forward, the gradient of Σ p_k c_k backward, without ever computing that sum.

    Of a gradient g of the value, with s_k = g·c_k, m = Σ p s and t_k = p_k (s_k - m): Σ 2/τ t_k c_k for z (Σ t = 0, so
    that z itself drops out), and p_k g + 2/τ t_k (z - c_k) for c_k. Only p and p·s are as large as tokens times
    codewords; the rest are products of theirs with few columns.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, centres: Tensor, temperature: Tensor, words: Tensor) -> Tensor:
        ctx.save_for_backward(z, centres, temperature)
        return words

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        z, centres, temperature = ctx.saved_tensors
        of_z, factor = torch.empty_like(z), 2 / temperature
        columns = columns_of(centres)
        by_p = centres.new_zeros(len(columns) + 1, len(centres))
        by_ps = torch.zeros_like(by_p)
        with full_precision(z):
            for rows in chunks(z, len(centres)):
                part, g = z[rows], grad[rows].float()
                p = responsibilities(part, columns, temperature)
                ps = (g @ columns).mul_(p)
                m = ps.sum(1, keepdim=True)
                of_z[rows] = factor * (columns @ ps.T - m.T * (columns @ p.T)).T
                by_p.addmm_(torch.cat([g - factor * m * part, m], 1).T, p)
                by_ps.addmm_(_with_ones(part).T, ps)
        of_centres = by_p[:-1] + factor * (by_ps[:-1] - (by_ps[-1] - by_p[-1]) * columns)
        return of_z, of_centres.T, None, None
