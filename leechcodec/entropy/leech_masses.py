"""Masses of a token's symbols under a separable score over the Leech lattice's 196,560 codewords.

A codeword c has mass prod_i e_i(c_i), e_i(v) = exp(f_i(v)). It is coded as a short chain of symbols,

    class                                            3
    class 1   i, j, two signs                        23, 23 - i, 2, 2
    class 2   octad, seven signs                     759, 2, 2, 2, 2, 2, 2, 2
    class 3   x, a, b (the Golay word), flip         16, 16, 16, 24

each with the summed mass of the codewords that remain: positive terms in a fixed order, docs/ENTROPY.md §4, so the
numbers are the same on every machine. The two costly sums, over 759 octads and 4,096 words, run over LANES tokens
side by side in the innermost dimension; that changes which token is computed when, never the order within one.
"""

from functools import cache

import numpy as np

from leechcodec.compiled import njit
from leechcodec.entropy.pmf import SCORE_LIMIT, exponentials
from leechcodec.lattice.golay import BLOCK_LENGTH, BLOCKS, golay_words, octad_supports, octad_words
from leechcodec.lattice.leech import DIM
from leechcodec.lattice.structure import NoAlias

LANES = 32
OCTADS = 759
ZERO = 4
"""e_i(v) stands at position ZERO + v."""


def coordinate_masses(params: np.ndarray) -> np.ndarray:
    """e_i(v) = exp(f_i(v)) from the prior's outputs.

    params: int64 (N, 24, 3), the (a, b, d) of each coordinate, within int32, in units of 1/64 nat.
    Returns float64 (N, 24, 9): v = -4..4 at position v + 4.
    """
    masses = np.empty((len(params), DIM, 2 * ZERO + 1))
    _coordinate_masses(params, exponentials(), masses)
    return masses


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _coordinate_masses(params: np.ndarray, table: np.ndarray, masses: np.ndarray) -> None:
    for token in range(params.shape[0]):
        for i in range(DIM):
            a, b, d = params[token, i, 0], params[token, i, 1], params[token, i, 2]
            for v in range(-ZERO, ZERO + 1):
                score = (4 * a * v + 4 * b * abs(v) + d * v * v + 4) >> 3
                masses[token, i, ZERO + v] = table[SCORE_LIMIT + min(max(score, -SCORE_LIMIT), SCORE_LIMIT)]


# --- sums over the codebook ------------------------------------------------------------------------------------
#
# Two of the classes are sums of products in a small algebra of pairs (p, q) = p + q·w:
#   class 2, w² = 1: p and q hold the sign choices with an even and an odd number of minus signs;
#   class 3, w² = 0: p holds no flipped coordinate, q exactly one.
# `grown` is a table of such pairs, float64 (3 blocks, 256 bytes, 2, LANES): what a block of eight coordinates
# contributes to a word whose bits there are the byte.


def shell_masses(e: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sums over the whole codebook that coding needs.

    e: float64 (N, 24, 9) of :func:`coordinate_masses`. Returns float64 masses: of the three classes (N, 3), of the
    octads (N, 759), and of the 256 pairs (x, a) of class 3 (N, 16, 16).
    """
    classes, octads, pairs = np.empty((len(e), 3)), np.empty((len(e), OCTADS)), np.empty((len(e), 16, 16))
    _shell_masses(e, _word_bytes(), _word_bytes()[octad_words()], classes, octads, pairs.reshape(len(e), 256))
    return classes, octads, pairs


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _shell_masses(
    e: np.ndarray,
    words: np.ndarray,
    octad_bytes: np.ndarray,
    classes: np.ndarray,
    octads: np.ndarray,
    pairs: np.ndarray,
) -> None:
    lanes = np.empty((DIM, 2 * ZERO + 1, LANES))
    grown, scratch = np.empty((BLOCKS, 256, 2, LANES)), np.empty((2, LANES))
    spare = np.empty((256, 2, LANES))
    total, octad, pair = np.empty((3, LANES)), np.empty((OCTADS, LANES)), np.empty((256, LANES))
    for start in range(0, len(e), LANES):
        used = min(LANES, len(e) - start)
        for i in range(DIM):
            for v in range(2 * ZERO + 1):
                for lane in range(LANES):
                    lanes[i, v, lane] = e[start + min(lane, used - 1), i, v]
        _sum_class_1(lanes, scratch, total[0])
        _grow_signs(lanes, grown)
        _sum_class_2(grown, octad_bytes, octad, total[1])
        _grow_flips(lanes, grown, spare)
        _sum_class_3(grown, words, scratch, pair, total[2])
        for k in range(3):
            for lane in range(used):
                classes[start + lane, k] = total[k, lane]
        for k in range(OCTADS):  # by rows of lanes: each is read once
            for lane in range(used):
                octads[start + lane, k] = octad[k, lane]
        for k in range(256):
            for lane in range(used):
                pairs[start + lane, k] = pair[k, lane]


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _sum_class_1(lanes: np.ndarray, scratch: np.ndarray, total: np.ndarray) -> None:
    """total <- sum over i of t_i · (t_23 + ... + t_(i+1)), t = e(4) + e(-4), from i = 22 down to 0."""
    total[:] = 0.0
    later = scratch[0]
    later[:] = 0.0
    for i in range(DIM - 1, -1, -1):
        for lane in range(LANES):
            t = lanes[i, ZERO + 4, lane] + lanes[i, ZERO - 4, lane]
            total[lane] += t * later[lane]
            later[lane] += t


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _grow_signs(lanes: np.ndarray, grown: np.ndarray) -> None:
    """grown[block, s] <- product over the coordinates in s of (e(2), e(-2)), w² = 1."""
    for block in range(BLOCKS):
        grown[block, 0, 0] = 1.0
        grown[block, 0, 1] = 0.0
        for k in range(BLOCK_LENGTH):
            e, bit = lanes[BLOCK_LENGTH * block + k], 1 << k
            for s in range(bit):
                without, joined = grown[block, s], grown[block, s + bit]
                for lane in range(LANES):
                    even, odd, u, v = without[0, lane], without[1, lane], e[ZERO + 2, lane], e[ZERO - 2, lane]
                    joined[0, lane] = even * u + odd * v
                    joined[1, lane] = odd * u + even * v


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _sum_class_2(grown: np.ndarray, octad_bytes: np.ndarray, octad: np.ndarray, total: np.ndarray) -> None:
    """octad[k] <- the even part of the product of the octad's three blocks; total <- their sum."""
    total[:] = 0.0
    for k in range(OCTADS):
        x, y, z = grown[0, octad_bytes[k, 0]], grown[1, octad_bytes[k, 1]], grown[2, octad_bytes[k, 2]]
        for lane in range(LANES):
            even = x[0, lane] * y[0, lane] + x[1, lane] * y[1, lane]
            odd = x[0, lane] * y[1, lane] + x[1, lane] * y[0, lane]
            mass = even * z[0, lane] + odd * z[1, lane]
            octad[k, lane] = mass
            total[lane] += mass


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _grow_flips(lanes: np.ndarray, grown: np.ndarray, spare: np.ndarray) -> None:
    """grown[block, s] <- product over the block of (e(1), e(-3)), or (e(-1), e(3)) where s has a bit, w² = 0."""
    for block in range(BLOCKS):
        source, target = spare, grown[block]  # they change places, so that no row is read and written at once
        target[0, 0] = 1.0
        target[0, 1] = 0.0
        for k in range(BLOCK_LENGTH):
            source, target = target, source
            e, bit = lanes[BLOCK_LENGTH * block + k], 1 << k
            for s in range(bit):
                word, plus, minus = source[s], target[s], target[s + bit]
                for lane in range(LANES):
                    p, q = word[0, lane], word[1, lane]
                    minus[0, lane] = p * e[ZERO - 1, lane]
                    minus[1, lane] = q * e[ZERO - 1, lane] + p * e[ZERO + 3, lane]
                    plus[0, lane] = p * e[ZERO + 1, lane]
                    plus[1, lane] = q * e[ZERO + 1, lane] + p * e[ZERO - 3, lane]


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _sum_class_3(
    grown: np.ndarray, words: np.ndarray, scratch: np.ndarray, pair: np.ndarray, total: np.ndarray
) -> None:
    """pair[16 x + a] <- the flipped part of the product of three blocks, summed over b; total <- sum over x of sums."""
    total[:] = 0.0
    for x in range(16):
        for a in range(16):
            _sum_words(grown, words[256 * x + 16 * a : 256 * x + 16 * a + 16], scratch, pair[16 * x + a])
        scratch[0] = 0.0
        for a in range(16):
            for lane in range(LANES):
                scratch[0, lane] += pair[16 * x + a, lane]
        for lane in range(LANES):
            total[lane] += scratch[0, lane]


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _sum_words(grown: np.ndarray, words: np.ndarray, scratch: np.ndarray, mass: np.ndarray) -> None:
    """mass <- sum over the 16 words of one (x, a). Their first block is the same: it multiplies the sum."""
    scratch[:] = 0.0
    for b in range(0, 16, 4):  # four at a time, one after the other: the sums stay in registers
        y0, y1, y2, y3 = (
            grown[1, words[b, 1]],
            grown[1, words[b + 1, 1]],
            grown[1, words[b + 2, 1]],
            grown[1, words[b + 3, 1]],
        )
        z0, z1, z2, z3 = (
            grown[2, words[b, 2]],
            grown[2, words[b + 1, 2]],
            grown[2, words[b + 2, 2]],
            grown[2, words[b + 3, 2]],
        )
        for lane in range(LANES):
            p, q = scratch[0, lane], scratch[1, lane]
            p = p + y0[0, lane] * z0[0, lane]
            q = q + (y0[1, lane] * z0[0, lane] + y0[0, lane] * z0[1, lane])
            p = p + y1[0, lane] * z1[0, lane]
            q = q + (y1[1, lane] * z1[0, lane] + y1[0, lane] * z1[1, lane])
            p = p + y2[0, lane] * z2[0, lane]
            q = q + (y2[1, lane] * z2[0, lane] + y2[0, lane] * z2[1, lane])
            p = p + y3[0, lane] * z3[0, lane]
            q = q + (y3[1, lane] * z3[0, lane] + y3[0, lane] * z3[1, lane])
            scratch[0, lane], scratch[1, lane] = p, q
    x = grown[0, words[0, 0]]
    for lane in range(LANES):
        mass[lane] = x[0, lane] * scratch[1, lane] + x[1, lane] * scratch[0, lane]


@cache
def _word_bytes() -> np.ndarray:
    """The three blocks of each Golay word as bytes, bit k for coordinate k of the block: int64 (4096, 3)."""
    blocks = golay_words().reshape(-1, BLOCKS, BLOCK_LENGTH)
    return np.packbits(blocks, axis=2, bitorder="little")[..., 0].astype(np.int64)


# --- masses of the symbols of one class ------------------------------------------------------------------------


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
    masses = np.empty((len(e), 16))
    _last_word_masses(e, _word_bytes(), 256 * x + 16 * a, masses)
    return masses


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _last_word_masses(e: np.ndarray, words: np.ndarray, first: np.ndarray, masses: np.ndarray) -> None:
    for token in range(len(e)):
        for b in range(16):
            p, q = 1.0, 0.0
            for block in range(BLOCKS):
                y, yq = _block_pair(e[token], block, words[first[token] + b, block])
                p, q = p * y, q * y + p * yq
            masses[token, b] = q


@njit(cache=True, nogil=True, pipeline_class=NoAlias)
def _block_pair(e: np.ndarray, block: int, byte: int) -> tuple[float, float]:
    """Mass of one token's block with the signs of `byte`: as it is, and with one coordinate times -3, summed."""
    p, q = 1.0, 0.0
    for k in range(BLOCK_LENGTH):
        sign = 1 - 2 * (byte >> k & 1)
        plain, flipped = e[BLOCK_LENGTH * block + k, ZERO + sign], e[BLOCK_LENGTH * block + k, ZERO - 3 * sign]
        p, q = p * plain, q * plain + p * flipped
    return p, q


def flip_masses(e: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Class 3: relative masses of the flipped coordinate. e: float64 (n, 24, 9); word: int (n,). Returns (n, 24)."""
    minus = golay_words()[word] == 1
    flipped = np.where(minus, e[:, :, ZERO + 3], e[:, :, ZERO - 3])
    return flipped / np.where(minus, e[:, :, ZERO - 1], e[:, :, ZERO + 1])
