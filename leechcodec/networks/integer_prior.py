"""The prior in exact integers: the same probabilities on every machine, so that every file decodes everywhere.

      weights ─▶ round ─▶ int32, the canonical tensors ─▶ float64 that hold integers ─▶ IntegerView, tile by tile
                               │
                               └─▶ SHA-256: the token model's id

Weights and activations are integers, computed with in float64. Every partial sum stays below 2^53, so every machine,
thread count and order of summation gives the same integers. The bound is checked from the weights when a model is
loaded. Maps are kept in int16 and worked on in tiles; parameters are computed for as many positions as are coded at a
time.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.config import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT
from leechcodec.entropy.pmf import EXACT_LIMIT, SCORE_UNIT
from leechcodec.errors import ModelError
from leechcodec.networks.prior import AGREEMENT, REACH, Prior, View
from leechcodec.networks.tiling import tiled
from leechcodec.quantizers.base import MAX_ACTIVATION

ACTIVATION_BITS = 8
"""Activations are multiples of 2^-8 ..."""
ACTIVATION_LIMIT = MAX_ACTIVATION << ACTIVATION_BITS
"""... within ±64: integers within ±2^14."""
WEIGHT_BITS = 14
"""Weights are multiples of 2^-14."""
DIAL_STEPS = (MAX_QUALITY - MIN_QUALITY) * QUALITY_UNIT
"""The header's quality, in hundredths, takes the values 100..10,000: 9,900 steps."""
BAND = 4096
"""Positions of an integer convolution at a time: its sums stay in the cache while the taps are added to them."""


class IntegerView(View):
    """The prior in exact integers, for coding one image. Operations take and give float64 tensors that hold integers,
    steps int16 maps; steps work in place.

    Activations are in units of 2^-ACTIVATION_BITS, parameters in units of 1/64 nat.

    weights: the canonical integer tensors of :func:`integer_weights`, float64.
    quality: the header's quality, 100..10,000.
    """

    def __init__(self, weights: Mapping[str, Tensor], quality: int) -> None:
        self.weights = weights
        self.quality = quality

    def constant(self, name: str, height: int, width: int) -> Tensor:
        return _clamp(self.weights[name]).to(torch.int16)[None, :, None, None].repeat(1, 1, height, width)

    def upsample(self, name: str, h: Tensor) -> Tensor:
        return tiled(lambda part, _: super(IntegerView, self).upsample(name, part.double()).to(torch.int16), h, up=2)

    def at_quality(self, name: str, h: Tensor) -> Tensor:
        return tiled(lambda part, _: self.add_quality(name, part.double()).to(torch.int16), h, in_place=True)

    def params(self, name: str, h: Tensor, around: Tensor | None = None) -> "IntegerParams":
        return IntegerParams(self, name, h, around)

    def add_tokens(self, name: str, h: Tensor, codes: Tensor, shift: int) -> Tensor:
        def added(part: Tensor, rows: slice) -> Tensor:
            part = super(IntegerView, self).add_tokens(name, part.double(), codes[:, :, rows], shift)
            return part.to(torch.int16)

        return tiled(added, h, halo=REACH, in_place=True)

    def conv(self, name: str, x: Tensor) -> Tensor:
        return _clamp(_shift(self._accumulate(name, x), WEIGHT_BITS))

    def head(self, name: str, x: Tensor) -> Tensor:
        return _shift(self._accumulate(name, x), WEIGHT_BITS + ACTIVATION_BITS - SCORE_UNIT.bit_length() + 1)

    def add_quality(self, name: str, x: Tensor) -> Tensor:
        table = self.weights[name]
        knot, rest = divmod((self.quality - MIN_QUALITY * QUALITY_UNIT) * (table.shape[0] - 1), DIAL_STEPS)
        following = min(knot + 1, table.shape[0] - 1)
        bias = torch.floor((table[knot] * (DIAL_STEPS - rest) + table[following] * rest) / DIAL_STEPS)
        return _clamp(x + bias[None, :, None, None])

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return _clamp(x + y)

    def activate(self, x: Tensor) -> Tensor:
        return torch.maximum(x, torch.floor(x * 0.125))

    def from_codes(self, codes: Tensor, shift: int) -> Tensor:
        return codes.double() * 2.0 ** (ACTIVATION_BITS - shift)

    def from_agreements(self, products: Tensor) -> Tensor:
        return _clamp(products * (2**ACTIVATION_BITS // AGREEMENT))

    def limit_gates(self, gates: Tensor) -> Tensor:
        return gates.clamp(0, MAX_ACTIVATION * SCORE_UNIT)

    def _accumulate(self, name: str, x: Tensor) -> Tensor:
        """The convolution: integers in, integers out, exact in any order."""
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        if weight.shape[2] == 1:
            _, in_channels, height, width = x.shape
            out = (weight[:, :, 0, 0] @ x.reshape(in_channels, -1)).reshape(-1, height, width)
        else:
            out = _conv3x3(weight, x)
        if bias is not None:
            out += bias[:, None, None]
        return out[None]


class IntegerParams:
    """A pass's parameters in units of 1/64 nat, computed where they are asked for."""

    def __init__(self, view: IntegerView, name: str, h: Tensor, around: Tensor | None) -> None:
        self.view, self.name, self.h, self.around = view, name, h, around

    def at(self, positions: Tensor) -> Tensor:
        """Of these positions, int64 (n,) in rows: float64 (n, num_params), integers."""
        seen = self.view.activate(self.h.flatten(2)[:, :, None, positions].double())
        params = self.view.head(f"{self.name}.head", seen)
        if self.around is not None:
            around = self.around.flatten(3)[:, :, :, None, positions].double()
            params = self.view.with_repeats(self.name, params, seen, around)
        return params[0, :, 0].T

    def all(self) -> Tensor:
        """Of every position: (1, num_params, h, w)."""
        height, width = self.h.shape[2:]
        return self.at(torch.arange(height * width)).T.reshape(1, -1, height, width)


def _conv3x3(weight: Tensor, x: Tensor) -> Tensor:
    """Nine matrix products per band of rows: (out, in, 3, 3), (1, in, h, w) -> (out, h, w).

    Rows lie one behind the other with a zero between them, so that what a tap sees is the same stretch of memory,
    shifted: nothing is gathered.
    """
    out_channels, in_channels = weight.shape[:2]
    height, width = x.shape[2:]
    taps = weight.permute(2, 3, 0, 1).contiguous()
    pitch = width + 1
    flat = F.pad(x, (1, 0, 1, 2))[0].reshape(in_channels, -1)
    out = x.new_empty(out_channels, height, width)
    rows = max(1, BAND // pitch)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        shifts = [(top + dy) * pitch + dx for dy in range(3) for dx in range(3)]
        seen = [flat[:, shift : shift + count * pitch] for shift in shifts]
        band = taps[0, 0] @ seen[0]
        for tap, part in zip(taps.flatten(0, 1)[1:], seen[1:], strict=True):
            band.addmm_(tap, part)
        out[:, top : top + count] = band.reshape(-1, count, pitch)[:, :, :width]
    return out


def _shift(x: Tensor, bits: int) -> Tensor:
    """floor(x / 2^bits + 1/2): exact, because a power of two only moves the exponent."""
    return torch.floor(x * 2.0**-bits + 0.5)


def _clamp(x: Tensor) -> Tensor:
    return x.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)


def fraction_bits(name: str) -> int:
    """Bits after the binary point of a canonical tensor, by its name.

    Weights have 14. Biases are added to the accumulator, whose unit is that of a weight times an activation: 22.
    Constants and quality tables are activations: 8.
    """
    if name.endswith(".weight"):
        return WEIGHT_BITS
    return WEIGHT_BITS + ACTIVATION_BITS if name.endswith(".bias") else ACTIVATION_BITS


def integer_weights(prior: Prior) -> dict[str, np.ndarray]:
    """The canonical integer tensors of a prior, int32: what fixes a file's tokens, and what its id is made of.

    They are in units of 2^-fraction_bits. Raises ModelError where a weight is not finite or too large.
    """
    tensors = {}
    for name, parameter in prior.named_parameters():
        value = parameter.detach().double().cpu()
        integers = torch.floor(value * 2.0 ** fraction_bits(name) + 0.5)
        if not torch.isfinite(integers).all() or integers.abs().max() >= 2**31:
            raise ModelError(f"prior weight {name} is not finite or leaves the integer range")
        tensors[name] = integers.to(torch.int32).numpy()
    return tensors


def check_exact(tensors: Mapping[str, np.ndarray]) -> int:
    """Bound every partial sum of the integer view; raise ModelError where it could pass 2^53.

    Activations are within ±2^14 (clamped after every layer). Returns the largest bound, for the record.
    """
    largest = 0
    for name, value in tensors.items():
        if name.endswith(".weight"):
            sums = np.abs(value.astype(object)).reshape(value.shape[0], -1).sum(axis=1) * ACTIVATION_LIMIT
            bias = tensors.get(name.removesuffix("weight") + "bias")
            if bias is not None:
                sums = sums + np.abs(bias.astype(object))
            bound = int(max(sums))
        else:
            bound = int(np.abs(value.astype(np.int64)).max(initial=0)) * DIAL_STEPS
        if bound >= EXACT_LIMIT:
            raise ModelError(f"prior layer {name}: partial sums could reach {bound}, beyond the exact range 2^53")
        largest = max(largest, bound)
    return largest
