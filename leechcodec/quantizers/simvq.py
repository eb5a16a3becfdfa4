"""SimVQ: a fixed random codebook behind one learned linear layer, which moves all codewords together.

Zhu et al., "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer", arXiv 2411.02038.
Loss: |sg[z] - c|² + β·|z - sg[c]|², c = frozen · W, β = 0.25 as in vector-quantize-pytorch.
"""

import torch
from torch import Tensor, nn

from leechcodec.quantizers.base import full_precision
from leechcodec.quantizers.learned import COMMITMENT, GRID, LearnedQuantizer, sampled


class SimVQ(LearnedQuantizer):
    """frozen_words: normal, never trained. transform: (dim, dim), the identity at first."""

    frozen_words: Tensor

    def __init__(self, dim: int, bits: int) -> None:
        super().__init__("simvq", dim, bits)
        self.register_buffer("frozen_words", torch.randn(self.size, dim))
        self.transform = nn.Parameter(torch.eye(dim))
        self.refresh()

    def codewords(self) -> Tensor:
        return self.frozen_words @ self.transform

    @torch.no_grad()
    def set_codewords(self, codewords: Tensor) -> None:
        """They become the fixed codebook, and the layer the identity."""
        self.frozen_words.copy_(codewords)
        self.transform.copy_(torch.eye(self.dim))

    def codebook_loss(self, z: Tensor) -> Tensor:
        """Over at most 1,024 of the tokens."""
        u = self.project(sampled(z)) / GRID
        with full_precision(u):
            words = self.frozen_words[self.nearest_rows(u.detach() * GRID)[:, 0]] @ self.transform
        return (u.detach() - words).square().mean() + COMMITMENT * (u - words.detach()).square().mean()
