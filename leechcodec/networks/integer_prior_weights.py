"""The prior's canonical integers: what fixes a file's tokens, and what its id is made of.

      weights ─▶ per channel the finest unit 2^-s whose sums fit 32 bits ─▶ int16 weights, int32 bias, int8 shift s

A layer gives floor((sum of weights times activations + bias) / 2^s + 1/2). Activations are within ±2^14, so a bound on
every partial sum follows from the weights. Below 2^31 it is the same integer on every machine, in any order.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from leechcodec.config import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT
from leechcodec.errors import ModelError
from leechcodec.networks.integer_prior_kernels import ACTIVATION_BITS, LIMIT, Layer, packed

if TYPE_CHECKING:
    from leechcodec.networks.prior import Prior

MAX_SHIFT = 14
"""Weights are multiples of 2^-14 or coarser."""
SCORE_SHIFT = 2
"""Scores have two bits less after the point than activations: 1/64 nat."""
DIAL_STEPS = (MAX_QUALITY - MIN_QUALITY) * QUALITY_UNIT
"""The header's quality, in hundredths, takes the values 100..10,000: 9,900 steps."""
_SUM_LIMIT = 1 << 31


class IntegerWeights:
    """The canonical tensors of a prior, and its layers as the kernels take them, packed when first asked for."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.tensors = tensors
        self._layers: dict[tuple[str, int, int, int], Layer] = {}

    def layer(self, name: str, more: int = 0, first: int = 0, step: int = 1) -> Layer:
        """A layer, or each step-th of its outputs from the first. more: bits to shift by beside the channel's own."""
        key = (name, more, first, step)
        if key not in self._layers:
            weight, shift = self.tensors[f"{name}.weight"], self.tensors[f"{name}.shift"]
            bias = self.tensors.get(f"{name}.bias", np.zeros(len(weight), dtype=np.int32))
            self._layers[key] = packed(*(value[first::step] for value in (weight, bias, shift + np.int8(more))))
        return self._layers[key]

    def quality_bias(self, name: str, quality: int) -> np.ndarray:
        """Row of a quality table: int32 (channels,), within ±2^15. quality: 100..10,000."""
        table = self.tensors[name].astype(np.int64)
        knot, rest = divmod((quality - MIN_QUALITY * QUALITY_UNIT) * (len(table) - 1), DIAL_STEPS)
        following = min(knot + 1, len(table) - 1)
        bias = (table[knot] * (DIAL_STEPS - rest) + table[following] * rest) // DIAL_STEPS
        return bias.clip(-2 * LIMIT, 2 * LIMIT).astype(np.int32)

    def constant(self, name: str) -> np.ndarray:
        """The first map's vector, int16 (channels,)."""
        return self.tensors[name].clip(-LIMIT, LIMIT).astype(np.int16)


def integer_weights(prior: "Prior", room: float = 0.0) -> dict[str, np.ndarray]:
    """The canonical tensors of a prior. Raises ModelError where a weight is not finite or too large.

    room: as for :func:`canonical`.
    """
    return canonical({name: value.detach().double().cpu().numpy() for name, value in prior.named_parameters()}, room)


def canonical(values: Mapping[str, np.ndarray], room: float = 0.0) -> dict[str, np.ndarray]:
    """Float64 values as canonical tensors: weights int16, shifts int8, all others int32.

    room: share of the sums' range that is left, 0..1, for a rounding of the weights to come.
    """
    tensors: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise ModelError(f"prior weight {name} is not finite")
        if name.endswith(".weight"):
            layer = name.removesuffix(".weight")
            bias = values.get(f"{layer}.bias")
            if bias is not None and not np.isfinite(bias).all():
                raise ModelError(f"prior weight {layer}.bias is not finite")
            tensors |= _canonical_layer(layer, value, bias, (1 - room) * _SUM_LIMIT)
        elif not name.endswith(".bias"):
            integers = np.floor(value * 2.0**ACTIVATION_BITS + 0.5)
            if np.abs(integers).max(initial=0) >= _SUM_LIMIT:
                raise ModelError(f"prior weight {name} leaves the integer range")
            tensors[name] = integers.astype(np.int32)
    return tensors


def float_weights(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What canonical tensors stand for, float32, by the names of a prior's parameters."""
    values: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind == "shift":
            continue
        if kind in ("weight", "bias"):
            if f"{layer}.shift" not in tensors:
                raise ModelError(f"prior layer {layer} has no shifts")
            bits = tensors[f"{layer}.shift"].astype(np.int64) + (ACTIVATION_BITS if kind == "bias" else 0)
            if len(bits) != len(value):
                raise ModelError(f"prior layer {layer}: {len(bits)} shifts of {len(value)} channels")
            values[name] = np.ldexp(value.astype(np.float64).T, -bits).T.astype(np.float32)
        else:
            values[name] = (value * 2.0**-ACTIVATION_BITS).astype(np.float32)
    return values


def check_exact(tensors: Mapping[str, np.ndarray]) -> int:
    """Bound every partial sum of the integer view; raise ModelError where one could reach 2^31, or a type is another.

    Returns the largest bound, for the record.
    """
    largest = 0
    for name, value in tensors.items():
        kind = name.rpartition(".")[2]
        wanted = {"weight": np.int16, "shift": np.int8}.get(kind, np.int32)
        if value.dtype != wanted:
            raise ModelError(f"prior tensor {name} is {value.dtype}, not {np.dtype(wanted)}")
        if kind != "weight":
            continue
        layer = name.removesuffix(".weight")
        if value.ndim != 4 or not value.size:
            raise ModelError(f"prior tensor {name} is {value.shape}, no weights of a convolution")
        shift = tensors.get(f"{layer}.shift")
        if shift is None or shift.shape != value.shape[:1] or shift.min() < 0 or shift.max() > MAX_SHIFT:
            raise ModelError(f"prior layer {layer} needs a shift of 0 to {MAX_SHIFT} for each channel")
        bias = tensors.get(f"{layer}.bias", np.zeros(len(value), dtype=np.int32))
        if bias.shape != shift.shape:
            raise ModelError(f"prior layer {layer} needs a bias for each channel")
        bound = int(_bounds(value.astype(np.int32), bias.astype(np.int64), shift.astype(np.int64)).max())
        if bound >= _SUM_LIMIT:
            raise ModelError(f"prior layer {layer}: partial sums could reach {bound}, beyond the exact range 2^31")
        largest = max(largest, bound)
    return largest


def _bounds(weight: np.ndarray, bias: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What no partial sum of a channel passes, with half a unit of scores added for rounding."""
    return (
        np.abs(weight).reshape(len(weight), -1).sum(1, dtype=np.int64) * LIMIT
        + np.abs(bias)
        + (1 << shift + SCORE_SHIFT - 1)
    )


def _canonical_layer(name: str, weight: np.ndarray, bias: np.ndarray | None, limit: float) -> dict[str, np.ndarray]:
    """Each channel in the finest unit that fits, then in lowest terms: rounding again changes nothing.

    limit: what no partial sum may reach.
    """
    integers = np.zeros(weight.shape, dtype=np.int64)
    biases, shifts = np.zeros((2, len(weight)), dtype=np.int64)
    rest = np.zeros(len(weight)) if bias is None else bias
    left = np.ones(len(weight), dtype=bool)
    for shift in range(MAX_SHIFT, -1, -1):
        scaled = np.floor(weight * 2.0**shift + 0.5).clip(-(2**20), 2**20).astype(np.int64)
        moved = np.floor(rest * 2.0 ** (shift + ACTIVATION_BITS) + 0.5).clip(-(2**32), 2**32).astype(np.int64)
        fits = _bounds(scaled, moved, np.full(len(weight), shift)) < limit
        fits &= np.abs(scaled).reshape(len(weight), -1).max(1) < 2**15
        now = left & fits
        integers[now], biases[now], shifts[now] = scaled[now], moved[now], shift
        left &= ~fits
    if left.any():
        raise ModelError(f"prior weight {name}.weight leaves the integer range")
    while (even := (shifts > 0) & (((integers & 1).reshape(len(weight), -1).max(1) | biases & 1) == 0)).any():
        integers[even] >>= 1
        biases[even] >>= 1
        shifts[even] -= 1
    tensors = {f"{name}.weight": integers.astype(np.int16), f"{name}.shift": shifts.astype(np.int8)}
    return tensors if bias is None else tensors | {f"{name}.bias": biases.astype(np.int32)}
