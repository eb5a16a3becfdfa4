"""All of the Leech lattice: which integer vectors are its points, and the choices that make one.

In integer form (minimal squared norm 32; Conway and Sloane, *Sphere Packings, Lattices and Groups*, ch. 4 §11) write
the coordinates of x by their binary digits modulo 8, x_i = m_i + 2·b_i + 4·q_i. Then x is a point if and only if

    all m_i are one number m,      b is a Golay word,      q_1 + ... + q_24 = m (mod 2).

(The usual last condition, a coordinate sum of 4m modulo 8, is the same: Golay words have weights divisible by 4.) The
other digits are free, so the points are 2 · 4,096 cosets (m, b), each of them a product over the coordinates but for
one parity. Word b is written as golay.py's blocks of eight, here with the complements taken apart:

    b = (A + x, B + x, C + x),    x = H'[y], y in 0..7,    A, B, C in H,    A + B + C = 0 or 1 = (1, ..., 1)

Scores are separable: f_i(v) for coordinate i and every integer v of a window -W/2 .. W/2 - 1, W a multiple of 16. So
a table of W columns has v at column v + W/2, and column mod 8 is v mod 8.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from leechcodec.lattice.golay import BLOCK_LENGTH, BLOCKS, LENGTH, hamming, hamming_numbers, hamming_reversed

DIM = LENGTH
RESIDUES = 8
"""Of v modulo 8: m + 2·b + 4·q."""
ONES, ONES_REVERSED = (int(words.all(axis=1).argmax()) for words in (hamming(), hamming_reversed()))
"""The numbers of (1, ..., 1) in H and in H': adding it complements a block."""
WINDOW_STEP = 2 * RESIDUES
MAX_WINDOW = 1 << 16


class Cosets(NamedTuple):
    """The cosets (m, b) of points, int64: m (...), 0 or 1; y (...), 0..7; words (..., 3), the numbers of A, B, C."""

    m: np.ndarray
    y: np.ndarray
    words: np.ndarray


def is_point(x: np.ndarray) -> np.ndarray:
    """Whether integer vectors are points of the lattice: integers (..., 24) -> bool (...).

    Raises TypeError for an array that is not of integers, ValueError for another dimension.
    """
    return _cosets(_integer_vectors(x))[1]


def cosets(x: np.ndarray) -> Cosets:
    """The cosets of points: integers (..., 24). Raises as :func:`is_point`, and ValueError for what is no point."""
    x = _integer_vectors(x)
    found, valid = _cosets(x)
    if not valid.all():
        bad = int(np.flatnonzero(~valid.reshape(-1))[0])
        raise ValueError(f"not a point of the Leech lattice: row {bad}, {x.reshape(-1, DIM)[bad].tolist()}")
    return found


def coset_residues(found: Cosets) -> np.ndarray:
    """What the coset leaves of every coordinate, m + 2·b_i: int64 (..., 24), 0..3."""
    blocks = _doubled_bits()[found.y[..., None], found.words]
    return found.m[..., None] + blocks.reshape(*found.y.shape, DIM)


def check_window(width: int) -> None:
    """Raises ValueError for tables of a width that is no window."""
    if width % WINDOW_STEP or not 0 < width <= MAX_WINDOW:
        raise ValueError(f"a window has a multiple of {WINDOW_STEP} values, at most {MAX_WINDOW}, not {width}")


def check_tables(scores: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The index of tables as int64 (N, 24), contiguous.

    scores: (S, W), S tables over a window. index: integers (N, 24) in 0..S-1, the table of every coordinate.
    Raises ValueError for other shapes or an index out of range, TypeError for an index that is not of integers.
    """
    if scores.ndim != 2:
        raise ValueError(f"expected tables of scores of shape (S, W), got {scores.shape}")
    check_window(scores.shape[1])
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"the index of tables must be integers, not {index.dtype}")
    if index.ndim != 2 or index.shape[1] != DIM:
        raise ValueError(f"expected an index of shape (N, {DIM}), got {index.shape}")
    if index.size and (index.min() < 0 or index.max() >= len(scores)):
        raise ValueError(f"a table's number is out of range [0, {len(scores)})")
    return np.ascontiguousarray(index, dtype=np.int64)


def _integer_vectors(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"points have integer coordinates, not {x.dtype}")
    if x.ndim == 0 or x.shape[-1] != DIM:
        raise ValueError(f"points have {DIM} coordinates, got shape {x.shape}")
    return x.astype(np.int64)


def _cosets(x: np.ndarray) -> tuple[Cosets, np.ndarray]:
    """The cosets of integer vectors, and where they are what they seem: a vector that is no point gets any."""
    m = x & 1
    blocks = np.packbits((x >> 1 & 1).astype(np.uint8).reshape(*x.shape[:-1], BLOCKS, BLOCK_LENGTH), axis=-1)[..., 0]
    number, number_reversed = hamming_numbers()
    shift = number_reversed[np.bitwise_xor.reduce(blocks, axis=-1)]
    y = np.where(shift < RESIDUES, shift, shift ^ ONES_REVERSED)
    words = number[blocks ^ np.packbits(hamming_reversed(), axis=1)[y, 0][..., None]]
    in_code = (shift >= 0) & (words >= 0).all(axis=-1)
    parity = (x >> 2 & 1).sum(axis=-1) & 1
    valid = (m == m[..., :1]).all(axis=-1) & in_code & (parity == m[..., 0])
    return Cosets(m[..., 0], y, words), valid


@cache
def _doubled_bits() -> np.ndarray:
    """2·b of the block H[a] + H'[y]: int64 (8, 16, 8), by y and a."""
    return 2 * (hamming_reversed()[:8, None] ^ hamming()).astype(np.int64)
