"""Which tokens a file of some quality holds.

A stage is sent from its ``min_quality`` on. Sent whole from there, it would make files jump in size, by up to a third.
With a ramp, the share of its positions that are sent grows from none to all over so many qualities; elsewhere it says
nothing (the zero vector). Size and squared error run in a straight line from the one to the other (docs/training.md).

The positions of every square of 64 x 64 pixels come in the order of a Bayer matrix, so that each share is spread as
evenly as it can be, and those of the checkerboard's first pass come first. (Bayer, "An optimum method for two-level
rendition of continuous-tone pictures", 1973.)
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from leechcodec.config import STRIDES, ModelConfig


def positions_sent(config: ModelConfig, stage: int, quality: float, height: int, width: int) -> Tensor | None:
    """The positions of a stage whose tokens a file of this quality holds: bool (height, width), None for all.

    stage: one of those that are sent. quality: the dial, of which hundredths count. height, width: of the stage's grid,
    in positions, multiples of 64 / stride.
    """
    ramp = round(100 * config.ramp)
    above = round(100 * quality) - round(100 * config.min_quality[stage])
    if config.min_quality[stage] <= 1 or above >= ramp:
        return None
    side = STRIDES[0] // STRIDES[config.stage_scales[stage]]
    return (_bayer(side) * ramp < side * side * above).repeat(height // side, width // side)


def strays(config: ModelConfig, stage: int, quality: float, codes: np.ndarray) -> np.ndarray:
    """Rows and columns, int64 (n, 2), of the tokens of a stage where a file of this quality holds none.

    codes: int8 (h, w, dim). The other arguments as for :func:`positions_sent`.
    """
    sent = positions_sent(config, stage, quality, *codes.shape[:2])
    if sent is None:
        return np.empty((0, 2), dtype=np.int64)
    return np.argwhere(codes.any(-1) & ~sent.numpy())


@cache
def _bayer(side: int) -> Tensor:
    """The order of the positions of a square, 0 to side² - 1: int64 (side, side), side a power of two."""
    order = torch.zeros(1, 1, dtype=torch.int64)
    while len(order) < side:
        order = torch.cat([torch.cat([4 * order, 4 * order + 2], 1), torch.cat([4 * order + 3, 4 * order + 1], 1)])
    return order
