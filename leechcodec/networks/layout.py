"""Which tokens a file holds: the stages, grids, positions and chunks of an image at a quality.

    stage     0          1          2 … 4             5 … 12
    stride    64         32         16                8            a grid of h x w tokens each, sides padded to 64
    chunk     └──── 0 ───┘          1                 2            token chunks of a file, or one for all

A stage is sent from its ``min_quality`` on. Sent whole from there, it would make files jump in size, by up to a third.
With a ramp, the share of its positions that are sent grows from none to all over so many qualities; elsewhere it says
nothing (the zero vector). Size and squared error run in a straight line from the one to the other
(docs/experiments.md).

The positions of every square of 64 x 64 pixels come in the order of a Bayer matrix, so that each share is spread as
evenly as it can be, and those of the checkerboard's first pass come first. (Bayer, "An optimum method for two-level
rendition of continuous-tone pictures", 1973.)
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from leechcodec.config import ALIGNMENT, QUALITY_UNIT, STRIDES, ModelConfig, hundredths

CHUNK_SCALES = ((0, 1), (2,), (3, 4))
"""Scales that share a token chunk: strides 64 and 32, stride 16, strides 8 and 4."""
FEW = 49_152
"""So many tokens, or less, encoders put into one chunk: two chunks less are 20 to 30 bytes less, and of so small a file
the coarse tokens alone are hardly wanted."""


def aligned(side: int) -> int:
    """Pixels of an image's side with the padding inside."""
    return -(-side // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class TokenLayout:
    """The tokens of one image: which there are, and where.

    config: of the model.
    quality: the dial, 1..100, of which hundredths count.
    size: (height, width) of the image in pixels.
    together: whether a file has one token chunk, for all strides.
    """

    config: ModelConfig
    quality: float
    size: tuple[int, int]
    together: bool = False

    @property
    def hundredths(self) -> int:
        """The quality as a file's header holds it, 100..10,000."""
        return hundredths(self.quality)

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) in pixels with the padding inside: multiples of 64."""
        return aligned(self.size[0]), aligned(self.size[1])

    @property
    def stages(self) -> int:
        """How many stages are sent, whole or in part, coarse to fine."""
        return self.config.stages_sent(self.hundredths / QUALITY_UNIT)

    def stride(self, stage: int) -> int:
        """Pixels along a token's side."""
        return STRIDES[self.config.stage_scales[stage]]

    def grid(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's tokens."""
        height, width = self.padded
        return height // self.stride(stage), width // self.stride(stage)

    def mask(self, stage: int) -> np.ndarray | None:
        """The positions whose tokens are sent: bool (h, w), None for all of them. stage: one of those that are sent."""
        ramp = hundredths(self.config.ramp)
        above = self.hundredths - hundredths(self.config.min_quality[stage])
        if self.config.min_quality[stage] <= 1 or above >= ramp:
            return None
        side = ALIGNMENT // self.stride(stage)
        rows, columns = (count // side for count in self.grid(stage))
        return np.tile(_bayer(side) * ramp < side * side * above, (rows, columns))

    def positions(self, stage: int, among: np.ndarray | None = None) -> np.ndarray:
        """Where a file has tokens of a stage, counted in rows: int64 (n,), ascending.

        among: bool (h, w), the positions of one pass of the prior, or None for all.
        """
        sent = self.mask(stage)
        if sent is None or among is None:
            sent = among if sent is None else sent
        else:
            sent = sent & among
        h, w = self.grid(stage)
        return np.arange(h * w) if sent is None else np.flatnonzero(sent)

    def count(self, stage: int) -> int:
        """How many tokens of a stage a file holds."""
        sent, (h, w) = self.mask(stage), self.grid(stage)
        return h * w if sent is None else int(sent.sum())

    def unexpected_tokens(self, stage: int, codes: np.ndarray) -> np.ndarray:
        """Rows and columns, int64 (n, 2), of a stage's tokens where a file has none. codes: int8 (h, w, dim)."""
        sent = self.mask(stage)
        if sent is None:
            return np.empty((0, 2), dtype=np.int64)
        return np.argwhere(codes.any(-1) & ~sent)

    def as_encoded(self) -> "TokenLayout":
        """The same tokens in as many chunks as an encoder makes of them."""
        return replace(self, together=sum(map(self.count, range(self.stages))) <= FEW)

    def chunk(self, stage: int) -> int:
        """The token chunk, 0..2, that holds a stage."""
        if self.together:
            return 0
        scale = self.config.stage_scales[stage]
        return next(number for number, scales in enumerate(CHUNK_SCALES) if scale in scales)

    def chunks(self, stages: int) -> int:
        """How many token chunks hold the first so many stages."""
        return 1 + self.chunk(stages - 1) if stages else 0


@cache
def _bayer(side: int) -> np.ndarray:
    """The order of the positions of a square, 0 to side² - 1: int64 (side, side), side a power of two."""
    order = np.zeros((1, 1), dtype=np.int64)
    while len(order) < side:
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return order
