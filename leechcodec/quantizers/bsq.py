"""BSQ: binary spherical quantization, the signs of a vector divided by sqrt(d).

Zhao, Xiong and Krähenbühl, "Image and Video Tokenization with Binary Spherical Quantization", arXiv 2406.07548.
The baseline of every claim in this project, behind the same interface and in the same network.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.quantizers.base import MAX_SCORE, Quantizer, check_dim
from leechcodec.quantizers.code import SignCode


class BSQ(Quantizer):
    """2^d codes ±1; one prior parameter per coordinate, the log-odds of +1."""

    params_per_coordinate = 1

    max_entry = 1

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_dim("BSQ", dim)
        self.dim = self.norm_squared = dim
        self.size = 2**dim
        self.name = f"bsq-{dim}"

    @property
    def code(self) -> SignCode:
        return SignCode(self.dim, self.name.partition("-")[0])

    @property
    def delta_min(self) -> float:
        return 2 / self.dim**0.5

    @property
    def covering_cosine(self) -> float:
        """Of a coordinate axis with any code; no direction is farther from all."""
        return self.dim**-0.5

    def codes_to_indices(self, codes: Tensor) -> Tensor:
        """Bit dim - 1 - i is set where coordinate i is +1."""
        return torch.from_numpy(self.code.numbers_of(codes.cpu().numpy())).to(codes.device)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(self.code.codes_of(indices.cpu().numpy())).to(indices.device)

    def nearest(self, z: Tensor) -> Tensor:
        return torch.where(z < 0, -1, 1).to(torch.int8)

    def runner_up(self, z: Tensor, codes: Tensor) -> Tensor:
        """The nearest code, or where that is the one given, the one with its least certain sign turned."""
        nearest, weakest = self.nearest(z), z.abs().argmin(1, keepdim=True)
        turned = nearest.scatter(1, weakest, -nearest.gather(1, weakest))
        return torch.where((nearest == codes).all(1, keepdim=True), turned, nearest)

    def entropy_loss(self, z: Tensor) -> Tensor:
        """Mean entropy of a token's soft bits less the entropy of their means (BSQ, §4.2, factorised over bits).

        Soft assignment, at the temperature 1 of the authors' code (zhaoyue-zephyrus/bsq-vit): P(bit = +1) =
        sigmoid(4 · u / sqrt(d)), u = z / |z|.
        """
        u = F.normalize(z.float(), dim=-1)
        return entropy_penalty(torch.sigmoid(4 / self.dim**0.5 * u))

    def score(self, params: Tensor, codes: Tensor) -> Tensor:
        return (params.float().squeeze(-1).clamp(-MAX_SCORE, MAX_SCORE) * codes / 2).sum(-1)

    def log_partition(self, params: Tensor) -> Tensor:
        half = params.float().squeeze(-1).clamp(-MAX_SCORE, MAX_SCORE) / 2
        return (F.softplus(2 * half) - half).sum(-1)

    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        return self.code.code_tokens(coder, params, codes)


def entropy_penalty(bits: Tensor) -> Tensor:
    """Mean entropy of a token less the entropy of the mean token, factorised over bits, in nats: (N, dim) -> scalar."""
    return (_entropy(bits).mean(0) - _entropy(bits.mean(0))).sum()


def _entropy(p: Tensor) -> Tensor:
    """Entropy of bits in nats."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log() + (1 - p) * (-p).log1p())
