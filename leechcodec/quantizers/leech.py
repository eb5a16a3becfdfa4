"""Λ24-SQ: spherical quantization to the minimal vectors of the Leech lattice.

Zhao et al., "Spherical Leech Quantization for Visual Tokenization and Generation", arXiv 2512.14697, §4.
196,560 codewords in 24 dimensions, 17.585 bits; no entropy penalty, no commitment loss, nothing learned.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.lattice import leech, torch_kernels
from leechcodec.quantizers.base import MAX_SCORE, Quantizer

_VALUES = torch.arange(-4.0, 5.0)
_BASIS = torch.stack([_VALUES / 2, _VALUES.abs() / 2, _VALUES.square() / 8])
"""f(v) = a·v/2 + b·|v|/2 + d·v²/8 at the nine values v = -4..4, float32 (3, 9)."""


class LeechSQ(Quantizer):
    """Nearest of the 196,560 codewords; three prior parameters (a, b, d) a coordinate."""

    name = "leech"
    dim = leech.DIM
    norm_squared = leech.NORM_SQUARED
    params_per_coordinate = 3
    origin = False
    bits = math.log2(leech.SIZE)

    def nearest(self, z: Tensor) -> Tensor:
        return torch_kernels.nearest(z)

    def runner_up(self, z: Tensor, codes: Tensor) -> Tensor:
        return torch_kernels.best_but(z.float()[:, :, None] * _VALUES.to(z.device), codes)

    def score(self, params: Tensor, codes: Tensor) -> Tensor:
        a, b, d = params.float().unbind(-1)
        f = a * codes / 2 + b * codes.abs() / 2 + d * codes.square() / 8
        return f.clamp(-MAX_SCORE, MAX_SCORE).sum(-1)

    def score_table(self, params: Tensor) -> Tensor:
        """f_i(v) for v = -4..4 in nats, clamped: (N, 24, 3) -> float32 (N, 24, 9)."""
        return F.hardtanh(params.float() @ _BASIS.to(params.device), -MAX_SCORE, MAX_SCORE)

    def log_partition(self, params: Tensor) -> Tensor:
        return torch_kernels.log_partition(self.score_table(params))

    def code_tokens(self, coder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        from leechcodec import entropy  # the range coder is not needed to train

        return entropy.code_leech_tokens(coder, params, codes, origin=self.origin)


class LeechBallSQ(LeechSQ):
    """Λ24-SQ with the origin as a 196,561st codeword: a token may also say nothing.

    Vectors are clipped to the ball that the codewords span, not normalised to its surface, and one nearer to the
    origin than to any codeword becomes zero. The separable family covers it as it stands: f_i(0) = 0, so the
    origin's score is 0, and the normaliser gains a 1.
    """

    name = "leech-ball"
    origin = True
    bits = math.log2(leech.SIZE + 1)

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        v = self.project(z)
        flat = v.detach().reshape(-1, self.dim)
        silent = flat.square().sum(-1) < 1e-6
        codes = self.nearest(torch.where(silent[:, None], torch.ones_like(flat), flat))
        # |v - c|² < |v|² just where v · c > |c|² / 2.
        near = (flat * codes).sum(-1, keepdim=True) > self.norm_squared / 2
        codes = (codes * near).reshape(v.shape)
        return codes, v + (codes - v).detach()

    def project(self, z: Tensor) -> Tensor:
        z = torch.nan_to_num(z.float(), 0.0, 0.0, 0.0)
        radius = self.norm_squared**0.5
        return z * (radius / z.norm(dim=-1, keepdim=True).clamp(min=radius))

    def log_partition(self, params: Tensor) -> Tensor:
        return F.softplus(super().log_partition(params))
