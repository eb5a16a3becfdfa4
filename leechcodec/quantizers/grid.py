"""What quantizers of one coordinate at a time share: a range of integers each, and a symbol each.

The score of an integer is log-linear in (x, |x|, x²/2); a coordinate's symbol has the pmf of its own scores.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from leechcodec.entropy import tables
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.errors import QuantizerError
from leechcodec.quantizers.base import Quantizer


class GridQuantizer(Quantizer):
    """Codes are all vectors with entries lowest_i .. highest_i; the nearest is that of every coordinate."""

    spherical = False

    def __init__(self, lowest: Sequence[int], highest: Sequence[int]) -> None:
        super().__init__()
        self.lowest, self.highest = tuple(lowest), tuple(highest)
        self.levels = tuple(high - low + 1 for low, high in zip(lowest, highest))
        self.dim, self.size = len(self.levels), math.prod(self.levels)
        self.max_entry = max(map(abs, (*lowest, *highest)))

    @property
    def centre(self) -> Tensor:
        return torch.tensor([(low + high) / 2 for low, high in zip(self.lowest, self.highest)]) / self.unit

    def nearest(self, u: Tensor) -> Tensor:
        return self._clamped(u.round()).to(torch.int8)

    def runner_up(self, u: Tensor, codes: Tensor) -> Tensor:
        """The nearest code, or where that is the one given, the one with its least certain entry one step off."""
        nearest = self.nearest(u)
        given = nearest.float()
        other = given + torch.where(u < given, -1.0, 1.0)
        other = torch.where(self._clamped(other) == other, other, 2 * given - other)
        weakest = ((u - other).square() - (u - given).square()).argmin(1, keepdim=True)
        turned = nearest.scatter(1, weakest, other.gather(1, weakest).to(torch.int8))
        return torch.where((nearest == codes).all(1, keepdim=True), turned, nearest)

    def codes_to_indices(self, codes: Tensor) -> Tensor:
        """The number with digits c_i - lowest_i, the first the least significant."""
        self.check_countable()
        self.check_codes(codes)
        if (self._clamped(codes.float()) != codes).any():
            raise QuantizerError(f"a code's entry is out of the range of {self.name}")
        return ((codes.long() - codes.new_tensor(self.lowest).long()) * self._places(codes)).sum(-1)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        self.check_indices(indices)
        digits = indices[..., None] // self._places(indices) % indices.new_tensor(self.levels)
        return (digits + indices.new_tensor(self.lowest)).to(torch.int8)

    def log_partition(self, params: Tensor) -> Tensor:
        params = self.expand(params.float())
        alphabets = {}  # coordinates of one range are summed over together
        for i, ends in enumerate(zip(self.lowest, self.highest)):
            alphabets.setdefault(ends, []).append(i)
        total = params.new_zeros(len(params))
        for (low, high), places in alphabets.items():
            values = self.features(torch.arange(low, high + 1, dtype=torch.float32, device=params.device))
            total = total + torch.logsumexp(params[:, places] @ values.T, -1).sum(-1)
        return total

    def integer_params(self, params: np.ndarray) -> np.ndarray:
        """(a, b, d) in 1/64 nat from the prior's integers: int64 (N, dim, P) -> int64 (N, dim, 3)."""
        return params

    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        return tables.code_grid_tokens(
            coder, self.integer_params(params), self.lowest, self.highest, self.code_shift, codes
        )

    def _clamped(self, u: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(u, u.new_tensor(self.lowest)), u.new_tensor(self.highest))

    def _places(self, like: Tensor) -> Tensor:
        places = [math.prod(self.levels[:i]) for i in range(self.dim)]
        return torch.tensor(places, dtype=torch.int64, device=like.device)
