"""LFQ: lookup-free quantization, the signs of a vector.

Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", arXiv 2310.05737.
BSQ without the sphere: z keeps its length, so confidence is a matter of scale and the entropy penalty acts on it.
"""

import torch
from torch import Tensor

from leechcodec.quantizers.base import RADIUS, clipped
from leechcodec.quantizers.bsq import BSQ, entropy_penalty

INVERSE_TEMPERATURE = 100.0
"""Of the soft bits in the entropy penalty, as in vector-quantize-pytorch."""


class LFQ(BSQ):
    """2^d codes ±1, coded as those of BSQ. Codewords are the codes themselves."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.name = f"lfq-{dim}"

    @property
    def unit(self) -> float:
        return 1.0

    def project(self, z: Tensor) -> Tensor:
        """z itself, clipped to a ball of twice the codes' length: no sign changes, and no loss runs away."""
        return clipped(z, RADIUS * self.dim**0.5)

    def entropy_loss(self, z: Tensor) -> Tensor:
        """Mean entropy of a token's soft bits less the entropy of their means (LFQ, factorised over bits).

        Soft assignment: P(bit = +1) = sigmoid(4 · 100 · z).
        """
        return entropy_penalty(torch.sigmoid(4 * INVERSE_TEMPERATURE * self.project(z)))
