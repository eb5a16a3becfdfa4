"""The sums over the Leech lattice's codewords that coding needs, for many tokens side by side.

A codeword's mass is a product over its coordinates; docs/ENTROPY.md §4 fixes the order of every sum and product. LANES
tokens lie side by side in the innermost dimension. That changes which token is computed when, never the order
within one, so a token's masses are the same in any lane and any batch.

Two of the three classes are sums of products in a small algebra of pairs (p, q) = p + q·w:
  class 2, w² = 1: p and q hold the sign choices with an even and an odd number of minus signs;
  class 3, w² = 0: p holds no flipped coordinate, q exactly one.
Of such a pair a row holds the p of every lane, then the q. `grown` is a table of them, float64 (3 blocks, 128 bytes,
2 LANES): what a block of eight coordinates contributes to a word whose bits there are the byte. A Golay word's bytes
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

    params: int64 (N, 24, 3). octads: float64 (ceil(N / LANES), 759, LANES) to be filled, if the octads' are wanted.
    Returns float64 (N, 3) and, batch by batch of LANES tokens, (ceil(N / LANES), 16, LANES) and (…, 256, LANES).
    """
    batches = -(-len(params) // LANES)
    classes, firsts, pairs = np.empty((len(params), 3)), np.empty((batches, 16, LANES)), np.empty((batches, 256, LANES))
    wanted = np.empty((0, OCTADS, LANES)) if octads is None else octads
    _group_sums(params, exponentials(), word_bytes(), octad_bytes(), classes, firsts, pairs, wanted)
    return classes, firsts, pairs


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
    classes: np.ndarray,
    firsts: np.ndarray,
    pairs: np.ndarray,
    octads: np.ndarray,
) -> None:
    lanes = np.empty((DIM, VALUES, LANES))
    grown, scratch, octad = np.empty((BLOCKS, BYTES, 2 * LANES)), np.empty(4 * LANES), np.empty((OCTADS, LANES))
    near, far, total = np.empty(16 * 2 * LANES), np.empty((16, 2 * LANES)), np.empty((3, LANES))
    rows = np.arange(len(params))
    for batch in range(len(pairs)):
        here = rows[batch * LANES : batch * LANES + LANES]
        fill_lanes(params, here, table, 1, 4, lanes)
        sum_class_1(lanes, scratch, total[0])
        grow_signs(lanes, grown)
        if len(octads) > 0:
            octad = octads[batch]
        sum_class_2(grown[0], grown[1], grown[2], octad_words, octad, total[1])
        grow_flips(lanes, grown)
        sum_class_3(grown, words, near, far, scratch, pairs[batch], firsts[batch], total[2])
        for lane in range(len(here)):
            for k in range(3):
                classes[batch * LANES + lane, k] = total[k, lane]


@inner
def fill_lanes(
    params: np.ndarray, rows: np.ndarray, table: np.ndarray, least: int, most: int, lanes: np.ndarray
) -> None:
    """lanes[i, ZERO + v] <- e_i(v), |v| = least..most, of the tokens in these rows, at most LANES; the last one fills
    the lanes left."""
    for lane in range(LANES):
        row = rows[min(lane, len(rows) - 1)]
        for i in range(DIM):
            a, b, d = params[row, i, 0], params[row, i, 1], params[row, i, 2]
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
    """grown[block, s] <- product over the coordinates in s of (e(2), e(-2)), w² = 1."""
    for block in range(BLOCKS):
        pairs = grown[block]
        for lane in range(LANES):
            pairs[0, lane], pairs[0, LANES + lane] = 1.0, 0.0
        for k in range(BLOCK_LENGTH - 1):
            e, bit = lanes[BLOCK_LENGTH * block + k], 1 << k
            for s in range(bit):
                _with_sign(pairs[s], e[ZERO + 2], e[ZERO - 2], pairs[s + bit])
        e = lanes[BLOCK_LENGTH * block + BLOCK_LENGTH - 1]
        for s in range(BYTES):
            if is_odd(s):  # the last bit makes the weight even
                _sign_here(pairs[s], e[ZERO + 2], e[ZERO - 2])


@inner
def is_odd(s: int) -> bool:
    """Whether the number of ones among the low eight bits is odd."""
    s ^= s >> 4
    s ^= s >> 2
    return (s ^ s >> 1) & 1 == 1


@inner
def _with_sign(without: np.ndarray, plus: np.ndarray, minus: np.ndarray, joined: np.ndarray) -> None:
    for lane in range(LANES):
        even, odd, u, v = without[lane], without[LANES + lane], plus[lane], minus[lane]
        joined[lane] = even * u + odd * v
        joined[LANES + lane] = odd * u + even * v


@inner
def _sign_here(pair: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> None:
    for lane in range(LANES):
        even, odd, u, v = pair[lane], pair[LANES + lane], plus[lane], minus[lane]
        pair[lane] = even * u + odd * v
        pair[LANES + lane] = odd * u + even * v


@inner
def sum_class_2(x: np.ndarray, y: np.ndarray, z: np.ndarray, words: np.ndarray, octad: np.ndarray, total: np.ndarray):
    """octad[k] <- the even part of the product of the octad's three blocks; total <- their sum."""
    for lane in range(LANES):
        total[lane] = 0.0
    for k in range(OCTADS):
        _octad(x[words[k, 0] % BYTES], y[words[k, 1] % BYTES], z[words[k, 2] % BYTES], octad[k], total)


@inner
def _octad(x: np.ndarray, y: np.ndarray, z: np.ndarray, octad: np.ndarray, total: np.ndarray) -> None:
    for lane in range(LANES):
        even = x[lane] * y[lane] + x[LANES + lane] * y[LANES + lane]
        odd = x[lane] * y[LANES + lane] + x[LANES + lane] * y[lane]
        mass = even * z[lane] + odd * z[LANES + lane]
        octad[lane] = mass
        total[lane] += mass


@inner
def grow_flips(lanes: np.ndarray, grown: np.ndarray) -> None:
    """grown[block, s] <- product over the block of (e(1), e(-3)), or (e(-1), e(3)) where s has a bit, w² = 0."""
    for block in range(BLOCKS):
        pairs = grown[block]
        for lane in range(LANES):
            pairs[0, lane], pairs[0, LANES + lane] = 1.0, 0.0
        for k in range(BLOCK_LENGTH - 1):
            e, bit = lanes[BLOCK_LENGTH * block + k], 1 << k
            for s in range(bit):
                _flip(pairs[s], e[ZERO - 1], e[ZERO + 3], pairs[s + bit])
                _flip_here(pairs[s], e[ZERO + 1], e[ZERO - 3])
        e = lanes[BLOCK_LENGTH * block + BLOCK_LENGTH - 1]
        for s in range(BYTES):
            sign = -1 if is_odd(s) else 1
            _flip_here(pairs[s], e[ZERO + sign], e[ZERO - 3 * sign])


@inner
def _flip(word: np.ndarray, plain: np.ndarray, flipped: np.ndarray, target: np.ndarray) -> None:
    for lane in range(LANES):
        p, q = word[lane], word[LANES + lane]
        target[lane] = p * plain[lane]
        target[LANES + lane] = q * plain[lane] + p * flipped[lane]


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

    With x given, the second block of a word depends on b alone and the third on a ^ b alone (golay.py).
    """
    for lane in range(LANES):
        total[lane] = 0.0
    for x in range(16):
        for b in range(16):
            _copy(grown[1, words[256 * x + b, 1] % BYTES], near[2 * LANES * b :])
            _copy(grown[2, words[256 * x + b, 2] % BYTES], far[b])
        first = firsts[x]
        for lane in range(LANES):
            first[lane] = 0.0
        for a in range(0, 16, 2):
            scratch[:] = 0.0
            for b in range(0, 16, 4):
                _four_words(near[2 * b * LANES :], far[a ^ b], far[a ^ b ^ 1], far[a ^ b ^ 2], far[a ^ b ^ 3], scratch)
            for k in range(2):
                m = 256 * x + 16 * (a + k)
                _close(grown[0, words[m, 0] % BYTES], scratch[2 * k * LANES :], pairs[m >> 4], first)
        for lane in range(LANES):
            total[lane] += first[lane]


@inner
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for k in range(2 * LANES):
        target[k] = source[k]


@inner
def _four_words(
    y: np.ndarray, z0: np.ndarray, z1: np.ndarray, z2: np.ndarray, z3: np.ndarray, sums: np.ndarray
) -> None:
    """Adds four words' blocks to the sums of an even a, and to those of a + 1, which see the third blocks in pairs
    swapped: what is loaded is used twice, and one word follows the other, so that the sums stay in registers."""
    for lane in range(LANES):
        n, f, m, g = sums[lane], sums[LANES + lane], sums[2 * LANES + lane], sums[3 * LANES + lane]
        y0, y1, v0, v1, w0, w1 = (
            y[0 * LANES + lane],
            y[1 * LANES + lane],
            z0[lane],
            z0[LANES + lane],
            z1[lane],
            z1[LANES + lane],
        )
        n, f = n + y0 * v0, f + (y1 * v0 + y0 * v1)
        m, g = m + y0 * w0, g + (y1 * w0 + y0 * w1)
        y0, y1 = y[2 * LANES + lane], y[3 * LANES + lane]
        n, f = n + y0 * w0, f + (y1 * w0 + y0 * w1)
        m, g = m + y0 * v0, g + (y1 * v0 + y0 * v1)
        y0, y1, v0, v1, w0, w1 = (
            y[4 * LANES + lane],
            y[5 * LANES + lane],
            z2[lane],
            z2[LANES + lane],
            z3[lane],
            z3[LANES + lane],
        )
        n, f = n + y0 * v0, f + (y1 * v0 + y0 * v1)
        m, g = m + y0 * w0, g + (y1 * w0 + y0 * w1)
        y0, y1 = y[6 * LANES + lane], y[7 * LANES + lane]
        n, f = n + y0 * w0, f + (y1 * w0 + y0 * w1)
        m, g = m + y0 * v0, g + (y1 * v0 + y0 * v1)
        sums[lane], sums[LANES + lane], sums[2 * LANES + lane], sums[3 * LANES + lane] = n, f, m, g


@inner
def _close(x: np.ndarray, sums: np.ndarray, pair: np.ndarray, total: np.ndarray) -> None:
    """pair <- the sums over b times the first block, which is the same for all of them."""
    for lane in range(LANES):
        mass = x[lane] * sums[LANES + lane] + x[LANES + lane] * sums[lane]
        pair[lane] = mass
        total[lane] += mass
