"""The prior in exact integers once more, in plain tensors: what the kernels are held against."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.networks.integer_prior_kernels import ACTIVATION_BITS, LIMIT, MAX_GATE
from leechcodec.networks.integer_prior_weights import SCORE_SHIFT, IntegerWeights
from leechcodec.networks.prior import View
from leechcodec.networks.prior_loop import AGREEMENT


class ReferenceView(View):
    """As :class:`~leechcodec.networks.integer_prior.IntegerView`. Maps are float64 tensors that hold integers."""

    def __init__(self, weights: IntegerWeights, quality: int) -> None:
        self.weights, self.quality = weights, quality

    def constant(self, name: str, height: int, width: int) -> Tensor:
        return self._column(self.weights.constant(name)).expand(1, -1, height, width)

    def conv(self, name: str, x: Tensor) -> Tensor:
        return self._rounded(name, x, 0).clamp(-LIMIT, LIMIT)

    def head(self, name: str, x: Tensor) -> Tensor:
        return self._rounded(name, x, SCORE_SHIFT)

    def add_quality(self, name: str, x: Tensor) -> Tensor:
        return self.add(x, self._column(self.weights.quality_bias(name, self.quality)))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).clamp(-LIMIT, LIMIT)

    def activate(self, x: Tensor) -> Tensor:
        return torch.maximum(x, torch.floor(x / 8))

    def from_codes(self, codes: Tensor, shift: int) -> Tensor:
        return torch.as_tensor(codes).double() * 2.0 ** (ACTIVATION_BITS - shift)

    def from_agreements(self, products: Tensor) -> Tensor:
        return (products * (2**ACTIVATION_BITS // AGREEMENT)).clamp(-LIMIT, LIMIT)

    def limit_gates(self, gates: Tensor) -> Tensor:
        return gates.clamp(0, MAX_GATE)

    def neighbours(self, codes: Tensor, passes: int, number: int) -> Tensor:
        return super().neighbours(torch.as_tensor(codes), passes, number)

    def params(self, name: str, h: Tensor, around: Tensor | None = None) -> "ReferenceParams":
        return ReferenceParams(super().params(name, h, None if around is None else around.double()))

    def _rounded(self, name: str, x: Tensor, more: int) -> Tensor:
        weight, shift = (self.weights.tensors[f"{name}.{kind}"].astype(np.float64) for kind in ("weight", "shift"))
        bias = self.weights.tensors.get(f"{name}.bias", np.zeros(len(weight))).astype(np.float64)
        sums = F.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias), padding=weight.shape[2] // 2)
        return torch.floor(sums / self._column(2.0 ** (shift + more)) + 0.5)

    def _column(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float64))[None, :, None, None]


class ReferenceParams:
    """A pass's parameters, computed everywhere."""

    def __init__(self, values: Tensor) -> None:
        self.values = values.long()

    def at(self, positions: np.ndarray) -> np.ndarray:
        return self.values.flatten(2)[0].T.numpy()[positions]

    def all(self) -> Tensor:
        return self.values
