"""Scales of Laplacian models, four per octave, and their integer scores.

Scale s stands for the mean magnitude 2^((s - 16) / 4) in the lattice's integer units; s = 0 says certainly silent.
"""

from functools import cache

import numpy as np

SCALES = 72
PER_OCTAVE = 4
UNIT = 16
"""The scale of mean magnitude 1."""
_ROOTS = (65536, 55109, 46341, 38968)
"""round(2^(16 - k/4))."""


def scale_of(mean: float) -> int:
    """The scale nearest to a mean magnitude; 0 only for none at all."""
    return 0 if mean <= 0 else int(np.clip(round(UNIT + PER_OCTAVE * np.log2(mean)), 1, SCALES - 1))


@cache
def reciprocals() -> np.ndarray:
    """128 over every scale's mean, rounded down, at least 1: int64 (72,)."""
    table = [(_ROOTS[s % 4] << 11 >> (s // 4)) >> 16 for s in range(SCALES)]
    return np.maximum(np.array(table, dtype=np.int64), 1)


def scores(width: int) -> np.ndarray:
    """Scores of the values of a window in 1/64 nat, -|v| / mean: int64 (72, width)."""
    value = np.abs(np.arange(width, dtype=np.int64) - width // 2)
    slope = np.array([_ROOTS[s % 4] << 10 >> (s // 4) for s in range(SCALES)], dtype=np.int64)
    return -((slope[:, None] * value + (1 << 15)) >> 16)
