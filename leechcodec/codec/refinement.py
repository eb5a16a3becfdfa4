"""Refinement: better tokens for one image, by gradient steps at encoding.

The analysis transform has learned to guess good tokens for all images; what a token costs and repairs in this one is
known when the picture is made. Offsets added to every z, zero at first, go down the gradient of this image's loss
(refinement_window.py). The networks stay as they are and so does the decoder: it cannot tell. Campos et al., "Content
Adaptive Optimization for Neural Image Compression", 2019; Yang, Bamler and Mandt, "Improving Inference for Neural Image
Compression", 2020.

First the encoder looks a second time, and is shown what its codes have missed. Then the offsets take their steps.

Codes jump, so a step that is right for a busy part of a picture may ruin a smooth one, whose tokens are cheap because
they are alike. So every block of 64 x 64 pixels is judged by itself: it keeps the offsets that served it best, and goes
back to them, with smaller steps, where it has lost too much.

Large images are refined in windows: tokens of a tile move, those of a margin around it are as they are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leechcodec.codec.efforts import STEPS, Allowance, Box, steps_in_all, tiles
from leechcodec.codec.refinement_window import Measured, Window, spread
from leechcodec.networks.model import CodecModel
from leechcodec.networks.torch_transforms import as_arrays, as_batch, as_tensors

STEP_SIZES = {64: 0.06, 32: 0.06, 16: 0.1, 8: 0.2, 4: 0.2}
"""Of the first gradient step, in integer units a bit, by a stage's stride; they fall linearly to zero. Plain descent:
momentum, and Adam, carry z past codes that would have done (docs/experiments.md)."""
MAX_GRADIENT = 10.0
"""Bits an integer unit: larger entries of a gradient are clipped."""
PATIENCE = 0.03
"""How far above its least loss a block may go before it goes back, as a share of its loss before the first step: codes
must jump to where the next step is better."""
CAUTION = 0.4
"""What a block's steps are multiplied by whenever it goes back."""
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

    Returns codes like those given: for every block of 64 x 64 pixels, of all those tried those of the least loss there.
    The loss is lambda·D (refinement_distortion.py) + bits, with the prior in floating point.
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
            window = Window(networks, x, quality, codes, tile, size or (height, width))
            better = descend(window, allowance, step)
            for code, found, stride in zip(codes, better, window.strides, strict=True):
                rows, columns = tile.at(stride)
                code[:, :, rows, columns] = found[:, :, *tile.inside(window.box).at(stride)]
    return codes


def refine_arrays(
    networks: CodecModel, pixels: np.ndarray, quality: float, codes: Sequence[np.ndarray], **options: Any
) -> list[np.ndarray]:
    """:func:`refine` of arrays: pixels uint8 (1, 3, H, W), codes int8 (h, w, dim) per stage."""
    device = networks.synthesis.constant.device
    with torch.inference_mode():
        given = [code.to(device) for code in as_tensors(codes)]
        return as_arrays(refine(networks, as_batch(pixels).to(device), quality, given, **options))


def descend(window: Window, allowance: Allowance, after_step: Callable[[], None]) -> list[Tensor]:
    """The best codes on the way down, int8 (1, dim, h, w) per stage: those given where no step fits."""
    first = window.measure(gradients=False)
    if not allowance.steps(0):
        return [code.to(torch.int8) for code in window.codes]
    window.look_again(first.x_hat)
    window.take_back(window.measure(gradients=False).blocks >= first.blocks)
    after_step()
    kept, step = None, 1
    while step < (steps := allowance.steps(step)):
        measured = window.measure()
        kept = kept or _KeptBlocks(window, measured)
        kept.judge(measured)
        kept.step((steps - step) / (steps - 1))
        step += 1
        after_step()
    if kept:
        kept.judge(window.measure(gradients=False))
        kept.restore()
    return window.current_codes()


class _KeptBlocks:
    """For every block of a window the offsets with which it cost least, and the gradients that it had there.

    Tokens of stride 64 are one a block, so every token belongs to one.
    """

    def __init__(self, window: Window, measured: Measured) -> None:
        self._offsets, self._sizes = window.offsets, [STEP_SIZES[stride] for stride in window.strides]
        self._first, self._least = measured.blocks, measured.blocks
        self._kept = [offset.detach().clone() for offset in window.offsets]
        self._gradients = list(measured.gradients)
        self._slopes = list(measured.gradients)  # where the offsets are now
        self._damping = torch.ones_like(measured.blocks)

    @torch.no_grad()
    def judge(self, measured: Measured) -> None:
        """Keep the blocks that are better than ever; send those back that are much worse."""
        better = measured.blocks < self._least
        worse = measured.blocks > self._least + PATIENCE * self._first
        self._least = torch.where(better, measured.blocks, self._least)
        self._damping = torch.where(worse, CAUTION * self._damping, self._damping)
        for stage, (offset, kept) in enumerate(zip(self._offsets, self._kept, strict=True)):
            keep, back = _spread(better, offset), _spread(worse, offset)
            self._kept[stage] = torch.where(keep, offset, kept)
            if measured.gradients:
                slope = measured.gradients[stage]
                self._gradients[stage] = torch.where(keep, slope, self._gradients[stage])
                self._slopes[stage] = torch.where(back, self._gradients[stage], slope)
                offset.copy_(torch.where(back, self._kept[stage], offset))

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Move every block down its gradient. share: of the first step's size."""
        for offset, slope, size in zip(self._offsets, self._slopes, self._sizes, strict=True):
            slope = slope.clamp(-MAX_GRADIENT, MAX_GRADIENT)
            offset.sub_(share * size * _spread(self._damping, offset) * slope)

    @torch.no_grad()
    def restore(self) -> None:
        """Every block back to the best that it had."""
        for offset, kept in zip(self._offsets, self._kept, strict=True):
            offset.copy_(kept)


def _spread(blocks: Tensor, offset: Tensor) -> Tensor:
    """A value per block as one per token: (rows, columns) -> (1, h, w, 1) of an offset's (1, h, w, dim)."""
    return spread(blocks, offset.shape[1])[None, :, :, None]
