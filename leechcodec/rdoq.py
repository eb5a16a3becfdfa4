"""Rate–distortion optimised quantization: try the second nearest codeword, keep it where the file gets better.

codes ─▶ g_s, prior ─▶ λ·255²·(x - x̂)² a pixel, bits a token ─▶ sums around every token ─┐
  ▲                                                                                       ▼
  └── a stage's second nearest codewords, one token in four at a time ──────────────── better? keep

The analysis transform guesses each codeword from the image; what a codeword costs and what it repairs is only known
when the picture is made. The search measures it, stage by stage, finest first. The files are ordinary files: a decoder
cannot tell. Sullivan and Wiegand, "Rate-Distortion Optimization for Video Compression", 1998, for the idea.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.errors import ConfigError
from leechcodec.model import CodecModel
from leechcodec.prior import FloatView, Prior, drive
from leechcodec.transforms import TokenStage, knot_weights

SWEEPS = {1: 0, 2: 0.08, 3: 0.16, 4: 0.25, 5: 0.4, 6: 0.6, 7: 0.8, 8: 1, 9: 2}
"""Share of a file's stages searched at an effort 1..9, counted from the finest; 2: all, twice."""
PITCH = 2
"""One token in PITCH² is tried at a time, on a grid, so that their surroundings overlap little."""
WORTH = 0.05
"""Bits that a change must save, above what rounding could feign."""
Progress = Callable[[int, int], None]


def stages_searched(effort: int, stages: int) -> int:
    """How many of so many stages an effort searches, rounded up. Raises ConfigError for an effort that is none."""
    if effort not in SWEEPS:
        raise ConfigError(f"effort must be a whole number from 1 to 9, got {effort}")
    return math.ceil(SWEEPS[effort] * stages)


@torch.inference_mode()
def refine(
    networks: CodecModel,
    x: Tensor,
    quality: float,
    codes: list[Tensor],
    *,
    effort: int,
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> list[Tensor]:
    """Better codes for one image.

    x: (1, 3, H, W) in -1..1, H and W multiples of 64. codes: of ``CodecModel.encode``, int8 (1, dim, h, w) a stage.
    effort: 1 (nothing) to 9. size: (height, width) of the image proper, where errors count. progress: called with
    (stages searched, stages to search). Returns codes like those given; the loss lambda·255²·MSE + bits, with the
    prior in floating point, never rises but for rounding.
    """
    searches = stages_searched(effort, len(codes))
    if not searches:
        return codes
    costs = _Costs(networks, x, quality, size or x.shape[2:])
    codes = [code.float() for code in codes]
    current = costs.measure(codes)
    for number in range(searches):
        stage = len(codes) - 1 - number % len(codes)
        shape = codes[stage].shape
        flat = codes[stage].permute(0, 2, 3, 1).reshape(-1, shape[1])
        second = networks.quantizer.runner_up(costs.z(stage), flat.to(torch.int8)).float()
        second = second.reshape(1, *shape[2:], shape[1]).permute(0, 3, 1, 2)
        for phase in range(PITCH**2):
            chosen = torch.zeros(1, 1, *shape[2:], dtype=torch.bool)
            chosen[:, :, phase // PITCH :: PITCH, phase % PITCH :: PITCH] = True
            if not chosen.any():
                continue
            trial = list(codes)
            trial[stage] = torch.where(chosen, second, codes[stage])
            tried = costs.measure(trial, stage, keep=False)
            better = chosen & (around(*tried, shape[2]) < around(*current, shape[2]) - WORTH)
            if better.any():
                codes[stage] = torch.where(better, second, codes[stage])
                current = costs.measure(codes, stage)
        if progress:
            progress(number + 1, searches)
    return [code.to(torch.int8) for code in codes]


def around(pixels: Tensor, tokens: list[Tensor], height: int) -> Tensor:
    """Bits in the 3 x 3 cells around each cell of a grid of that height: (B, 1, height, w).

    pixels: (B, 1, H, W). tokens: (B, 1, h, w) a stage.
    """
    total = _resampled(pixels, height) + sum(_resampled(bits, height) for bits in tokens)
    return F.avg_pool2d(F.pad(total, (1, 1, 1, 1)), 3, 1) * 9


def _resampled(bits: Tensor, height: int) -> Tensor:
    """Bits (B, 1, h, w) summed, or shared out, on a grid of another height."""
    if bits.shape[2] >= height:
        factor = bits.shape[2] // height
        return F.avg_pool2d(bits, factor) * factor**2
    factor = height // bits.shape[2]
    return F.interpolate(bits, scale_factor=factor) / factor**2


class _Costs:
    """What codes cost, in bits: the error of every pixel and the rate of every token."""

    def __init__(self, networks: CodecModel, x: Tensor, quality: float, size: tuple[int, int]) -> None:
        self.networks, self.x = networks, x
        self.quality = x.new_tensor([quality])
        self.weights = knot_weights(self.quality, networks.config.quality_knots)
        self.features = networks.analysis(x, self.weights)
        self.scale = torch.zeros(1, 1, *x.shape[2:])
        self.scale[:, :, : size[0], : size[1]] = networks.config.lmbda(quality) * 255**2 / 4
        self.states: dict[int, Tensor] = {}
        self.view = _MemoView(networks.prior, self.quality)

    def measure(self, codes: list[Tensor], first: int = 0, keep: bool = True) -> tuple[Tensor, list[Tensor]]:
        """Bits of pixels (1, 1, H, W), and of tokens (1, 1, h, w) a stage.

        Only stages from first on differ from those measured last. keep: these codes are the new state of things.
        """

        def answer(index: int, stage: TokenStage, state: Tensor) -> Tensor | None:
            if index >= len(codes):
                return None
            if keep:
                self.states[index] = state
            return codes[index] * self.networks.code_scale

        start = (first, self.states[first]) if first in self.states else None
        x_hat = self.networks.synthesis(*self.x.shape[2:], self.weights, answer, start=start)
        errors = (x_hat.clamp(-1, 1) - self.x).square().mean(1, keepdim=True) * self.scale
        return errors, self._bits(codes)

    def z(self, stage: int) -> Tensor:
        """What the encoder would quantize at that stage now: (h·w, dim)."""
        feature = self.features[self.networks.config.stage_scales[stage]]
        z = self.networks.synthesis.stages[stage].encode(feature, self.states[stage], self.weights)
        return self.networks.quantizer.project(z.permute(0, 2, 3, 1)).reshape(-1, z.shape[1])

    def _bits(self, codes: list[Tensor]) -> list[Tensor]:
        quantizer, view = self.networks.quantizer, self.view
        maps = [torch.zeros(1, 1, *code.shape[2:]) for code in codes]

        def bits_of(params: Tensor, code: Tensor) -> Tensor:
            rows = params.permute(0, 2, 3, 1).reshape(-1, quantizer.dim, quantizer.params_per_coordinate)
            flat = code.permute(0, 2, 3, 1).reshape(-1, quantizer.dim)
            return quantizer.bits_of(rows, flat).reshape(1, 1, *code.shape[2:])

        def answer(stage: int, mask: Tensor | None, params: Tensor) -> Tensor | None:
            if stage >= len(codes):
                return None
            bits = view.memo(bits_of, params, codes[stage])
            if mask is None:
                maps[stage] = bits
                return codes[stage]
            maps[stage] = maps[stage] + bits * mask
            return view.memo(lambda code: code * mask, codes[stage])

        view.begin()
        drive(self.networks.prior.walk(view, *self.x.shape[2:]), answer)
        return maps


class _MemoView(FloatView):
    """A float view that computes nothing twice: an operation whose inputs are the very tensors of the walk before
    returns that walk's result. What follows a changed code is computed anew, what precedes it is not."""

    def __init__(self, prior: Prior, quality: Tensor) -> None:
        super().__init__(prior, quality)
        self.results: list[tuple[tuple[Tensor, ...], Tensor]] = []
        self.position = 0

    def begin(self) -> None:
        """Go back to the first operation."""
        self.position = 0

    def memo(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """function(*inputs), the next operation of the walk."""
        position, self.position = self.position, self.position + 1
        if position < len(self.results):
            known, result = self.results[position]
            if all(a is b for a, b in zip(known, inputs, strict=True)):
                return result
            self.results[position] = (inputs, function(*inputs))
        else:
            self.results.append((inputs, function(*inputs)))
        return self.results[position][1]

    def constant(self, name: str, height: int, width: int) -> Tensor:
        return self.memo(partial(super().constant, name, height, width))

    def conv(self, name: str, x: Tensor) -> Tensor:
        return self.memo(partial(super().conv, name), x)

    def add_quality(self, name: str, x: Tensor) -> Tensor:
        return self.memo(partial(super().add_quality, name), x)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return self.memo(super().add, x, y)

    def activate(self, x: Tensor) -> Tensor:
        return self.memo(super().activate, x)

    def shuffle(self, x: Tensor) -> Tensor:
        return self.memo(super().shuffle, x)

    def from_codes(self, codes: Tensor, shift: int) -> Tensor:
        return self.memo(partial(super().from_codes, shift=shift), codes)
