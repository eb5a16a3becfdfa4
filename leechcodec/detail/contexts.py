"""Which coefficients are coded together, and what those coded before say of their size. Integers only.

Twelve passes: three groups of frequencies, luma before the other channels, the blocks of a checkerboard. A magnitude is
measured in units of its band's own mean, which the file states; so bands and channels can be averaged. The average of
the neighbours known, on a scale of half octaves, is a coefficient's level: 0 where all are silent.
"""

from dataclasses import dataclass

import numpy as np

from leechcodec.detail.scales import reciprocals
from leechcodec.detail.transform import BANDS, CHANNELS, SIDE

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

    def mask(self, rows: int, columns: int) -> np.ndarray:
        """Where its coefficients are: bool (3, 64, rows, columns)."""
        mask = np.zeros((CHANNELS, BANDS, rows, columns), dtype=bool)
        board = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == self.phase
        for channel in self.channels:
            mask[channel, GROUPS[self.group]] = board
        return mask


PASSES = tuple(Pass(group, channels, phase) for group in range(3) for channels in ((0,), (1, 2)) for phase in (0, 1))


def levels(one: Pass, points: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """The levels of a pass's coefficients, in the order of its mask: int64 (n,), 0..19.

    points: int32 (3, 64, h, w), zero where not yet coded. bands: uint8 (3, 64), the scale index of each band's mean.
    """
    rows, columns = points.shape[2:]
    size = np.minimum(np.abs(points.astype(np.int64)) * reciprocals()[bands][..., None, None], 1 << 24)
    wanted, lower = GROUPS[one.group], np.concatenate([np.empty(0, dtype=np.int64), *GROUPS[: one.group]])
    near = lower[_ORDER[lower] >= _ORDER[wanted].min() - 3]
    total = np.zeros((len(one.channels), len(wanted), rows, columns), dtype=np.int64)
    weight = 0
    for number, channel in enumerate(one.channels):
        own, weight = size[channel], 0
        if one.phase:
            total[number] += 3 * _beside(own[wanted])
            total[number] += _beside(own[wanted].sum(axis=0)) * 3 // len(wanted)
            weight += 6
        if len(near):
            sums = own[near].sum(axis=0)
            total[number] += (4 * sums + 2 * _beside(sums)) // len(near)
            weight += 6
        if channel:
            luma = size[0, wanted]
            total[number] += luma + luma.sum(axis=0) // len(wanted)
            weight += 2
    mean = total // max(weight, 1)
    found = np.searchsorted(_EDGES, mean, side="right")
    full = np.zeros(points.shape, dtype=np.int64)
    for number, channel in enumerate(one.channels):
        full[channel, wanted] = found[number]
    return full[one.mask(rows, columns)]


def _beside(values: np.ndarray) -> np.ndarray:
    """The mean of the four blocks beside each, rounded down; outside the picture are zeros."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)])
    inner = (..., slice(1, -1))
    total = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[inner[0], 1:-1, :-2] + padded[..., 1:-1, 2:]
    return total // 4
