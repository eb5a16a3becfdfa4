"""Masses of a token's symbols under a separable score over the Leech lattice's 196,560 codewords, in plain numpy.

A codeword c has mass prod_i e_i(c_i), e_i(v) = exp(f_i(v)). It is coded as a short chain of symbols,

    class                                            3
    class 1   i, j, two signs                        23, 23 - i, 2, 2
    class 2   octad, seven signs                     759, 2, 2, 2, 2, 2, 2, 2
    class 3   x, a, b (the Golay word), flip         16, 16, 16, 24

each with the summed mass of the codewords that remain: positive terms in a fixed order, docs/ENTROPY.md §4, so the
numbers are the same on every machine. leech_group.py computes the same numbers one token at a time; samplers, which may
change every pmf, and the tests use these. Only the sums over the whole codebook are compiled (leech_sums.py).
"""

import numpy as np

from leechcodec.entropy.leech_sums import LANES, OCTADS, ZERO, group_sums
from leechcodec.entropy.pmf import SCORE_LIMIT, exponentials
from leechcodec.lattice.golay import BLOCK_LENGTH, golay_words, octad_supports
from leechcodec.lattice.leech import DIM


def coordinate_masses(params: np.ndarray) -> np.ndarray:
    """e_i(v) = exp(f_i(v)) from the prior's outputs.

    params: int64 (N, 24, 3), the (a, b, d) of each coordinate, within int32, in units of 1/64 nat.
    Returns float64 (N, 24, 9): v = -4..4 at position v + 4.
    """
    v = np.arange(-ZERO, ZERO + 1)
    a, b, d = (params[:, :, k, None] for k in range(3))
    scores = (4 * a * v + 4 * b * np.abs(v) + d * v**2 + 4) >> 3
    return exponentials()[SCORE_LIMIT + scores.clip(-SCORE_LIMIT, SCORE_LIMIT)]


def shell_masses(params: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sums over the whole codebook that coding needs.

    params: int64 (N, 24, 3). Returns float64 masses: of the three classes (N, 3), of the octads (N, 759), and of the
    256 pairs (x, a) of class 3 (N, 16, 16).
    """
    octads = np.empty((-(-len(params) // LANES), OCTADS, LANES))
    classes, _, pairs = group_sums(params, octads)
    rows = [table.transpose(0, 2, 1) for table in (octads, pairs)]
    return classes, rows[0].reshape(-1, OCTADS)[: len(params)], rows[1].reshape(-1, 16, 16)[: len(params)]


def entry_masses(e: np.ndarray) -> np.ndarray:
    """Class 1: t_i = e_i(4) + e_i(-4). e: float64 (n, 24, 9). Returns float64 (n, 24)."""
    return e[:, :, ZERO + 4] + e[:, :, ZERO - 4]


def first_entry_masses(t: np.ndarray) -> np.ndarray:
    """Class 1: masses of i = 0..22, t_i times the sum of the later ones. t: float64 (n, 24). Returns (n, 23)."""
    masses, later = np.empty((len(t), DIM - 1)), t[:, DIM - 1]
    for i in range(DIM - 2, -1, -1):
        masses[:, i] = t[:, i] * later
        later = later + t[:, i]
    return masses


def octad_sign_masses(e: np.ndarray, octad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class 2: what the eight signs on an octad weigh, and what the signs after them weigh together.

    e: float64 (n, 24, 9); octad: int (n,) in 0..758. Returns float64 sign (n, 8, 2): e(2), e(-2) at the octad's
    coordinates, ascending, and rest (n, 8, 2): the mass of all choices of the signs after number k, by parity of
    their minus signs.
    """
    here = np.take_along_axis(e, octad_supports()[octad][:, :, None], axis=1)
    sign = np.stack([here[:, :, ZERO + 2], here[:, :, ZERO - 2]], axis=2)
    rest = np.empty_like(sign)
    even, odd = np.ones(len(e)), np.zeros(len(e))
    for k in range(BLOCK_LENGTH - 1, -1, -1):
        rest[:, k, 0], rest[:, k, 1] = even, odd
        u, v = sign[:, k, 0], sign[:, k, 1]
        even, odd = even * u + odd * v, odd * u + even * v
    return sign, rest


def next_sign_masses(sign: np.ndarray, rest: np.ndarray, k: int, parity: np.ndarray) -> np.ndarray:
    """Class 2: masses of plus and minus at sign number k, given the parity of the minus signs before it.

    sign, rest: of :func:`octad_sign_masses`; k: 0..6; parity: int (n,) of 0 or 1. Returns float64 (n, 2).
    """
    rows = np.arange(len(parity))
    return np.stack([sign[:, k, 0] * rest[rows, k, parity], sign[:, k, 1] * rest[rows, k, 1 - parity]], axis=1)


def sums_over_a(pairs: np.ndarray) -> np.ndarray:
    """Class 3: masses of x = 0..15, the masses of (x, a) added from a = 0 up. pairs: float64 (n, 16, 16)."""
    masses = np.zeros(pairs.shape[:2])
    for a in range(16):
        masses += pairs[:, :, a]
    return masses


def last_word_masses(e: np.ndarray, x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Class 3: masses of b = 0..15 given x and a. e: float64 (n, 24, 9); x, a: int (n,). Returns float64 (n, 16)."""
    minus = golay_words().reshape(256, 16, DIM)[16 * x + a] == 1
    p, q = np.ones((len(e), 16)), np.zeros((len(e), 16))
    for first in range(0, DIM, BLOCK_LENGTH):
        y, w = np.ones((len(e), 16)), np.zeros((len(e), 16))
        for i in range(first, first + BLOCK_LENGTH):
            plain = np.where(minus[:, :, i], e[:, i, None, ZERO - 1], e[:, i, None, ZERO + 1])
            flipped = np.where(minus[:, :, i], e[:, i, None, ZERO + 3], e[:, i, None, ZERO - 3])
            y, w = y * plain, w * plain + y * flipped
        p, q = p * y, q * y + p * w
    return q


def flip_masses(e: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Class 3: relative masses of the flipped coordinate. e: float64 (n, 24, 9); word: int (n,). Returns (n, 24)."""
    minus = golay_words()[word] == 1
    flipped = np.where(minus, e[:, :, ZERO + 3], e[:, :, ZERO - 3])
    return flipped / np.where(minus, e[:, :, ZERO - 1], e[:, :, ZERO + 1])
