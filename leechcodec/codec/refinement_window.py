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
from leechcodec.config import ALIGNMENT, STRIDES
from leechcodec.networks.gaussian import WINDOW
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.model import CodecModel
from leechcodec.networks.ms_ssim import PER_SQUARED_ERROR, ms_ssim
from leechcodec.networks.ssimulacra2 import PER_SSIMULACRA2, ssimulacra2_distance
from leechcodec.networks.transforms import TokenStage, knot_weights

COMMITMENT, OWN_COMMITMENT = (12.0, 10.0), (4.0, 8.0)
"""Bits for a z one codeword's length away from its code, at low and at high qualities: without them z drifts to where
codes flicker. The first counts what a token does to the z of finer stages too, the second its own alone."""
COMMITMENT_QUALITIES = 40.0, 65.0
"""Where low ends and high begins; between them the two change in a straight line."""
EXAGGERATION = 0.15
"""alpha of the second look: the share of what is missing that is shown on top of the picture."""
SIMILARITY, SSIMULACRA2 = 0.2, 0.07
"""Shares of the distortion D: squared error alone would take its gains from faint texture."""


@dataclass(frozen=True)
class Measured:
    """What the codes that a window's offsets lead to cost.

    loss: lambda·D + bits of the window, in bits.
    blocks: the same of every block of 64 x 64 pixels, (rows, columns). Their MS-SSIM and SSIMULACRA2 are of each
        block alone, so that they do not add up to the whole.
    codes: int8 (1, dim, h, w) per stage.
    x_hat: the window's picture, (1, 3, H, W), -1..1.
    gradients: of the loss and the commitment with respect to every stage's offsets, in bits an integer unit,
        (1, h, w, dim) per stage; none where they were not asked for.
    """

    loss: float
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
        bottom, right = (min(end, image) for end, image in zip(self.box[1::2], size, strict=True))
        self.shown = slice(0, bottom - self.box.top), slice(0, right - self.box.left)
        """Rows and columns of the image proper."""
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
        """The loss where the offsets are now, and its gradients."""
        networks, moved = self.networks, _MovedCodes(self)
        height, width = self.x.shape[2:]
        kind = self.x.device.type
        with torch.set_grad_enabled(gradients):
            with torch.autocast(kind, torch.bfloat16, enabled=kind == "cpu" and _bf16_is_fast()):
                x_hat = cast(Tensor, networks.synthesis(height, width, self.weights, moved.choose_codes))
                stage_bits, token_bits, _ = networks.rates(
                    moved.straight, self.quality, height, width, layout=self.layout
                )
            x_hat = x_hat.float().clamp(-1, 1)
            loss = self._distortion(x_hat) + stage_bits.sum()
            found: Sequence[Tensor] = ()
            if gradients:
                found = torch.autograd.grad(loss + moved.commitment(), self.offsets)
        with torch.no_grad():
            blocks = self._block_losses(x_hat, token_bits)
        return Measured(loss.item(), blocks, moved.integers, x_hat.detach(), found)

    @torch.no_grad()
    def look_again(self, x_hat: Tensor) -> None:
        """Show the encoder what its codes have missed so far: x + alpha (x - x_hat) in place of x."""
        self.features = self.networks.analysis(self.x + EXAGGERATION * (self.x - x_hat), self.weights)

    @torch.no_grad()
    def take_back(self, blocks: Tensor) -> None:
        """What the encoder saw at first, in these blocks again. blocks: bool (rows, columns)."""
        for scale, first in self._first_features.items():
            self.features[scale] = torch.where(spread(blocks, first.shape[2]), first, self.features[scale])

    def _distortion(self, x_hat: Tensor) -> Tensor:
        """lambda·D of the image proper, in bits."""
        errors = (x_hat - self.x)[:, :, *self.shown]
        squared = 255**2 * errors.square().mean((1, 2, 3)) / 4
        judged = [slice(0, max(WINDOW, part.stop)) for part in self.shown]  # MS-SSIM needs its window
        x, x_hat = (image[:, :, *judged] / 2 + 0.5 for image in (self.x, x_hat))
        return self.lmbda * _distortions(squared, x, x_hat).sum() * errors[0, 0].numel()

    def _block_losses(self, x_hat: Tensor, token_bits: list[Tensor]) -> Tensor:
        side, errors = ALIGNMENT, torch.zeros_like(self.x)
        errors[:, :, *self.shown] = (x_hat - self.x)[:, :, *self.shown]
        squared = 255**2 * _block_sums(errors.square().mean((0, 1)), side) / side**2 / 4
        x, x_hat = (_blocks(image / 2 + 0.5, side) for image in (self.x, self.x + errors))
        loss = self.lmbda * side**2 * _distortions(squared.flatten(), x, x_hat).reshape(squared.shape)
        for bits, stride in zip(token_bits, self.strides, strict=True):
            loss = loss + _block_sums(bits[0], side // stride)
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


def _distortions(squared: Tensor, x: Tensor, x_hat: Tensor) -> Tensor:
    """D of each image, in units of 255² · MSE: squared (n,) in these, x and x_hat (n, 3, H, W) in 0..1."""
    unlike, distance = PER_SQUARED_ERROR * (1 - ms_ssim(x, x_hat)), PER_SSIMULACRA2 * ssimulacra2_distance(x, x_hat)
    return squared + SIMILARITY * (unlike - squared) + SSIMULACRA2 * (distance - squared)


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
