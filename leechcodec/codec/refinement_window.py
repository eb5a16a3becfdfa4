"""A part of an image while its tokens are refined (refinement.py): offsets go in, what their codes cost comes out.

e, state ─▶ z ─(+)─▶ quantize ─▶ codes ─▶ g_s, prior ─▶ λ·D(x, x̂), bits, of the whole and of every block
▲               ▲                                           │     │
│            offsets ◀──────── gradient, straight through ──┼─────┘
└── a second look: e = g_a(x + α (x - x̂)) ◀──── x̂ ──────────┘
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from leechcodec.codec.efforts import Box
from leechcodec.codec.refinement_distortion import Distortion, Proper
from leechcodec.config import ALIGNMENT, STRIDES
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.model import CodecModel
from leechcodec.networks.transforms import TokenStage, knot_weights

COMMITMENT, OWN_COMMITMENT = (12.0, 10.0), (4.0, 8.0)
"""Bits for a z one codeword's length away from its code, at low and at high qualities: without them z drifts to where
codes flicker. The first counts what a token does to the z of finer stages too, the second its own alone."""
COMMITMENT_QUALITIES = 40.0, 65.0
"""Where low ends and high begins; between them the two change in a straight line."""
EXAGGERATION = 0.15
"""alpha of the second look: the share of what is missing that is shown on top of the picture."""


@dataclass(frozen=True)
class Measured:
    """What the codes that a window's offsets lead to cost.

    blocks: lambda·D + bits of every block of 64 x 64 pixels, (rows, columns), in bits. D is of each block alone.
    codes: int8 (1, dim, h, w) per stage.
    x_hat: the window's picture, (1, 3, H, W), -1..1.
    gradients: of lambda·D, bits and commitment of the window as a whole with respect to every stage's offsets, in bits
        an integer unit, (1, h, w, dim) per stage; none where they were not asked for.
    """

    blocks: Tensor
    codes: list[Tensor]
    x_hat: Tensor
    gradients: Sequence[Tensor] = ()


class Window:
    """A tile and its margin, cut out of the image.

    networks: fixed.
    x: (1, 3, H, W), float in -1..1 or uint8.
    quality: the dial, 1..100.
    codes: int8 (1, dim, h, w) per stage, of the image. Those in the margin stay.
    size: (height, width) of the image proper, where errors count.
    """

    def __init__(
        self,
        networks: CodecModel,
        x: Tensor,
        quality: float,
        codes: list[Tensor],
        tile: Box,
        size: tuple[int, int],
    ) -> None:
        self.networks = networks
        self.box = tile.widened(*x.shape[2:])
        rows, columns = self.box.at(1)
        part = x[:, :, rows, columns].clone()
        self.x = part if part.is_floating_point() else part.float() / 127.5 - 1
        self.quality = self.x.new_tensor([quality])
        self.weights = knot_weights(self.quality, networks.config.quality_knots)
        with torch.no_grad():
            self._first_features = networks.analysis(self.x, self.weights)
        self.features = self._first_features
        self.lmbda = networks.config.lmbda(quality)
        self.commitments = [
            float(np.interp(quality, COMMITMENT_QUALITIES, bits)) for bits in (COMMITMENT, OWN_COMMITMENT)
        ]
        self.layout = TokenLayout(networks.config, quality, (self.x.shape[2], self.x.shape[3]))
        self._proper = Proper(self.x, self.box, size)
        self._distortion = Distortion(self._proper.picture(self.x))
        self._block_distortion = Distortion(_blocks(self.x, ALIGNMENT))
        self.strides = [STRIDES[scale] for scale in networks.config.stage_scales[: len(codes)]]
        self.codes: list[Tensor] = []
        self.moves: list[Tensor] = []
        self.offsets: list[Tensor] = []
        for stage, (code, stride) in enumerate(zip(codes, self.strides, strict=True)):
            code = code[:, :, *self.box.at(stride)].float()
            moves = torch.zeros(code.shape[2:], dtype=torch.bool, device=code.device)
            moves[tile.inside(self.box).at(stride)] = True
            sent = self.layout.mask(stage)
            if sent is not None:
                moves &= torch.as_tensor(sent, device=code.device)
            self.codes.append(code)
            self.moves.append(moves)
            self.offsets.append(code.new_zeros(1, *code.shape[2:], code.shape[1], requires_grad=True))

    def measure(self, *, gradients: bool = True) -> Measured:
        """What it costs where the offsets are now, and the gradients of it.

        Those of D by the picture and of the bits by the codes come first, each by itself: so there are never two of
        their graphs beside the transforms'.
        """
        moved, found = _MovedCodes(self), ()
        with torch.set_grad_enabled(gradients):
            x_hat = self._picture(moved)
            slope = self.lmbda * self._proper.slope(self._distortion, x_hat.detach()) if gradients else None
            token_bits, slopes = self._rates(moved, gradients)
            if gradients:
                outputs, towards = [x_hat, moved.commitment(), *moved.straight], [slope, None, *slopes]
                found = torch.autograd.grad(outputs, self.offsets, towards)
        with torch.no_grad():
            return Measured(self._block_losses(x_hat, token_bits), moved.integers, x_hat.detach(), found)

    @torch.no_grad()
    def current_codes(self) -> list[Tensor]:
        """Where the offsets are now: int8 (1, dim, h, w) per stage."""
        moved = _MovedCodes(self)
        self._picture(moved)
        return moved.integers

    @torch.no_grad()
    def look_again(self, x_hat: Tensor) -> None:
        """Show the encoder what its codes have missed so far: x + alpha (x - x_hat) in place of x."""
        self.features = self.networks.analysis(self.x + EXAGGERATION * (self.x - x_hat), self.weights)

    @torch.no_grad()
    def take_back(self, blocks: Tensor) -> None:
        """What the encoder saw at first, in these blocks again. blocks: bool (rows, columns)."""
        for scale, first in self._first_features.items():
            self.features[scale] = torch.where(spread(blocks, first.shape[2]), first, self.features[scale])

    def _picture(self, moved: "_MovedCodes") -> Tensor:
        with self._precision():
            x_hat = cast(Tensor, self.networks.synthesis(*self.x.shape[2:], self.weights, moved.choose_codes))
        return x_hat.float().clamp(-1, 1)

    def _rates(self, moved: "_MovedCodes", gradients: bool) -> tuple[list[Tensor], Sequence[Tensor]]:
        """Bits of the tokens of each stage, and the gradients of their sum by the codes if these are wanted."""
        codes = [code.detach().requires_grad_(gradients) for code in moved.straight]
        with self._precision():
            corner = self.box.top, self.box.left
            rates = self.networks.rates(codes, self.quality, *self.x.shape[2:], layout=self.layout, corner=corner)
        slopes = torch.autograd.grad(rates.bits.sum(), codes) if gradients else ()
        return [each.detach() for each in rates.token_bits], slopes

    def _precision(self) -> torch.autocast:
        kind = self.x.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=kind == "cpu" and _bf16_is_fast())

    def _block_losses(self, x_hat: Tensor, token_bits: list[Tensor]) -> Tensor:
        rows, columns = (side // ALIGNMENT for side in self.x.shape[2:])
        distortions = self._block_distortion(_blocks(self._proper.seen(x_hat), ALIGNMENT))
        loss = self.lmbda * ALIGNMENT**2 * distortions.reshape(rows, columns)
        for bits, stride in zip(token_bits, self.strides, strict=True):
            loss = loss + _block_sums(bits[0], ALIGNMENT // stride)
        return loss


class _MovedCodes:
    """The codes that a window's offsets lead to: with a straight-through gradient, and as integers.

    An offset is added to what the encoder answers in the new state, so finer stages follow what coarser ones change.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.straight: list[Tensor] = []
        self.integers: list[Tensor] = []
        self._answers: list[Tensor] = []

    def commitment(self) -> Tensor:
        """The pull of every z towards its code, in bits."""
        window, quantizer = self.window, self.window.networks.quantizer
        through, own = window.commitments
        bits = window.x.new_zeros(())
        for answer, offset, code, moves in zip(self._answers, window.offsets, self.integers, window.moves, strict=True):
            for weight, start in ((through, answer), (own, answer.detach())):
                far = quantizer.project(start + offset) - code.permute(0, 2, 3, 1)
                bits = bits + weight * (far.square().sum(-1) * moves).sum() / quantizer.norm_squared
        return bits

    def choose_codes(self, stage: int, state: Tensor) -> Tensor | None:
        window, networks = self.window, self.window.networks
        if stage >= len(window.codes):
            return None
        feature = window.features[networks.config.stage_scales[stage]]
        layers = cast(TokenStage, networks.synthesis.stages[stage])
        answer, offset = layers.encode(feature, state, window.weights).permute(0, 2, 3, 1), window.offsets[stage]
        integers, straight = networks.quantizer.quantize(answer + offset, check=False)
        code, moves = window.codes[stage], window.moves[stage]
        self._answers.append(answer)
        self.straight.append(torch.where(moves, straight.permute(0, 3, 1, 2), code))
        self.integers.append(torch.where(moves, integers.permute(0, 3, 1, 2), code.to(torch.int8)))
        return self.straight[-1] * networks.code_scale


def spread(blocks: Tensor, height: int) -> Tensor:
    """A value per block as one per position: (rows, columns) -> (height, width) of a map that so many rows high."""
    times = height // blocks.shape[0]
    return blocks.repeat_interleave(times, 0).repeat_interleave(times, 1)


def _block_sums(values: Tensor, side: int) -> Tensor:
    """Sums over squares of a map: (h, w) -> (h / side, w / side)."""
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side).sum((1, 3))


def _blocks(images: Tensor, side: int) -> Tensor:
    """Squares of an image as a batch, in rows: (1, C, H, W) -> (n, C, side, side)."""
    squares = images.unfold(2, side, side).unfold(3, side, side)
    return squares.permute(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1], side, side)


def _bf16_is_fast() -> bool:
    """Whether this processor multiplies bf16 itself. (torch before 2.9 cannot tell: then it is taken not to.)"""
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
