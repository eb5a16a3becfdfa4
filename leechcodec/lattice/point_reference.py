"""The plain reference for all of the Leech lattice: every computation by visiting the 8,192 cosets, in float64.

Slow and obvious; closest.py and partition.py are tested against it. Shapes and units are theirs; nothing is checked.
Within a coset (m, b) coordinate i may take the values that are m + 2·b_i modulo 8, with q = 0, and four more, with
q = 1. The best (the sum) over all choices is a walk over the coordinates with two states, the parity of q so far.
"""

from collections.abc import Callable

import numpy as np

from leechcodec.lattice.golay import golay_words
from leechcodec.lattice.points import DIM, RESIDUES


def window_of(scores: np.ndarray) -> np.ndarray:
    """The values of a table's columns: (..., W) -> int64 (W,)."""
    width = scores.shape[-1]
    return np.arange(width) - width // 2


def distance_scores(y: np.ndarray, width: int) -> np.ndarray:
    """-(y - v)² over a window: float (N, 24) -> float64 (N, 24, W)."""
    return -np.square(np.asarray(y, dtype=np.float64)[..., None] - (np.arange(width) - width // 2))


def best_point(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the largest score, and their scores: float (N, 24, W) -> int32 (N, 24), float64 (N,)."""
    points = np.empty(scores.shape[:2], dtype=np.int32)
    values = np.empty(len(scores))
    for row, table in enumerate(scores.astype(np.float64)):
        totals = coset_scores(table, np.maximum)
        m, word = np.unravel_index(totals.argmax(), totals.shape)
        points[row], values[row] = _best_in_coset(table, m + 2 * golay_words()[word]), totals[m, word]
    return points, values


def log_partition(scores: np.ndarray) -> np.ndarray:
    """Log of the sum over all points in the window of the exponential of their score: (N, 24, W) -> float64 (N,)."""
    return np.array([np.logaddexp.reduce(coset_scores(table, np.logaddexp), axis=None) for table in scores])


def coset_scores(table: np.ndarray, add: Callable) -> np.ndarray:
    """The score of every coset (m, b), add (maximum or logaddexp) over its points: (24, W) -> float64 (2, 4096)."""
    by_residue = add.reduce(table.astype(np.float64).reshape(DIM, -1, RESIDUES), axis=1)
    totals = np.empty((2, 4096))
    for m in range(2):
        state = np.array([[0.0], [-np.inf]])  # q of even sum, of odd sum
        for i in range(DIM):
            first = m + 2 * golay_words()[:, i]
            zero, one = by_residue[i, first], by_residue[i, first + 4]
            state = add(state + zero, state[::-1] + one)
        totals[m] = state[m]
    return totals


def _best_in_coset(table: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The best point of the coset with these residues: (24, W), (24,) -> int64 (24,). m is the residues' parity."""
    window = window_of(table)
    best = np.empty((DIM, 2), dtype=np.int64)  # the column of the best value with q = 0 and with q = 1
    for q in range(2):
        allowed = window % RESIDUES == (first + 4 * q)[:, None]
        best[:, q] = np.where(allowed, table, -np.inf).argmax(axis=1)
    reached = np.take_along_axis(table, best, axis=1)
    q = reached.argmax(axis=1)
    if q.sum() % 2 != first[0] % 2:  # Wagner: the cheapest change of one coordinate repairs the parity
        q[np.abs(reached[:, 0] - reached[:, 1]).argmin()] ^= 1
    return window[best[np.arange(DIM), q]]
