"""One small member of every quantizer family, for tests that hold for all."""

import pytest
import torch

from leechcodec.quantizers import Quantizer, make_quantizer

SMALL = (
    "leech", "leech-ball", "bsq-12", "lfq-6", "fsq-8x5x3", "rpq-6-6", "fibonacci-5-6", "d4", "d4x3", "e8", "e8x2",
    "bw16", "vq-6-6", "simvq-6-6", "lgq-6-6", "round-6",
)  # fmt: skip
SMALL_SOME_SLOW = tuple(
    name if name in ("leech", "leech-ball", "bsq-12", "vq-6-6") else pytest.param(name, marks=pytest.mark.slow)
    for name in SMALL
)
"""For tests that take long for each: a signed, a shelled, a binary and a learned one are quick enough."""
LEARNED = ("vq-6-6", "simvq-6-6", "lgq-6-6")


def quantizer_of(name: str, seed: int = 0) -> Quantizer:
    """With its codebook, where that is random, from a seed."""
    torch.manual_seed(seed)
    return make_quantizer(name)


def some_codes(quantizer: Quantizer, count: int, seed: int = 0) -> torch.Tensor:
    """Codes of random z, int8 (count, dim)."""
    generator = torch.Generator().manual_seed(seed)
    return quantizer.quantize(torch.randn(count, quantizer.dim, generator=generator) * quantizer.initial_spread)[0]


def all_codes(quantizer: Quantizer) -> torch.Tensor:
    return quantizer.indices_to_codes(torch.arange(quantizer.size))
