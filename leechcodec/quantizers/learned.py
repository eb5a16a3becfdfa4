"""What quantizers with a learned codebook share: real codewords in training, integers in use.

The network's z is in units in which it starts with variance 1, clipped to a ball of twice that length. A codeword is
used as the nearest multiple of 1/32 within ±4, an integer vector, already in training, so that a released model loses
nothing when its codebook is frozen. It holds the integers alone; loaded again, its codewords are these.
"""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from leechcodec.quantizers.base import RADIUS, clipped
from leechcodec.quantizers.table import TableQuantizer, check_list

GRID = 32
"""Integer units a unit of z."""
LARGEST = 127
COMMITMENT = 0.25
"""β of VQ and SimVQ: weight of |z - sg[c]|² beside the codebook's own term."""
SAMPLE = 1024
"""Tokens of a call that enter losses over all codewords, at most."""


class LearnedQuantizer(TableQuantizer):
    """2^k codewords in R^dim, any length; the nearest by Euclidean distance."""

    spherical = False
    learned = True

    def __init__(self, method: str, dim: int, bits: int) -> None:
        check_list(method, dim, bits)
        super().__init__(np.zeros((1 << bits, dim), dtype=np.int8))
        self.name = f"{method}-{dim}-{bits}"
        self.norm_squared = dim * GRID**2  # nominal: a unit a coordinate
        self.max_entry = LARGEST

    @abstractmethod
    def codewords(self) -> Tensor:
        """The codewords in real numbers, differentiable where they have a gradient: (K, dim)."""

    @abstractmethod
    def set_codewords(self, codewords: Tensor) -> None:
        """Start from these: (K, dim)."""

    @property
    def unit(self) -> float:
        return float(GRID)

    @property
    def initial_spread(self) -> float:
        return 1.0

    def project(self, z: Tensor) -> Tensor:
        """z in integer units, clipped to a ball: a z that runs away from a codebook that cannot follow makes losses of
        its square, and ended runs."""
        return clipped(z, RADIUS * self.dim**0.5) * GRID

    @torch.no_grad()
    def refresh(self) -> None:
        integers = torch.floor(self.codewords().float() * GRID + 0.5).clamp(-LARGEST, LARGEST)
        self.codebook.copy_(torch.nan_to_num(integers, 0.0))

    def after_step(self, fraction: float) -> None:
        self.refresh()

    def frozen(self) -> dict[str, np.ndarray]:
        self.refresh()
        return super().frozen()

    def load_frozen(self, tensors: dict[str, np.ndarray]) -> None:
        super().load_frozen(tensors)
        self.set_codewords(self.codebook.float() / GRID)


def sampled(z: Tensor) -> Tensor:
    """At most ``SAMPLE`` rows of z, at random."""
    return z if len(z) <= SAMPLE else z[torch.randperm(len(z), device=z.device)[:SAMPLE]]
