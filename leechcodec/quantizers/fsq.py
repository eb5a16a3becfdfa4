"""FSQ: finite scalar quantization, every coordinate bounded by a tanh and rounded to a few levels.

Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple", arXiv 2309.15505.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from leechcodec.errors import ConfigError
from leechcodec.quantizers.grid import GridQuantizer

MARGIN = 1e-3
"""The bound reaches so much beyond the outer levels, as in vector-quantize-pytorch (the paper's code: 1 - ε)."""


class FSQ(GridQuantizer):
    """L_1 · … · L_d codes with entries -⌊L/2⌋ .. ⌈L/2⌉ - 1; codewords are these divided by ⌊L/2⌋.

    An even number of levels is not symmetric about 0: half a level's offset goes through the tanh, so that z = 0 is in
    the middle of level 0. Two levels are not taken: the offset would put their border at z = -3.8; they are LFQ's.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        if not levels or min(levels) < 3 or max(levels) > 255:
            raise ConfigError(f"FSQ needs 3 to 255 levels a coordinate (two are LFQ), got {list(levels)}")
        super().__init__([-(n // 2) for n in levels], [(n - 1) // 2 for n in levels])
        self.name = "fsq-" + "x".join(map(str, levels))
        self.norm_squared = sum(map(self._mean_square, levels))

    @staticmethod
    def _mean_square(levels: int) -> float:
        return sum((v - levels // 2) ** 2 for v in range(levels)) / levels

    @property
    def unit(self) -> Tensor:
        return torch.tensor([n // 2 for n in self.levels], dtype=torch.float32)

    @property
    def initial_spread(self) -> float:
        return 1.0

    @property
    def delta_min(self) -> float:
        """One step of the coordinate with the smallest."""
        energy = sum(self._mean_square(n) / (n // 2) ** 2 for n in self.levels)
        return min(1 / (n // 2) for n in self.levels) / math.sqrt(energy)

    def project(self, z: Tensor) -> Tensor:
        """tanh(z + shift) · (L - 1)(1 + ε)/2 - offset, what is rounded. The shift is vector-quantize-pytorch's atanh,
        which puts z = 0 in the middle of its level; the paper's code has tan."""
        z = torch.nan_to_num(z.float(), 0.0, 0.0, 0.0)
        levels = z.new_tensor(self.levels)
        half, offset = (levels - 1) * (1 + MARGIN) / 2, (levels % 2 == 0) * 0.5
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset
