"""The autoregressive prior: a probability for the next token, from the tokens before it and nothing else.

      constant ─▶ h_64 ──────────▶ h_32 ──────────▶ h_16 ──────────▶ h_8          (1x1 convolution, pixel shuffle)
                  │ ▲              │ ▲              │ ▲              │ ▲
        head(h) ◀─┘ │ embed(c)     ┆                ┆                ┆            stage by stage, then a block
        params  ──▶ c                                                             of two 3x3 convolutions

A second small network beside the synthesis transform, of the same coarse-to-fine shape, fed by the integer
codewords. Every stage's parameters depend on all stages before it, in the same place and around it. A stage may
also be coded in several passes, each between the positions of those before it (passes.py). Tokens beside each other are
often equal; so a pass may have gates, which raise the scores of the codewords of its four neighbours:

      h, do opposite neighbours agree? ─▶ gates g_1 … g_4 ≥ 0        a ← a + Σ g_k c_k        (c_k: a neighbour's code)

Two views of the same weights run through the same loop, :meth:`Prior.run`:

* :class:`FloatView` for training: ordinary convolutions, any device, bf16 under autocast;
* :class:`~leechcodec.networks.integer_prior.IntegerView` for coding: exact integers, the same on every machine.
"""

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leechcodec.config import ModelConfig
from leechcodec.networks.passes import mask_at, neighbour_offsets
from leechcodec.networks.prior_loop import AGREEMENT, AGREEMENTS, NEIGHBOURS, CodePass, Steps, has_gate, run_stages
from leechcodec.networks.transforms import knot_weights
from leechcodec.quantizers.base import Quantizer
from leechcodec.quantizers.code import MAX_ACTIVATION

FIRST_GATE = 2.0**-6
"""In nats, before training: next to nothing, but with a slope."""


class Prior(nn.Module):
    """Weights of the prior, and the loop over its stages."""

    def __init__(self, config: ModelConfig, quantizer: Quantizer) -> None:
        super().__init__()
        self.config = config
        self.num_params = quantizer.num_params
        self.dim = quantizer.dim
        self.code_shift = quantizer.code_shift
        widths, knots = config.prior_channels, config.quality_knots
        self.constant = nn.Parameter(torch.zeros(widths[0]))
        self.up = nn.ModuleList(nn.Conv2d(a, 4 * b, 1) for a, b in itertools.pairwise(widths))
        self.stages = nn.ModuleList()
        for scale, passes in zip(config.stage_scales, config.passes, strict=True):
            self.stages.append(
                nn.ModuleList(
                    PriorPass(widths[scale], self, knots, has_gate(config, number)) for number in range(passes)
                )
            )

    def run(
        self, view: "Steps", height: int, width: int, code_pass: CodePass, images: Sequence[int] | None = None
    ) -> None:
        """Run a view over all stages, pass by pass: parameters out, codes in.

        height, width: of the image in pixels, multiples of 64.
        code_pass: is given each pass's parameters and returns its codes.
        images: how many of a batch's first images are sent each stage, never more than the one before. The loop goes
            on with those alone and ends where there are none. None: all.
        """
        run_stages(self.config, self.code_shift, view, (height, width), code_pass, images)


class PriorPass(nn.Module):
    """Parameters of one pass: a head, the embedding of what it coded, and a residual block after it.

    It has gates where it has neighbours and the config wants them.
    """

    def __init__(self, channels: int, prior: Prior, knots: int, gated: bool) -> None:
        super().__init__()
        self.quality = nn.Parameter(torch.zeros(knots, channels))
        self.head = nn.Conv2d(channels, prior.num_params, 1)
        self.embed = nn.Conv2d(prior.dim, channels, 1, bias=False)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.conv2.weight, std=0.3 / (9 * channels) ** 0.5)
        nn.init.zeros_(self.head.bias)
        self.gate = nn.Conv2d(channels + AGREEMENTS, NEIGHBOURS, 1) if gated else None
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, FIRST_GATE)


class View(Steps):
    """A number system in which the prior computes: its operations, and the steps of a pass made of them."""

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

    @abstractmethod
    def from_agreements(self, products: Tensor) -> Tensor:
        """Inner products of codes as activations: 1 for two equal codewords of the shell."""

    @abstractmethod
    def limit_gates(self, gates: Tensor) -> Tensor:
        """Gates brought within 0..64 nats."""

    def shuffle(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, 2)

    def upsample(self, name: str, h: Tensor) -> Tensor:
        return self.shuffle(self.conv(name, h))

    def at_quality(self, name: str, h: Tensor) -> Tensor:
        return self.add_quality(name, h)

    def neighbours(self, codes: Tensor, passes: int, number: int) -> Tensor:
        return neighbours(codes, passes, number)

    def params(self, name: str, h: Tensor, around: Tensor | None = None) -> Any:
        """A pass's parameters. around: the codes of every position's neighbours, (B, 4, dim, h, w), if it has gates."""
        seen = self.activate(h)
        params = self.head(f"{name}.head", seen)
        return params if around is None else self.with_repeats(name, params, seen, around)

    def with_repeats(self, name: str, params: Tensor, seen: Tensor, around: Tensor) -> Tensor:
        """Parameters (B, num_params, …) that know which neighbours (B, 4, dim, …) may be repeated: a + Σ g_k c_k.

        seen: the activated map, (B, channels, …). What the dots stand for is the same for all three.
        """
        agreements = self.from_agreements((around[:, 0::2] * around[:, 1::2]).sum(2))
        gates = self.limit_gates(self.head(f"{name}.gate", torch.cat([seen, agreements.to(seen.dtype)], 1)))
        raised = (gates[:, :, None] * around).sum(1)
        by_coordinate = params.unflatten(1, (around.shape[2], -1))
        return torch.cat([by_coordinate[:, :, :1] + raised[:, :, None], by_coordinate[:, :, 1:]], 2).flatten(1, 2)

    def add_tokens(self, name: str, h: Tensor, codes: Tensor, shift: int) -> Tensor:
        h = self.add(h, self.conv(f"{name}.embed", self.from_codes(codes, shift)))
        hidden = self.activate(self.conv(f"{name}.conv1", self.activate(h)))
        return self.add(h, self.conv(f"{name}.conv2", hidden))


def neighbours(codes: Tensor, passes: int, number: int) -> Tensor:
    """The codes of the four neighbours of every position: (B, dim, h, w) -> (B, 4, dim, h, w), zero outside."""
    height, width = codes.shape[2:]
    far = max(abs(step) for step in neighbour_offsets(passes, number)[0])
    padded = F.pad(codes, (far, far, far, far))
    return torch.stack(
        [
            padded[:, :, far + down : far + down + height, far + right : far + right + width]
            for down, right in neighbour_offsets(passes, number)
        ],
        1,
    )


class FloatView(View):
    """The prior in floating point, for training. Parameters are (B, num_params, h, w), in nats.

    Activations have the coder's limit: without it a network may come to need larger ones, and its files are larger than
    training promised.

    quality: (B,) dial values 1..100.
    window: of a larger image these are a part of: its top, left and height in pixels, multiples of 64. Passes go by
        places in the image. None: of no larger one.
    """

    def __init__(self, prior: Prior, quality: Tensor, window: tuple[int, int, int] | None = None) -> None:
        self.prior, self.window = prior, window
        self.weights = knot_weights(quality, prior.config.quality_knots)
        self._watched: list[Tensor] = []

    def params(self, name: str, h: Tensor, around: Tensor | None = None) -> Any:
        if self.prior.constant.requires_grad:  # a prior that is not trained needs no watching
            self._watched.append(h)
        return super().params(name, h, around)

    def peak_and_excess(self) -> tuple[Tensor, Tensor]:
        """Of the maps that passes were asked about, of a trained prior: the largest activation, at most 64, and how far
        they were beyond 32, half the limit, as the sum of squares. Scalars, float32."""
        if not self._watched:
            return self.weights.new_zeros(()), self.weights.new_zeros(())
        largest = torch._foreach_norm([h.detach() for h in self._watched], torch.inf)
        return torch.stack(largest).amax().float(), _Excess.apply(*self._watched)

    def mask(self, height: int, width: int, passes: int, number: int) -> Tensor | None:
        """Made on the device, without a wait."""
        if passes == 1:
            return None
        device = self.weights.device
        rows, columns = (torch.arange(side, device=device) for side in (height, width))
        if self.window is not None:
            top, left, tall = self.window
            rows, columns = rows + top * height // tall, columns + left * height // tall
        return mask_at(rows[:, None], columns[None, :], passes, number)

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

    def from_agreements(self, products: Tensor) -> Tensor:
        return _Limited.apply(products / AGREEMENT)

    def limit_gates(self, gates: Tensor) -> Tensor:
        return _Limited.apply(gates, 0)


class _Excess(torch.autograd.Function):
    """Σ (|x| - 32)² over all |x| above 32 of some maps, float32. As _Limited, it has a backward pass of its own for its
    speed."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        within = torch._foreach_clamp_max(torch._foreach_clamp_min(maps, -MAX_ACTIVATION / 2), MAX_ACTIVATION / 2)
        beyond = torch._foreach_sub(maps, within)
        ctx.save_for_backward(*beyond)
        return torch.stack(torch._foreach_norm(beyond, 2, dtype=torch.float32)).square().sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        beyond = ctx.saved_tensors
        return tuple(torch._foreach_mul(beyond, (2 * grad).to(beyond[0].dtype)))


class _Limited(torch.autograd.Function):
    """Activations brought within ±64. The gradient passes straight through: a unit beyond can come back, and the
    backward pass of torch's own would take as long as the rest of the prior's (bf16 on a CPU)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: int = -MAX_ACTIVATION) -> Tensor:
        return x.clamp(least, MAX_ACTIVATION)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
