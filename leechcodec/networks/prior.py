"""The autoregressive prior: which token comes next, told by the tokens before it and by nothing else.

      constant ─▶ h_64 ──────────▶ h_32 ──────────▶ h_16 ──────────▶ h_8          (1x1 convolution, pixel shuffle)
                  │ ▲              │ ▲              │ ▲              │ ▲
        head(h) ◀─┘ │ embed(c)     ┆                ┆                ┆            stage by stage, then a block
        params  ──▶ c                                                             of two 3x3 convolutions

A second small network beside the synthesis transform, of the same coarse-to-fine shape, fed by the integer
codewords. Every stage's parameters depend on all stages before it, in the same place and around it; a stage may
also be coded in two passes, even positions of a checkerboard before the odd ones (He et al., CVPR 2021).

Two views of the same weights run through the same walk, :meth:`Prior.walk`:

* :class:`FloatView` for training: ordinary convolutions, any device, bf16 under autocast;
* :class:`IntegerView` for coding: weights and activations are integers, computed with in float64. Every partial sum
  stays below 2^53, so every machine, thread count and order of summation gives the same integers. The bound is
  checked from the weights when a model is loaded. Maps are kept in int16 and worked on in bands of rows, parameters
  are computed for as many positions as are coded at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.errors import ModelError
from leechcodec.networks.tiling import in_bands
from leechcodec.networks.transforms import knot_weights
from leechcodec.quantizers.base import MAX_ACTIVATION, SCORE_UNIT, Quantizer

ACTIVATION_BITS = 8
"""Activations are multiples of 2^-8 ..."""
ACTIVATION_LIMIT = MAX_ACTIVATION
"""... within ±64."""
WEIGHT_BITS = 14
"""Weights are multiples of 2^-14."""
REACH = 2
"""Positions that an update looks at on either side: two 3 x 3 convolutions."""
BAND = 4096
"""Positions of an integer convolution at a time: its sums stay in the cache while the taps are added to them."""
QUALITY_UNIT = 99 * 100
"""The header's quality, in hundredths, takes the values 100..10,000: 9,900 steps."""


class Prior(nn.Module):
    """Weights of the prior, and the walk over its stages.

    A walk is a generator. It yields (stage, mask, params): params as the view gives them, of every position where mask
    (bool (h, w), or None for everywhere) is true; it is sent the codes there (B, dim, h, w), zero elsewhere, or
    None to end it when the remaining stages are not sent.
    """

    def __init__(self, config: ModelConfig, quantizer: Quantizer) -> None:
        super().__init__()
        self.config = config
        self.num_params = quantizer.num_params
        self.dim = quantizer.dim
        self.code_shift = quantizer.code_shift
        widths, knots = config.prior_channels, config.quality_knots
        self.constant = nn.Parameter(torch.zeros(widths[0]))
        self.up = nn.ModuleList(nn.Conv2d(a, 4 * b, 1) for a, b in zip(widths, widths[1:]))
        self.stages = nn.ModuleList()
        for scale in range(len(STRIDES)):
            for number in range(config.stages[scale]):
                passes = 2 if number < config.checkerboard[scale] else 1
                self.stages.append(nn.ModuleList(PriorPass(widths[scale], self, knots) for _ in range(passes)))

    def walk(self, view: "View", height: int, width: int, images: Sequence[int] | None = None) -> Generator:
        """Drive a view over all stages of an image of height x width (multiples of 64).

        images: how many of a batch's first images are sent each stage, never more than the one before; the walk goes
        on with those alone and ends where there are none. None: all.
        """
        h = view.constant("constant", height // STRIDES[0], width // STRIDES[0])
        stage = 0
        for scale, count in enumerate(self.config.stages):
            if scale:
                h = view.finer(f"up.{scale - 1}", h)
            for _ in range(count):
                if images is not None:
                    if not images[stage]:
                        return
                    h = h[: images[stage]]
                passes = len(self.stages[stage])
                for number in range(passes):
                    name = f"stages.{stage}.{number}"
                    h = view.at_quality(f"{name}.quality", h)
                    mask = checkerboard(h.shape[-2], h.shape[-1], number, h.device) if passes == 2 else None
                    codes = yield stage, mask, view.params(name, h)
                    if codes is None:
                        return
                    h = view.update(name, h, codes, self.code_shift)
                stage += 1


def drive(walk: Generator, answer: Callable[[int, Tensor | None, Tensor], Tensor | None]) -> None:
    """Walk to the end: answer(stage, mask, params) gives the codes of each pass, or None where no more are sent."""
    step = next(walk)
    try:
        while True:
            step = walk.send(answer(*step))
    except StopIteration:
        return


class PriorPass(nn.Module):
    """Parameters of one pass: a head, the embedding of what it coded, and a residual block after it."""

    def __init__(self, channels: int, prior: Prior, knots: int) -> None:
        super().__init__()
        self.quality = nn.Parameter(torch.zeros(knots, channels))
        self.head = nn.Conv2d(channels, prior.num_params, 1)
        self.embed = nn.Conv2d(prior.dim, channels, 1, bias=False)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.conv2.weight, std=0.3 / (9 * channels) ** 0.5)
        nn.init.zeros_(self.head.bias)


def checkerboard(height: int, width: int, parity: int, device: torch.device | str = "cpu") -> Tensor:
    """Positions with (row + column) % 2 == parity, bool (height, width)."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return (rows[:, None] + columns) % 2 == parity


class View(ABC):
    """A number system in which a walk computes: operations, and the four steps of a walk made of them."""

    @abstractmethod
    def constant(self, name: str, height: int, width: int) -> Tensor: ...

    @abstractmethod
    def conv(self, name: str, x: Tensor) -> Tensor: ...

    @abstractmethod
    def head(self, name: str, x: Tensor) -> Tensor: ...

    @abstractmethod
    def add_quality(self, name: str, x: Tensor) -> Tensor: ...

    @abstractmethod
    def add(self, x: Tensor, y: Tensor) -> Tensor: ...

    @abstractmethod
    def activate(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def from_codes(self, codes: Tensor, shift: int) -> Tensor: ...

    def shuffle(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, 2)

    def finer(self, name: str, h: Tensor) -> Tensor:
        """The map of the next scale."""
        return self.shuffle(self.conv(name, h))

    def at_quality(self, name: str, h: Tensor) -> Tensor:
        """The map with a pass's quality bias."""
        return self.add_quality(name, h)

    def params(self, name: str, h: Tensor) -> "Tensor | IntegerParams":
        """A pass's parameters."""
        return self.head(f"{name}.head", self.activate(h))

    def update(self, name: str, h: Tensor, codes: Tensor, shift: int) -> Tensor:
        """The map that knows what a pass coded. Looks ``REACH`` positions around each."""
        h = self.add(h, self.conv(f"{name}.embed", self.from_codes(codes, shift)))
        hidden = self.activate(self.conv(f"{name}.conv1", self.activate(h)))
        return self.add(h, self.conv(f"{name}.conv2", hidden))


class FloatView(View):
    """The prior in floating point, for training. Parameters are (B, num_params, h, w), in nats.

    Activations have the coder's limit: without it a network may come to need larger ones, and its files are larger than
    training promised.

    quality: (B,) dial values 1..100.
    """

    def __init__(self, prior: Prior, quality: Tensor) -> None:
        self.prior = prior
        self.weights = knot_weights(quality, prior.config.quality_knots)

    def constant(self, name: str, height: int, width: int) -> Tensor:
        value = _Limited.apply(self.prior.get_parameter(name))[None, :, None, None]
        return value.expand(self.weights.shape[0], -1, height, width)

    def conv(self, name: str, x: Tensor) -> Tensor:
        return _Limited.apply(self.head(name, x))

    def head(self, name: str, x: Tensor) -> Tensor:
        return self.prior.get_submodule(name)(x)

    def add_quality(self, name: str, x: Tensor) -> Tensor:
        bias = self.weights[: len(x)] @ self.prior.get_parameter(name)
        return self.add(x, bias[:, :, None, None].to(x.dtype))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return _Limited.apply(x + y)

    def activate(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.125)

    def from_codes(self, codes: Tensor, shift: int) -> Tensor:
        return codes * 0.5**shift


class IntegerView(View):
    """The prior in exact integers, for coding one image. Operations take and give float64 tensors that hold integers,
    steps int16 maps; steps work in place.

    weights: the canonical integer tensors of :func:`integer_weights`, float64.
    quality: the header's quality, 100..10,000. Activations are in units of 2^-ACTIVATION_BITS, parameters in units
    of 1/64 nat.
    """

    def __init__(self, weights: Mapping[str, Tensor], quality: int) -> None:
        self.weights = weights
        self.quality = quality

    def constant(self, name: str, height: int, width: int) -> Tensor:
        return _clamp(self.weights[name]).to(torch.int16)[None, :, None, None].repeat(1, 1, height, width)

    def finer(self, name: str, h: Tensor) -> Tensor:
        return in_bands(lambda part, _: super(IntegerView, self).finer(name, part.double()).to(torch.int16), h, up=2)

    def at_quality(self, name: str, h: Tensor) -> Tensor:
        return in_bands(lambda part, _: self.add_quality(name, part.double()).to(torch.int16), h, in_place=True)

    def params(self, name: str, h: Tensor) -> "IntegerParams":
        return IntegerParams(self, name, h)

    def update(self, name: str, h: Tensor, codes: Tensor, shift: int) -> Tensor:
        def updated(part: Tensor, rows: slice) -> Tensor:
            part = super(IntegerView, self).update(name, part.double(), codes[:, :, rows], shift)
            return part.to(torch.int16)

        return in_bands(updated, h, halo=REACH, in_place=True)

    def conv(self, name: str, x: Tensor) -> Tensor:
        return _clamp(_shift(self._accumulate(name, x), WEIGHT_BITS))

    def head(self, name: str, x: Tensor) -> Tensor:
        return _shift(self._accumulate(name, x), WEIGHT_BITS + ACTIVATION_BITS - SCORE_UNIT.bit_length() + 1)

    def add_quality(self, name: str, x: Tensor) -> Tensor:
        table = self.weights[name]
        knot, rest = divmod((self.quality - 100) * (table.shape[0] - 1), QUALITY_UNIT)
        following = min(knot + 1, table.shape[0] - 1)
        bias = torch.floor((table[knot] * (QUALITY_UNIT - rest) + table[following] * rest) / QUALITY_UNIT)
        return _clamp(x + bias[None, :, None, None])

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return _clamp(x + y)

    def activate(self, x: Tensor) -> Tensor:
        return torch.maximum(x, torch.floor(x * 0.125))

    def from_codes(self, codes: Tensor, shift: int) -> Tensor:
        return codes.double() * 2.0 ** (ACTIVATION_BITS - shift)

    def _accumulate(self, name: str, x: Tensor) -> Tensor:
        """The convolution: integers in, integers out, exact in any order.

        A 3 x 3 kernel is nine matrix products a band of rows. Rows lie one behind the other with a zero between them,
        so that what a tap sees is the same stretch of memory, shifted: nothing is gathered.
        """
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        out_channels, in_channels, size, _ = weight.shape
        _, _, height, width = x.shape
        if size == 1:
            out = (weight.reshape(out_channels, -1) @ x.reshape(in_channels, -1)).reshape(-1, height, width)
        else:
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
        if bias is not None:
            out += bias[:, None, None]
        return out[None]


class IntegerParams:
    """A pass's parameters in units of 1/64 nat, computed where they are asked for."""

    def __init__(self, view: IntegerView, name: str, h: Tensor) -> None:
        self.view, self.name, self.h = view, name, h

    def at(self, positions: Tensor) -> Tensor:
        """Of these positions, int64 (n,) in rows: float64 (n, num_params), integers."""
        columns = self.h.reshape(self.h.shape[1], -1)[:, positions].double()
        return self.view.head(f"{self.name}.head", self.view.activate(columns[None, :, None]))[0, :, 0].T

    def all(self) -> Tensor:
        """Of every position: (1, num_params, h, w)."""
        height, width = self.h.shape[2:]
        return self.at(torch.arange(height * width)).T.reshape(1, -1, height, width)


class _Limited(torch.autograd.Function):
    """Activations brought within ±64. The gradient passes straight through: a unit beyond can come back, and the
    backward pass of torch's own would take as long as the rest of the prior's (bf16 on a CPU)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def _shift(x: Tensor, bits: int) -> Tensor:
    """floor(x / 2^bits + 1/2): exact, because a power of two only moves the exponent."""
    return torch.floor(x * 2.0**-bits + 0.5)


def _clamp(x: Tensor) -> Tensor:
    limit = ACTIVATION_LIMIT << ACTIVATION_BITS
    return x.clamp(-limit, limit)


def integer_weights(prior: Prior) -> dict[str, np.ndarray]:
    """The canonical integer tensors of a prior, int32: what fixes a file's tokens, and what its id is made of.

    Convolution weights in units of 2^-14, their biases in units of 2^-22 (the accumulator's), constants and
    quality tables in units of 2^-8. Raises ModelError where a weight is not finite or too large.
    """
    tensors = {}
    for name, parameter in prior.named_parameters():
        value = parameter.detach().double().cpu()
        if name.endswith(".weight"):
            bits = WEIGHT_BITS
        elif name.endswith(".bias"):
            bits = WEIGHT_BITS + ACTIVATION_BITS
        else:
            bits = ACTIVATION_BITS
        integers = torch.floor(value * 2.0**bits + 0.5)
        if not torch.isfinite(integers).all() or integers.abs().max() >= 2**31:
            raise ModelError(f"prior weight {name} is not finite or leaves the integer range")
        tensors[name] = integers.to(torch.int32).numpy()
    return tensors


def check_exact(tensors: Mapping[str, np.ndarray]) -> int:
    """Bound every partial sum of the integer view; raise ModelError where it could pass 2^53.

    Activations are within ±2^14 (clamped after every layer). Returns the largest bound, for the record.
    """
    limit = ACTIVATION_LIMIT << ACTIVATION_BITS
    largest = 0
    for name, value in tensors.items():
        if name.endswith(".weight"):
            sums = np.abs(value.astype(object)).reshape(value.shape[0], -1).sum(axis=1) * limit
            bias = tensors.get(name.removesuffix("weight") + "bias")
            if bias is not None:
                sums = sums + np.abs(bias.astype(object))
            bound = int(max(sums))
        else:
            bound = int(np.abs(value.astype(np.int64)).max(initial=0)) * QUALITY_UNIT
        if bound >= 2**53:
            raise ModelError(f"prior layer {name}: partial sums could reach {bound}, beyond the exact range 2^53")
        largest = max(largest, bound)
    return largest
