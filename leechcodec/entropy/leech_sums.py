"""The sums over the Leech lattice's codewords that coding needs, for many tokens side by side.

A codeword's mass is a product over its coordinates; docs/ENTROPY.md §4 fixes the order of every sum and product. LANES
tokens lie side by side in the innermost dimension. That changes which token is computed when, never the order
within one, so a token's masses are the same in any lane and any batch.

Two of the three classes are sums of products in a small algebra of pairs (p, q) = p + q·w:
  class 2, w² = 1: p and q hold the sign choices with an even and an odd number of minus signs;
  class 3, w² = 0: p holds no flipped coordinate, q exactly one.
Of such a pair a row holds the p of every lane, then the q. `grown` is a table of them, float64 (3 · 128, 2 LANES),
block by block: what eight coordinates contribute to a word whose bits there are the byte. A Golay word's bytes
have even weight, so their low seven bits number them.
"""

from functools import cache

import numpy as np

from leechcodec.entropy.jit import entry, inner
from leechcodec.entropy.pmf import SCORE_LIMIT, exponentials
from leechcodec.lattice.golay import BLOCK_LENGTH, BLOCKS, golay_words, octad_words
from leechcodec.lattice.leech import DIM

LANES = 32
OCTADS = 759
ZERO = 4
"""e_i(v) stands at position ZERO + v."""
VALUES = 2 * ZERO + 1
BYTES = 128
_BLOCK_0, _BLOCK_1, _BLOCK_2 = np.arange(BLOCKS)
_ONE, _FOUR = np.int64(1), np.int64(4)


@cache
def word_bytes() -> np.ndarray:
    """The three blocks of each Golay word as bytes, bit k for coordinate k of the block: int64 (4096, 3)."""
    blocks = golay_words().reshape(-1, BLOCKS, BLOCK_LENGTH)
    return np.packbits(blocks, axis=2, bitorder="little")[..., 0].astype(np.int64)


@cache
def octad_bytes() -> np.ndarray:
    """The same of the octads: int64 (759, 3)."""
    return word_bytes()[octad_words()]


def group_sums(params: np.ndarray, octads: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The masses of the classes, and of the x and the (x, a) of class 3.

    params: int64 (N, 24, 3). octads: float64 (batches, 759, LANES) to be filled, if the octads' are wanted, by batches
    of LANES tokens. Returns float64 (N, 3), (batches, 16, LANES) and (batches, 256, LANES).
    """
    batches = -(-len(params) // LANES)
    sums = np.empty((len(params), 3)), np.empty((batches, 16, LANES)), np.empty((batches, 256, LANES))
    octads = np.empty((1, OCTADS, LANES)) if octads is None else octads
    scratch = np.empty(4 * LANES), np.empty((3, LANES)), np.empty((16, 2 * LANES)), np.empty((16, 2 * LANES))
    _group_sums(params, exponentials(), word_bytes(), octad_bytes(), *lane_space(), *scratch, *sums, octads)
    return sums


def lane_space() -> tuple[np.ndarray, np.ndarray]:
    """Room for what kernels compute side by side: coordinates' masses, and `grown`."""
    return np.empty((DIM, VALUES, LANES)), np.empty((BLOCKS * BYTES, 2 * LANES))


@inner
def mass_of(a: int, b: int, d: int, v: int, table: np.ndarray) -> float:
    """e(v) = exp(f(v)) of a coordinate from the prior's outputs (docs/ENTROPY.md §2)."""
    score = (4 * a * v + 4 * b * abs(v) + d * v * v + 4) >> 3
    return table[SCORE_LIMIT + min(max(score, -SCORE_LIMIT), SCORE_LIMIT)]


@entry
def _group_sums(
    params: np.ndarray,
    table: np.ndarray,
    words: np.ndarray,
    octad_words: np.ndarray,
    lanes: np.ndarray,
    grown: np.ndarray,
    scratch: np.ndarray,
    total: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
    classes: np.ndarray,
    firsts: np.ndarray,
    pairs: np.ndarray,
    octads: np.ndarray,
) -> None:
    for batch in range(len(pairs)):
        here = params[batch * LANES : batch * LANES + LANES]
        for lane in range(LANES):
            fill_lane(here[min(lane, len(here) - 1)], table, _ONE, _FOUR, lanes, lane)
        sum_class_1(lanes, scratch, total[0])
        grow_signs(lanes, grown)
        sum_class_2(grown, octad_words, octads[min(batch, len(octads) - 1)], total[1])
        grow_flips(lanes, grown)
        sum_class_3(grown, words, near, far, scratch, pairs[batch], firsts[batch], total[2])
        for lane in range(len(here)):
            for k in range(3):
                classes[batch * LANES + lane, k] = total[k, lane]


@inner
def fill_lane(params: np.ndarray, table: np.ndarray, least: int, most: int, lanes: np.ndarray, lane: int) -> None:
    """lanes[i, ZERO + v, lane] <- e_i(v) of a token, |v| = least..most."""
    for i in range(DIM):
        a, b, d = params[i, 0], params[i, 1], params[i, 2]
        for v in range(least, most + 1):
            lanes[i, ZERO + v, lane] = mass_of(a, b, d, v, table)
            lanes[i, ZERO - v, lane] = mass_of(a, b, d, -v, table)


@inner
def sum_class_1(lanes: np.ndarray, later: np.ndarray, total: np.ndarray) -> None:
    """total <- sum over i of t_i · (t_23 + ... + t_(i+1)), t = e(4) + e(-4), from i = 22 down to 0."""
    for lane in range(LANES):
        later[lane] = total[lane] = 0.0
    for i in range(DIM - 1, -1, -1):
        plus, minus = lanes[i, ZERO + 4], lanes[i, ZERO - 4]
        for lane in range(LANES):
            t = plus[lane] + minus[lane]
            total[lane] += t * later[lane]
            later[lane] += t


@inner
def grow_signs(lanes: np.ndarray, grown: np.ndarray) -> None:
    """grown[128 block + s] <- product over the coordinates in s of (e(2), e(-2)), w² = 1."""
    for block in range(BLOCKS):
        pairs = grown[BYTES * block : BYTES * block + BYTES]
        for lane in range(LANES):
            pairs[0, lane], pairs[0, LANES + lane] = 1.0, 0.0
        for k in range(BLOCK_LENGTH - 1):
            e, bit = lanes[BLOCK_LENGTH * block + k], 1 << k
            _join_signs(pairs[:bit], e[ZERO + 2], e[ZERO - 2], pairs[bit : 2 * bit])
        e = lanes[BLOCK_LENGTH * block + BLOCK_LENGTH - 1]
        for s in range(BYTES):
            if is_odd(s):  # the last bit makes the weight even
                _sign_here(pairs[s], e[ZERO + 2], e[ZERO - 2])


@inner
def _join_signs(without: np.ndarray, plus: np.ndarray, minus: np.ndarray, joined: np.ndarray) -> None:
    for s in range(len(without)):
        for lane in range(LANES):
            even, odd, u, v = without[s, lane], without[s, LANES + lane], plus[lane], minus[lane]
            joined[s, lane] = even * u + odd * v
            joined[s, LANES + lane] = odd * u + even * v


@inner
def is_odd(s: int) -> bool:
    """Whether the number of ones among the low eight bits is odd."""
    s ^= s >> 4
    s ^= s >> 2
    return (s ^ s >> 1) & 1 == 1


@inner
def _sign_here(pair: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> None:
    for lane in range(LANES):
        even, odd, u, v = pair[lane], pair[LANES + lane], plus[lane], minus[lane]
        pair[lane] = even * u + odd * v
        pair[LANES + lane] = odd * u + even * v


@inner
def sum_class_2(grown: np.ndarray, words: np.ndarray, octad: np.ndarray, total: np.ndarray) -> None:
    """octad[k] <- the even part of the product of the octad's three blocks; total <- their sum."""
    for lane in range(LANES):
        total[lane] = 0.0
    for k in range(OCTADS):
        _octad(
            grown,
            _row(_BLOCK_0, words[k, 0]),
            _row(_BLOCK_1, words[k, 1]),
            _row(_BLOCK_2, words[k, 2]),
            octad,
            k,
            total,
        )


@inner
def _row(block: int, byte: int) -> int:
    """The row of a block's byte in `grown`."""
    return BYTES * block + byte % BYTES


@inner
def _octad(grown: np.ndarray, x: int, y: int, z: int, octads: np.ndarray, k: int, total: np.ndarray) -> None:
    first, second, third, octad = grown[x], grown[y], grown[z], octads[k]
    for lane in range(LANES):
        x0, x1, y0, y1 = first[lane], first[LANES + lane], second[lane], second[LANES + lane]
        even = x0 * y0 + x1 * y1
        odd = x0 * y1 + x1 * y0
        mass = even * third[lane] + odd * third[LANES + lane]
        octad[lane] = mass
        total[lane] += mass


@inner
def grow_flips(lanes: np.ndarray, grown: np.ndarray) -> None:
    """grown[128 block + s] <- product over the block of (e(1), e(-3)), or (e(-1), e(3)) where s has a bit, w² = 0."""
    for block in range(BLOCKS):
        pairs = grown[BYTES * block : BYTES * block + BYTES]
        for lane in range(LANES):
            pairs[0, lane], pairs[0, LANES + lane] = 1.0, 0.0
        for k in range(BLOCK_LENGTH - 1):
            e, bit = lanes[BLOCK_LENGTH * block + k], 1 << k
            _split_flips(pairs[:bit], e[ZERO + 1], e[ZERO - 3], e[ZERO - 1], e[ZERO + 3], pairs[bit : 2 * bit])
        e = lanes[BLOCK_LENGTH * block + BLOCK_LENGTH - 1]
        for s in range(BYTES):
            sign = -1 if is_odd(s) else 1
            _flip_here(pairs[s], e[ZERO + sign], e[ZERO - 3 * sign])


@inner
def _split_flips(
    low: np.ndarray,
    plain: np.ndarray,
    flipped: np.ndarray,
    plain_high: np.ndarray,
    flipped_high: np.ndarray,
    high: np.ndarray,
) -> None:
    for s in range(len(low)):
        for lane in range(LANES):
            p, q = low[s, lane], low[s, LANES + lane]
            low[s, lane] = p * plain[lane]
            low[s, LANES + lane] = q * plain[lane] + p * flipped[lane]
            high[s, lane] = p * plain_high[lane]
            high[s, LANES + lane] = q * plain_high[lane] + p * flipped_high[lane]


@inner
def _flip_here(pair: np.ndarray, plain: np.ndarray, flipped: np.ndarray) -> None:
    for lane in range(LANES):
        p, q = pair[lane], pair[LANES + lane]
        pair[lane] = p * plain[lane]
        pair[LANES + lane] = q * plain[lane] + p * flipped[lane]


@inner
def sum_class_3(
    grown: np.ndarray,
    words: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
    scratch: np.ndarray,
    pairs: np.ndarray,
    firsts: np.ndarray,
    total: np.ndarray,
) -> None:
    """pairs[16 x + a] <- the flipped part of the product of three blocks, summed over b; firsts[x] <- their sums over
    a; total <- the sum over x of those.

    With x given, the second block of a word depends on b alone and the third on a ^ b alone (golay.py): those rows are
    copied side by side, and stay in the nearest cache.
    """
    for lane in range(LANES):
        total[lane] = 0.0
    for x in range(16):
        for b in range(16):
            _copy(grown, _row(_BLOCK_1, words[256 * x + b, 1]), near, b)
            _copy(grown, _row(_BLOCK_2, words[256 * x + b, 2]), far, b)
        first = firsts[x]
        for lane in range(LANES):
            first[lane] = 0.0
        for a in range(0, 16, 2):
            for k in range(4 * LANES):
                scratch[k] = 0.0
            for b in range(0, 16, 4):
                _four_words(near, b, far, a ^ b, scratch)
            for k in range(2):
                pair = 16 * x + a + k
                _close(grown, _row(_BLOCK_0, words[16 * pair, 0]), scratch[2 * LANES * k :], pairs, pair, firsts, x)
        for lane in range(LANES):
            total[lane] += first[lane]


@inner
def _copy(source: np.ndarray, i: int, target: np.ndarray, j: int) -> None:
    here, there = source[i], target[j]
    for k in range(2 * LANES):
        there[k] = here[k]


@inner
def _four_words(near: np.ndarray, b: int, far: np.ndarray, c: int, sums: np.ndarray) -> None:
    """Adds the words b .. b + 3 to the sums of an even a, and to those of a + 1, which see the third blocks in pairs
    swapped: what is loaded is used twice, and one word follows the other, so that the sums stay in registers."""
    y, z = (near[b], near[b + 1], near[b + 2], near[b + 3]), (far[c], far[c ^ 1], far[c ^ 2], far[c ^ 3])
    for lane in range(LANES):
        n, f, m, g = sums[lane], sums[LANES + lane], sums[2 * LANES + lane], sums[3 * LANES + lane]
        y0, y1 = y[0][lane], y[0][LANES + lane]
        v0, v1, w0, w1 = z[0][lane], z[0][LANES + lane], z[1][lane], z[1][LANES + lane]
        n, f = n + y0 * v0, f + (y1 * v0 + y0 * v1)
        m, g = m + y0 * w0, g + (y1 * w0 + y0 * w1)
        y0, y1 = y[1][lane], y[1][LANES + lane]
        n, f = n + y0 * w0, f + (y1 * w0 + y0 * w1)
        m, g = m + y0 * v0, g + (y1 * v0 + y0 * v1)
        y0, y1 = y[2][lane], y[2][LANES + lane]
        v0, v1, w0, w1 = z[2][lane], z[2][LANES + lane], z[3][lane], z[3][LANES + lane]
        n, f = n + y0 * v0, f + (y1 * v0 + y0 * v1)
        m, g = m + y0 * w0, g + (y1 * w0 + y0 * w1)
        y0, y1 = y[3][lane], y[3][LANES + lane]
        n, f = n + y0 * w0, f + (y1 * w0 + y0 * w1)
        m, g = m + y0 * v0, g + (y1 * v0 + y0 * v1)
        sums[lane], sums[LANES + lane], sums[2 * LANES + lane], sums[3 * LANES + lane] = n, f, m, g


@inner
def _close(
    grown: np.ndarray, i: int, sums: np.ndarray, pairs: np.ndarray, pair: int, firsts: np.ndarray, x: int
) -> None:
    """A pair's mass <- the sums over b times the first block, which is the same for all of them."""
    block, mass, first = grown[i], pairs[pair], firsts[x]
    for lane in range(LANES):
        mass[lane] = block[lane] * sums[LANES + lane] + block[LANES + lane] * sums[lane]
        first[lane] += mass[lane]
