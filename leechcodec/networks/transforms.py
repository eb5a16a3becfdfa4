"""Analysis transform g_a and synthesis transform g_s: a pyramid of features down, a pyramid of tokens up.

      x ──unshuffle 4──▶ stride 4 ──▶ 8 ──▶ 16 ──▶ 32 ──▶ 64          analysis: one feature map e_k a scale
                            │e        │e     │e      │e      │e
                            ▼         ▼      ▼       ▼       ▼
                          stage     stage  stage   stage   stage       z = f(e, s) ─▶ quantize ─▶ ĉ
                            │ĉ        │ĉ     │ĉ      │ĉ      │ĉ         s ← s + gain(s) · W ĉ
      x̂ ◀─shuffle 4── s_4 ◀─── s_8 ◀─── s_16 ◀── s_32 ◀── s_64 ◀── constant

The synthesis state s starts from a constant at stride 64. At every scale token stages and residual blocks take
turns; a pixel shuffle leads to the next scale. Every stage codes what the state does not say yet, so this is
residual quantization of the image in feature space, coarse to fine (next-scale autoregression). Large images are
worked on in tiles (tiling.py); maps at stride 4 are never whole then.
"""

import copy
import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leechcodec.config import MAX_QUALITY, MIN_QUALITY, STRIDES, ModelConfig
from leechcodec.networks.shapes import RESIDUAL_LIMIT, RESIDUAL_REACH
from leechcodec.networks.shortcuts import AnalysisShortcuts, PictureShortcuts
from leechcodec.networks.tiling import tiled

ChooseCodes = Callable[[int, Tensor], Tensor | None]
"""choose_codes(stage, state): the codes of one stage.

stage: its number, coarse to fine.
state: (B, channels, h, w), what the synthesis knows so far.
Returns codes (n, dim, h, w) as float scaled to unit mean square, n <= B: of the batch's first images alone where not
all are sent the stage. None where no image is.
"""


class QualityTable(nn.Module):
    """A vector per quality: linear interpolation between knots, all zero at first.

    q: (B, knots) from :func:`knot_weights`, or the vectors of all tables. Returns (B, channels, 1, 1).
    """

    def __init__(self, knots: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(knots, channels))

    def forward(self, q: "Quality") -> Tensor:
        vectors = q.of(self) if isinstance(q, QualityVectors) else q @ self.table
        return vectors[:, :, None, None]


class QualityVectors:
    """The vectors of all tables within some modules, made in one product. A batch has some sixty tables, and a product
    for each would be sixty small ones, and sixty more on the way back.

    weights: (B, knots) from :func:`knot_weights`.
    """

    def __init__(self, weights: Tensor, *modules: nn.Module) -> None:
        tables = [part for module in modules for part in module.modules() if isinstance(part, QualityTable)]
        vectors = weights @ torch.cat([part.table for part in tables], 1)
        self._vectors = dict(zip(tables, vectors.split([part.table.shape[1] for part in tables], 1), strict=True))
        self._images: slice | None = None

    def of(self, table: QualityTable) -> Tensor:
        """(B, channels)."""
        vectors = self._vectors[table]
        return vectors if self._images is None else vectors[self._images]

    def __getitem__(self, images: slice) -> "QualityVectors":
        """Those of a batch's first images, [:n]."""
        part = copy.copy(self)
        part._images = images
        return part


Quality = Tensor | QualityVectors
"""What tells a layer the qualities of its batch: (B, knots) from :func:`knot_weights`, or the vectors that the tables
have for them."""


def knot_weights(quality: Tensor, knots: int) -> Tensor:
    """Hat-function weights of the dial's values: quality (B,) in 1..100 -> float32 (B, knots), rows sum to 1."""
    position = (quality.float() - MIN_QUALITY) / (MAX_QUALITY - MIN_QUALITY) * (knots - 1)
    distance = (position[:, None] - torch.arange(knots, device=quality.device)).abs()
    return (1 - distance).clamp(min=0)


class ResidualBlock(nn.Module):
    """x + clamp(conv(gelu(scale(q) · norm(conv(x)) + bias(q)))); the second convolution starts near zero.

    norm: zero mean and unit variance over the channels of each position (layer norm). Without it the hidden units of
    ten blocks in seventeen went far below zero within the first thousand steps, where GELU has no slope, and stayed.
    """

    def __init__(self, channels: int, knots: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.scale = QualityTable(knots, channels)
        self.bias = QualityTable(knots, channels)
        nn.init.normal_(self.conv2.weight, std=0.1 / (9 * channels) ** 0.5)

    REACH = RESIDUAL_REACH
    """Positions that it looks at on either side."""

    def forward(self, x: Tensor, q: Quality) -> Tensor:
        hidden = _normalised(self.conv1(x)) * (1 + self.scale(q)).to(x.dtype) + self.bias(q).to(x.dtype)
        change = self.conv2(F.gelu(hidden, approximate="tanh"))
        return x + F.hardtanh(change, -RESIDUAL_LIMIT, RESIDUAL_LIMIT)  # clamp's gradient takes four passes


def _normalised(x: Tensor) -> Tensor:
    """Layer norm over the channels of every position, (B, C, h, w)."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


class AnalysisTransform(nn.Module):
    """Image to one feature map a scale."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        widths, counts, knots = config.channels[::-1], config.analysis_blocks[::-1], config.quality_knots
        self.stem = nn.Conv2d(48, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList(ResidualBlock(width, knots) for _ in range(count)) for width, count in zip(widths, counts)
        )
        self.shortcuts = AnalysisShortcuts(config) if config.shortcuts else None

    def forward(self, x: Tensor, q: Quality) -> dict[int, Tensor]:
        """Features of every scale that has token stages, by its index: (B, channels, H / stride, W / stride).

        x: (B, 3, H, W), float in -1..1 or uint8, H and W multiples of 64. q: the batch's qualities.
        """
        features, done, picture = {}, len(STRIDES), x
        for scale in reversed(range(len(STRIDES))):
            if self.config.stages[scale] or scale == 0:
                # From the image, or the map of the scale kept last, to this one: what lies between is not kept.
                x = self._reduced(x, q, range(done - 1, scale - 1, -1), from_image=done == len(STRIDES))
                if self.shortcuts is not None and scale < len(self.shortcuts):
                    x = self.shortcuts.add_to(x, picture, scale)
                features[scale], done = x, scale
        return features

    def _reduced(self, x: Tensor, q: Quality, scales: range, from_image: bool) -> Tensor:
        def function(part: Tensor, _: slice) -> Tensor:
            for scale in scales:
                level = len(STRIDES) - 1 - scale
                if level:
                    part = self.down[level - 1](part)
                else:
                    part = part if part.is_floating_point() else part.float() / 127.5 - 1
                    part = self.stem(F.pixel_unshuffle(part, STRIDES[-1]))
                for block in self.blocks[level]:
                    part = block(part, q)
            return part

        down = STRIDES[scales[-1]] // (1 if from_image else STRIDES[scales[0] + 1])
        reach = 0  # in rows of x
        for scale in scales:
            level = len(STRIDES) - 1 - scale
            stride = STRIDES[scale] // (1 if from_image else STRIDES[scales[0] + 1])
            reach += stride * (ResidualBlock.REACH * len(self.blocks[level]) + (level == 0))
        return tiled(function, x, halo=-(-reach // down) * down, down=down)


class TokenStage(nn.Module):
    """One token per position: z from the encoder, and what the decoder adds to its state, gain · W ĉ."""

    def __init__(self, channels: int, dim: int, knots: int, gain: float) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(2 * channels, channels, 1)
        self.hidden_bias = QualityTable(knots, channels)
        self.to_z = nn.Conv2d(channels, dim, 1)
        self.embed = nn.Conv2d(dim, channels, 1, bias=False)
        self.gain = nn.Conv2d(channels, channels, 1)
        self.gain_bias = QualityTable(knots, channels)
        nn.init.constant_(self.gain.bias, math.log(math.expm1(gain)))

    def encode(self, feature: Tensor, state: Tensor, q: Quality) -> Tensor:
        """z, (B, dim, h, w): the direction to quantize, of any length."""
        hidden = self.hidden(torch.cat([feature, state], 1)) + self.hidden_bias(q).to(state.dtype)
        return self.to_z(F.gelu(hidden, approximate="tanh"))

    def decode(self, state: Tensor, codes: Tensor, q: Quality) -> Tensor:
        """The state with the token added. codes: (B, dim, h, w), scaled to unit mean square."""
        gain = F.softplus(self.gain(state) + self.gain_bias(q).to(state.dtype))
        return state + gain * self.embed(codes.to(state.dtype))


class SynthesisTransform(nn.Module):
    """Tokens to image. One loop, :meth:`forward`, serves training, encoding and decoding alike: its caller chooses the
    codes of each stage."""

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        widths, knots = config.channels, config.quality_knots
        self.constant = nn.Parameter(torch.zeros(widths[0]))
        self.constant_bias = QualityTable(knots, widths[0])
        # A nearest codeword leaves 0.63 of a uniform direction's length: each stage of a scale starts that much finer.
        self.stages = nn.ModuleList(
            TokenStage(widths[scale], dim, knots, 0.63 ** (number + 1))
            for scale, count in enumerate(config.stages)
            for number in range(count)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(ResidualBlock(width, knots) for _ in range(sum(counts)))
            for width, counts in zip(widths, config.synthesis_blocks)
        )
        self.up = nn.ModuleList(nn.Conv2d(a, 4 * b, 1) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv2d(widths[-1], 48, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.1 / (9 * widths[-1]) ** 0.5)
        self.shortcuts = PictureShortcuts(config) if config.shortcuts else None

    def forward(
        self,
        height: int,
        width: int,
        q: Quality,
        choose_codes: ChooseCodes,
        stages: int | None = None,
        in_place: bool = False,
    ) -> Tensor | None:
        """Reconstruct images.

        height, width: of the images in pixels, multiples of 64.
        q: the batch's qualities.
        choose_codes: is given the number and the state of each stage and returns its codes.
        stages: leave after so many, without the picture: an encoder that only wants codes needs no more.
        in_place: a state may be overwritten once its codes are chosen.
        Returns (B, 3, height, width), about -1..1, or None.
        """
        constant = self.constant[None, :, None, None] + self.constant_bias(q)
        state, index = constant.repeat(1, 1, height // STRIDES[0], width // STRIDES[0]), 0
        last, drawn = max(self.config.stage_scales), None
        for scale in range(last + 1):
            if scale:
                state = tiled(partial(self._upsample, scale), state, up=2)
            done, stages_here = 0, self.config.stages[scale]
            for count in self.config.synthesis_blocks[scale]:
                if stages_here:
                    codes = choose_codes(index, state)
                    if codes is not None:
                        state = tiled(partial(self._add_tokens, index, codes, q), state, in_place=in_place)
                    index += 1
                if index == stages:
                    return None
                for block in self.blocks[scale][done : done + count]:
                    state = tiled(partial(_apply, block, q), state, halo=ResidualBlock.REACH, in_place=in_place)
                done += count
            if self.shortcuts is not None and scale < len(self.shortcuts):
                drawn = self.shortcuts.draw(drawn, state, scale)
        x_hat = tiled(partial(self._picture, last, q), state, halo=self._reach(last), up=STRIDES[last])
        if drawn is None or self.shortcuts is None:
            return x_hat
        return self.shortcuts.finish(drawn, len(self.shortcuts) - 1) + x_hat

    def _upsample(self, scale: int, part: Tensor, _: slice) -> Tensor:
        return F.pixel_shuffle(self.up[scale - 1](part), 2)

    def _add_tokens(self, stage: int, codes: Tensor, q: Quality, part: Tensor, rows: slice) -> Tensor:
        count, decode = len(codes), self.stages[stage].decode
        if count == len(part):
            return decode(part, codes[:, :, rows], q)
        return torch.cat([decode(part[:count], codes[:, :, rows], q[:count]), part[count:]])

    def _picture(self, last: int, q: Quality, part: Tensor, _: slice) -> Tensor:
        """From the finest scale with tokens to pixels."""
        for scale in range(last + 1, len(STRIDES)):
            part = self._upsample(scale, part, _)
            for block in self.blocks[scale]:
                part = block(part, q)
        return F.pixel_shuffle(self.head(part), STRIDES[-1])

    def _reach(self, last: int) -> int:
        """Positions of that scale that a pixel looks at on either side."""
        reach = STRIDES[-1] + sum(
            ResidualBlock.REACH * len(self.blocks[scale]) * STRIDES[scale] for scale in range(last + 1, len(STRIDES))
        )
        return -(-reach // STRIDES[last])


def _apply(block: ResidualBlock, q: Quality, part: Tensor, _: slice) -> Tensor:
    return block(part, q)
