"""Refinement: better tokens for one image, by gradient steps at encoding.

    e, state ─▶ z ─(+)─▶ quantize ─▶ codes ─▶ g_s, prior ─▶ λ·D(x, x̂), bits ─┐
                    ▲                                                         │
                 offsets ◀──────────── gradient, straight through ◀───────────┘

The analysis transform has learned to guess good tokens for all images; what a token costs and repairs in this one is
known when the picture is made. Offsets added to every z, zero at first, go down the gradient of this image's loss. The
networks stay as they are and so does the decoder: it cannot tell. Campos et al., "Content Adaptive Optimization for
Neural Image Compression", 2019; Yang, Bamler and Mandt, "Improving Inference for Neural Image Compression", 2020.

Large images are refined in windows: tokens of a tile move, those of a margin around it are as they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from leechcodec.codec.efforts import STEPS, Allowance, Box, steps_in_all, tiles
from leechcodec.config import STRIDES
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.model import CodecModel
from leechcodec.networks.ms_ssim import PER_SQUARED_ERROR, WINDOW, ms_ssim
from leechcodec.networks.torch_transforms import as_arrays, as_batch, as_tensors
from leechcodec.networks.transforms import TokenStage, knot_weights

STEP_SIZE = 0.15
"""Of the first step, in integer units a bit; it falls linearly to zero. Plain descent: momentum, and Adam, carry z past
codes that would have done (docs/experiments.md)."""
COMMITMENT = 20.0
"""Bits for a z one codeword's length away from its code: without it z drifts to where codes flicker."""
SIMILARITY = 0.3
"""Share of the distortion D that is MS-SSIM's: squared error alone would take its gains from faint texture."""
MAX_GRADIENT = 10.0
"""Bits an integer unit: larger entries of a gradient are clipped."""
Progress = Callable[[int, int], None]


def refine(
    networks: CodecModel,
    x: Tensor,
    quality: float,
    codes: list[Tensor],
    *,
    effort: int,
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> list[Tensor]:
    """Better codes for one image.

    x: (1, 3, H, W), float in -1..1 or uint8, H and W multiples of 64.
    quality: the dial, 1..100.
    codes: of ``CodecModel.encode``, int8 (1, dim, h, w) per stage.
    effort: 1 (nothing) to 9.
    size: (height, width) of the image proper, where errors count.
    progress: called with (steps done, steps in all).
    deadline: by time.monotonic(), when the last step is to be done. Every tile gets its share of the time left, and as
        many steps as fit; so the codes depend on how fast the machine is just then.

    Returns codes like those given: tile by tile, of all those tried those of the least loss in its window. The loss is
    lambda·D + bits, D = 0.7 · 255² · MSE + 0.3 · 1300 · (1 - MS-SSIM), with the prior in floating point.
    """
    height, width = x.shape[2:]
    steps, done = steps_in_all(effort, height, width), 0
    if not steps:
        return codes

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, steps)

    with torch.inference_mode(False):
        codes = [code.clone() for code in codes]  # not the caller's, and not made in inference mode
        parts = list(tiles(Box(0, height, 0, width)))
        for number, tile in enumerate(parts):
            allowance = Allowance(STEPS[effort], deadline, len(parts) - number)
            if allowance.is_used_up:
                break
            window = _Window(networks, x, quality, codes, tile, size or (height, width))
            better = window.descend(allowance, step)
            for code, found, scale in zip(codes, better, networks.config.stage_scales):
                rows, columns = tile.at(STRIDES[scale])
                code[:, :, rows, columns] = found[:, :, *tile.inside(window.box).at(STRIDES[scale])]
    return codes


def refine_arrays(
    networks: CodecModel, pixels: np.ndarray, quality: float, codes: Sequence[np.ndarray], **options: Any
) -> list[np.ndarray]:
    """:func:`refine` of arrays: pixels uint8 (1, 3, H, W), codes int8 (h, w, dim) per stage."""
    device = networks.synthesis.constant.device
    with torch.inference_mode():
        given = [code.to(device) for code in as_tensors(codes)]
        return as_arrays(refine(networks, as_batch(pixels).to(device), quality, given, **options))


class _Window:
    """A tile and its margin, cut out of the image: codes go in, better ones come out."""

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
            self.features = networks.analysis(self.x, self.weights)
        self.lmbda = networks.config.lmbda(quality)
        self.layout = TokenLayout(networks.config, quality, (self.x.shape[2], self.x.shape[3]))
        bottom, right = (min(end, image) for end, image in zip(self.box[1::2], size, strict=True))
        self.shown = slice(0, bottom - self.box.top), slice(0, right - self.box.left)
        """Rows and columns of the image proper, where errors count."""
        self.codes: list[Tensor] = []
        self.moves: list[Tensor] = []
        self.offsets: list[Tensor] = []
        for stage, (code, scale) in enumerate(zip(codes, networks.config.stage_scales)):
            code = code[:, :, *self.box.at(STRIDES[scale])].float()
            moves = torch.zeros(code.shape[2:], dtype=torch.bool, device=code.device)
            moves[tile.inside(self.box).at(STRIDES[scale])] = True
            sent = self.layout.mask(stage)
            if sent is not None:
                moves &= torch.as_tensor(sent, device=code.device)
            self.codes.append(code)
            self.moves.append(moves)
            self.offsets.append(code.new_zeros(1, *code.shape[2:], code.shape[1], requires_grad=True))

    def descend(self, allowance: Allowance, after_step: Callable[[], None]) -> list[Tensor]:
        """The best codes on the way, int8 (1, dim, h, w) per stage."""
        with torch.no_grad():
            least, _, best = self._measure(given=True)
        step = 0
        while step < (steps := allowance.steps(step)):
            with torch.enable_grad():
                loss, commitment, codes = self._measure()
                gradients = torch.autograd.grad(loss + COMMITMENT * commitment, self.offsets)
            if loss < least:
                least, best = loss.detach(), codes
            rate = STEP_SIZE * (1 - step / steps)
            with torch.no_grad():
                for offset, gradient in zip(self.offsets, gradients, strict=True):
                    offset.sub_(rate * gradient.clamp(-MAX_GRADIENT, MAX_GRADIENT))
            step += 1
            after_step()
        if not step:
            return best
        with torch.no_grad():
            loss, _, codes = self._measure()
        return codes if loss < least else best

    def _measure(self, given: bool = False) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The loss in bits, the squared distances of z from its codes in squared lengths of a codeword, summed, and the
        codes, int8. given: of the codes given, in place of those that the offsets lead to."""
        networks, moved = self.networks, _MovedCodes(self)
        choose_codes = networks.given_codes(self.codes) if given else moved.choose_codes
        height, width = self.x.shape[2:]
        kind = self.x.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cpu" and _bf16_is_fast()):
            x_hat = networks.synthesis(height, width, self.weights, choose_codes)
            codes = self.codes if given else moved.straight
            stage_bits, *_ = networks.rates(codes, self.quality, height, width, layout=self.layout)
        x_hat = x_hat.float().clamp(-1, 1)
        errors = (x_hat - self.x)[:, :, *self.shown]
        squared = 255**2 * errors.square().mean() / 4
        judged = [slice(0, max(WINDOW, part.stop)) for part in self.shown]  # MS-SSIM needs its window
        x, x_hat = (image[:, :, *judged] / 2 + 0.5 for image in (self.x, x_hat))
        distortion = (1 - SIMILARITY) * squared + SIMILARITY * PER_SQUARED_ERROR * (1 - ms_ssim(x, x_hat).mean())
        loss = self.lmbda * distortion * errors[0, 0].numel() + stage_bits.sum()
        if given:
            return loss, loss.new_zeros(()), [code.to(torch.int8) for code in self.codes]
        return loss, sum(moved.distances, loss.new_zeros(())) / networks.quantizer.norm_squared, moved.integers


class _MovedCodes:
    """The codes that a window's offsets lead to: with a straight-through gradient, and as integers."""

    def __init__(self, window: _Window) -> None:
        self.window = window
        self.straight: list[Tensor] = []
        self.integers: list[Tensor] = []
        self.distances: list[Tensor] = []

    def choose_codes(self, stage: int, state: Tensor) -> Tensor | None:
        window, networks = self.window, self.window.networks
        if stage >= len(window.codes):
            return None
        feature = window.features[networks.config.stage_scales[stage]]
        layers = cast(TokenStage, networks.synthesis.stages[stage])
        z = layers.encode(feature, state, window.weights).permute(0, 2, 3, 1)
        z = z + window.offsets[stage]
        integers, straight = networks.quantizer.quantize(z, check=False)
        code, moves = window.codes[stage], window.moves[stage]
        self.distances.append(((networks.quantizer.project(z) - integers).square().sum(-1) * moves).sum())
        self.straight.append(torch.where(moves, straight.permute(0, 3, 1, 2), code))
        self.integers.append(torch.where(moves, integers.permute(0, 3, 1, 2), code.to(torch.int8)))
        return self.straight[-1] * networks.code_scale


def _bf16_is_fast() -> bool:
    """Whether this processor multiplies bf16 itself. (torch before 2.9 cannot tell: then it is taken not to.)"""
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
