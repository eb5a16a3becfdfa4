"""Λ24-SQ: spherical quantization to the minimal vectors of the Leech lattice.

Zhao et al., "Spherical Leech Quantization for Visual Tokenization and Generation", arXiv 2512.14697, §4.
196,560 codewords in 24 dimensions, 17.585 bits; no entropy penalty, no commitment loss, nothing learned.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.lattice import leech, torch_kernels
from leechcodec.quantizers.base import MAX_SCORE, Quantizer, clipped
from leechcodec.quantizers.code import LeechCode


class LeechSQ(Quantizer):
    """Nearest of the 196,560 codewords; three prior parameters (a, b, d) per coordinate."""

    name = "leech"
    dim = leech.DIM
    norm_squared = leech.NORM_SQUARED
    max_entry = 4
    size = leech.SIZE
    delta_min = 1.0  # pyright: ignore[reportAssignmentType]  (a constant in place of the property)
    """Neighbours meet at 60°. (sin 60° = 0.866 is what the paper prints.)"""

    def nearest(self, z: Tensor) -> Tensor:
        return torch_kernels.nearest(z)

    def runner_up(self, z: Tensor, codes: Tensor) -> Tensor:
        return torch_kernels.runner_up(z, codes)

    @property
    def code(self) -> LeechCode:
        return LeechCode(self.origin)

    def codes_to_indices(self, codes: Tensor) -> Tensor:
        """The numbers of docs/lattice.md; the origin, where the code has it, is the last."""
        return torch.from_numpy(self.code.numbers_of(codes.cpu().numpy())).to(codes.device)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(self.code.codes_of(indices.cpu().numpy())).to(indices.device)

    def score(self, params: Tensor, codes: Tensor) -> Tensor:
        a, b, d = params.float().unbind(-1)
        f = a * codes / 2 + b * codes.abs() / 2 + d * codes.square() / 8
        return f.clamp(-MAX_SCORE, MAX_SCORE).sum(-1)

    def score_table(self, params: Tensor) -> Tensor:
        """f_i(v) for v = -4..4 in nats, clamped: (N, 24, 3) -> float32 (N, 24, 9)."""
        return F.hardtanh(params.float() @ _basis(params.device), -MAX_SCORE, MAX_SCORE)

    def log_partition(self, params: Tensor) -> Tensor:
        return torch_kernels.log_partition(self.score_table(params))

    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        return self.code.code_tokens(coder, params, codes)


class LeechBallSQ(LeechSQ):
    """Λ24-SQ with the origin as a 196,561st codeword: a token may also say nothing.

    Vectors are clipped to the ball that the codewords span, not normalised to its surface, and one nearer to the
    origin than to any codeword becomes zero. The separable family covers it as it stands: f_i(0) = 0, so the
    origin's score is 0, and the normaliser gains a 1.
    """

    name = "leech-ball"
    origin = True
    size = leech.SIZE + 1
    spherical = False

    def nearest(self, z: Tensor) -> Tensor:
        silent = z.square().sum(-1) < 1e-6
        return self._or_origin(z, super().nearest(torch.where(silent[:, None], torch.ones_like(z), z)))

    def runner_up(self, z: Tensor, codes: Tensor) -> Tensor:
        other = super().runner_up(z, codes)
        return torch.where(codes.any(1, keepdim=True), self._or_origin(z, other), other)

    def _or_origin(self, z: Tensor, codes: Tensor) -> Tensor:
        """Codes, zero in place of those farther from z than the origin: |z - c|² < |z|² just where z · c > |c|² / 2."""
        return codes * ((z * codes).sum(-1, keepdim=True) > self.norm_squared / 2)

    def project(self, z: Tensor) -> Tensor:
        return clipped(z, self.norm_squared**0.5)

    def log_partition(self, params: Tensor) -> Tensor:
        return F.softplus(super().log_partition(params))


@cache
def _basis(device: torch.device) -> Tensor:
    """f(v) = a·v/2 + b·|v|/2 + d·v²/8 at the nine values v = -4..4, float32 (3, 9)."""
    with torch.inference_mode(False):  # kept, and used where gradients are wanted
        values = torch.arange(-4, 5, dtype=torch.float32)
        return torch.stack([values / 2, values.abs() / 2, values.square() / 8]).to(device)
