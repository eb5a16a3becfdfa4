"""Exact normaliser of separable scores over all of the Leech lattice: sums of positive terms. See points.py, cosets.py.

A table's scores become masses relative to its best value, exp(f(v) - max f), and no smaller than exp(-25): a product
over 24 coordinates is then at least exp(-600), and no float64 on the way underflows. So a value more than 25 nats below
its table's best counts as 25 below. From masses to the sums nothing but additions and multiplications in a fixed order
happens (docs/lattice.md), which is what the coder builds on; point_reference.py visits the cosets instead.
"""

import numpy as np

from leechcodec.lattice.cosets import LANES, exact_entry, fill_cosets, scratch
from leechcodec.lattice.points import DIM, RESIDUES, check_tables
from leechcodec.lattice.structure import turyn

CLAMP = 25.0
"""Nats below a table's best."""
COSETS = 16
"""Numbers 8·m + y: what a point's first symbol says."""


def log_partition(scores: np.ndarray, index: np.ndarray) -> np.ndarray:
    """log of the sum over all points x within the window of exp(sum_i scores[index_i, x_i + W/2]), in nats.

    scores: float (S, W), S tables, finite, clamped to 25 nats below each table's best; column v + W/2 is the value v, W
    a multiple of 16. index: integers (N, 24) in 0..S-1, the table of every coordinate. Returns float64 (N,).
    Raises ValueError for other shapes, a score or an index out of range, TypeError for an index not of integers.
    """
    masses, top = linear_masses(scores)
    index = check_tables(masses, index)
    return np.log(coset_masses(residue_masses(masses), index).sum(axis=1)) + top[index].sum(axis=1)


def linear_masses(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """exp(scores) relative to each table's best, at least exp(-25), and the best: (S, W) -> float64 (S, W), (S,).

    Raises ValueError for a score that is not finite or another shape.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"expected tables of scores of shape (S, W), got {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    top = scores.max(axis=1)
    return np.exp(np.maximum(scores - top[:, None], -CLAMP)), top


def residue_masses(masses: np.ndarray) -> np.ndarray:
    """Sums over the values of each residue modulo 8, smallest value first: float64 (S, W) -> (S, 8)."""
    runs = masses.reshape(len(masses), -1, RESIDUES)
    sums = runs[:, 0].copy()
    for k in range(1, runs.shape[1]):
        sums += runs[:, k]
    return sums


def coset_masses(residues: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The masses of all points with given m and y (points.py): float64 (S, 8), int64 (N, 24) -> (N, 16), at 8·m + y.

    residues: those of :func:`residue_masses`, products of 24 within e^±650. Nothing is checked.
    """
    masses = np.empty((len(index), COSETS))
    _coset_masses(residues, index, turyn().halves, *scratch(np.float64), masses)
    return masses


@exact_entry
def _coset_masses(residues, index, halves, lanes, tree, table, scores, masses):
    for start in range(0, len(index), LANES):
        count = min(LANES, len(index) - start)
        for lane in range(count):
            for i in range(DIM):
                own = residues[index[start + lane, i]]
                for r in range(RESIDUES):
                    lanes[i, r, lane] = own[r]
        fill_cosets(lanes, halves, tree, table, scores)
        for coset in range(COSETS):
            m, k = coset >> 3, 8 * (coset & 7)
            for lane in range(LANES):
                total = scores[m, k, lane]
                for c in range(1, 8):
                    total += scores[m, k + c, lane]
                scores[m, k, lane] = total
            for lane in range(count):
                masses[start + lane, coset] = scores[m, k, lane]
