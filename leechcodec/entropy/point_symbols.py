"""Symbols of a point of the Leech lattice: what point_masses.py gives the masses of."""

import numpy as np

from leechcodec.lattice import points as lattice
from leechcodec.lattice.points import DIM, ONES, RESIDUES

WORD_SYMBOLS = 4
SYMBOLS = WORD_SYMBOLS + DIM
"""Columns of a row of symbols: 8·m + y, C, B, whether A is the complement of B + C, then every coordinate's k."""


def points_to_symbols(points: np.ndarray, width: int) -> np.ndarray:
    """The symbols of points: integers (N, 24) -> int64 (N, 28).

    Raises ValueError for what is no point of the lattice, or not within the window of `width` values.
    """
    found = lattice.cosets(points)
    columns = np.asarray(points).astype(np.int64) + width // 2
    if columns.size and (columns.min() < 0 or columns.max() >= width):
        raise ValueError(f"a point leaves the window of {width} values")
    a, b, c = found.words.T
    word = [RESIDUES * found.m + found.y, c, b, (a != b ^ c).astype(np.int64)]
    values = columns >> 2
    values[:, -1] >>= 1
    return np.concatenate([np.stack(word, axis=1), values], axis=1)


def cosets_of(word: np.ndarray) -> lattice.Cosets:
    """The cosets of points whose first four symbols are given: int64 (N, 4)."""
    coset, c, b, complemented = word.T
    return lattice.Cosets(coset >> 3, coset & 7, np.stack([b ^ c ^ (ONES * complemented), b, c], axis=1))


def symbols_to_points(symbols: np.ndarray, width: int) -> np.ndarray:
    """The inverse of :func:`points_to_symbols`: int64 (N, 28) -> int32 (N, 24)."""
    found = cosets_of(symbols[:, :WORD_SYMBOLS])
    values = symbols[:, WORD_SYMBOLS:].copy()
    odd = (found.m + values[:, :-1].sum(axis=1)) & 1
    values[:, -1] = 2 * values[:, -1] + odd
    return (lattice.coset_residues(found) + 4 * values - width // 2).astype(np.int32)
