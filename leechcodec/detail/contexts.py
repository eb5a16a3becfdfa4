"""Which coefficients are coded together, and what those coded before say of their size. Integers only.

Twelve passes: three groups of frequencies, luma before the other channels, the blocks of a checkerboard. A magnitude is
measured in units of its band's own mean, which the file states; so bands and channels can be averaged. The average of
the neighbours known, on a scale of half octaves, is a coefficient's level: 0 where all are silent.
"""

from dataclasses import dataclass

import numpy as np

from leechcodec.detail.scales import reciprocals
from leechcodec.detail.transform import SIDE

LEVELS = 20
_EDGES = np.array([1, 3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280])
"""A level is how many of these an average, in 1/128 of the band's mean, has reached."""
_ORDER = np.add.outer(np.arange(SIDE), np.arange(SIDE)).reshape(-1)
GROUPS = (np.flatnonzero(_ORDER < 3), np.flatnonzero((_ORDER > 2) & (_ORDER < 6)), np.flatnonzero(_ORDER > 5))


@dataclass(frozen=True)
class Pass:
    """group: of frequencies, 0..2. channels: coded. phase: blocks with (row + column) mod 2 equal to it."""

    group: int
    channels: tuple[int, ...]
    phase: int

    def where(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Its channels, bands and blocks, counted in rows: an index that opens a (3, 64, rows * columns) array."""
        board = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == self.phase
        channels, blocks = np.array(self.channels), np.flatnonzero(board)
        return channels[:, None, None], GROUPS[self.group][:, None], blocks


PASSES = tuple(Pass(group, channels, phase) for group in range(3) for channels in ((0,), (1, 2)) for phase in (0, 1))


def sizes(points: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Magnitudes in 1/128 of their band's mean, int64. points: int32. bands: uint8, the scale of each one's band."""
    return np.minimum(np.abs(points.astype(np.int64)) * reciprocals()[bands], 1 << 24)


def levels(one: Pass, size: np.ndarray) -> np.ndarray:
    """The levels of a pass's coefficients, int64 0..19, in the shape that :meth:`Pass.where` opens.

    size: int64 (3, 64, h, w) of :func:`sizes`, zero where not yet coded.
    """
    wanted, lower = GROUPS[one.group], np.concatenate([np.empty(0, dtype=np.int64), *GROUPS[: one.group]])
    near = lower[_ORDER[lower] >= _ORDER[wanted].min() - 3]
    weight = 6 * one.phase + 6 * (len(near) > 0) + 2 * (0 not in one.channels)
    total = np.zeros((len(one.channels), len(wanted), *size.shape[2:]), dtype=np.int64)
    for own, sums in zip(size[list(one.channels)], total, strict=True):
        if one.phase:
            sums += 3 * _beside(own[wanted]) + _beside(own[wanted].sum(axis=0)) * 3 // len(wanted)
        if len(near):
            lows = own[near].sum(axis=0)
            sums += (4 * lows + 2 * _beside(lows)) // len(near)
        if 0 not in one.channels:
            luma = size[0, wanted]
            sums += luma + luma.sum(axis=0) // len(wanted)
    blocks = one.where(*size.shape[2:])[2]
    mean = total.reshape(*total.shape[:2], -1)[..., blocks] // max(weight, 1)
    return np.searchsorted(_EDGES, mean, side="right")


def _beside(values: np.ndarray) -> np.ndarray:
    """The mean of the four blocks beside each, rounded down; outside the picture are zeros."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)])
    total = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return total // 4
