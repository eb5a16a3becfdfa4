"""The fast path: exact maximum and exact log-sum-exp of separable scores over all 196,560 codewords.

Give every coordinate a score g_i(v), v in -4..4; the score of a codeword c is sum_i g_i(c_i). Nearest codeword,
rate-aware choice and the normaliser of the prior are this sum under a maximum or under a log-sum-exp. None visits
the codebook. In Turyn's form (golay.py) a word is three blocks, each one of 128 even-weight bytes, so it is enough
to grow, block by block, tables over bytes of pairs that multiply like

    class 3   dual numbers (P, F):  P = all entries ±1,  F = one of them multiplied by -3
    class 2   parities (E, O):      an even, an odd number of minus signs on the byte's ones
    class 1   t + t²:               one, two entries ±4

with (+, ×) for sums and (max, +) for maxima, and to combine three look-ups for each of 4,096 words and 759 octads.
A byte's pair is the product of its halves', and a half's grows coordinate by coordinate, by doubling.

Tokens lie side by side in the innermost dimension (lanes), so that every statement is a vector instruction.
reference.py computes the same by visiting the codebook.
"""

from functools import cache

import numba
import numpy as np

from leechcodec.lattice.golay import LENGTH, golay_words, hamming, hamming_reversed, octad_supports, octad_words

LANES = 32
"""Tokens side by side in the maximum (float32)."""
SUM_LANES = 16
"""Tokens side by side in the sum (float64)."""
VALUES = 9
"""Entries of a score table a coordinate: v = -4..4 at index v + 4."""


@cache
def _bytes() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Structure of the blocks, bit t of a byte being coordinate t of the block.

    even, int32 (128,): the even-weight bytes. words, int32 (16, 16): row of `even` that is the byte of a + x, for
    x in H', a in H. octads, int32 (759, 3): rows of `even` of each octad's blocks. supports, int32 (759, 8).
    """
    even = np.array([byte for byte in range(256) if byte.bit_count() % 2 == 0], dtype=np.int32)
    row = np.zeros(256, dtype=np.int32)
    row[even] = np.arange(128)
    bits = hamming()[None] ^ hamming_reversed()[:, None]
    words = row[(bits.astype(np.int64) << np.arange(8)).sum(-1)]
    octads = golay_words()[octad_words()].reshape(-1, 3, 8).astype(np.int64)
    octads = row[(octads << np.arange(8)).sum(-1)]
    return even, words.astype(np.int32), octads.astype(np.int32), octad_supports().astype(np.int32)


def nearest(z: np.ndarray) -> np.ndarray:
    """Nearest codewords of directions: the exact argmax of z · c over the codebook.

    z: float32 (N, 24), finite, no row zero; any lengths. Returns int8 (N, 24) in integer form. Where codewords tie
    within rounding any of them may be returned. Raises ValueError for a zero or non-finite row.
    """
    z = np.ascontiguousarray(z, dtype=np.float32)
    if z.ndim != 2 or z.shape[1] != LENGTH:
        raise ValueError(f"expected directions of shape (N, {LENGTH}), got {z.shape}")
    if not np.isfinite(z).all() or not z.any(axis=1).all():
        raise ValueError("a direction is zero or not finite")
    codes = np.empty(z.shape, dtype=np.int8)
    _nearest(z, *_bytes(), codes, np.empty(len(z), dtype=np.float32))
    return codes


def best(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best codewords under separable scores: the exact argmax of sum_i scores[i, c_i + 4].

    scores: float32 (N, 24, 9), finite. Returns (codewords int8 (N, 24), their scores float32 (N,)).
    Raises ValueError for another shape or a score that is not finite.
    """
    scores = _checked(scores, np.float32)
    codes = np.empty(scores.shape[:2], dtype=np.int8)
    values = np.empty(len(scores), dtype=np.float32)
    _best(scores, *_bytes(), codes, values)
    return codes, values


def log_partition(scores: np.ndarray) -> np.ndarray:
    """log of the sum over all codewords c of exp(sum_i scores[i, c_i + 4]), in nats.

    scores: float (N, 24, 9), within ±25 nats (beyond, float64 could overflow). Returns float64 (N,).
    """
    scores = _checked(scores, np.float64)
    values = np.empty(len(scores))
    _log_partition(scores, *_bytes()[:3], values, np.empty((0, LENGTH, VALUES), dtype=np.float32))
    return values


def log_partition_and_marginals(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`log_partition` and its gradient: the probability that coordinate i of a codeword is v.

    Returns (float64 (N,), float32 (N, 24, 9)); the marginals of a coordinate sum to 1.
    """
    scores = _checked(scores, np.float64)
    values, marginals = np.empty(len(scores)), np.empty(scores.shape, dtype=np.float32)
    _log_partition(scores, *_bytes()[:3], values, marginals)
    return values, marginals


def _checked(scores: np.ndarray, dtype: type) -> np.ndarray:
    scores = np.ascontiguousarray(scores, dtype=dtype)
    if scores.ndim != 3 or scores.shape[1:] != (LENGTH, VALUES):
        raise ValueError(f"expected scores of shape (N, {LENGTH}, {VALUES}), got {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return scores


# --- the maximum ------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, fastmath=True, nogil=True)
def _nearest(z, even, words, octads, supports, codes, values):
    g = np.zeros((LENGTH, VALUES, LANES), dtype=np.float32)
    for start in range(0, z.shape[0], LANES):
        count = min(LANES, z.shape[0] - start)
        for lane in range(count):
            for i in range(LENGTH):
                for v in range(VALUES):
                    g[i, v, lane] = z[start + lane, i] * np.float32(v - 4)
        _best_block(g, even, words, octads, supports, codes, values, start, count)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _best(scores, even, words, octads, supports, codes, values):
    g = np.zeros((LENGTH, VALUES, LANES), dtype=np.float32)
    for start in range(0, scores.shape[0], LANES):
        count = min(LANES, scores.shape[0] - start)
        for lane in range(count):
            for i in range(LENGTH):
                for v in range(VALUES):
                    g[i, v, lane] = scores[start + lane, i, v] - scores[start + lane, i, 4]
        _best_block(g, even, words, octads, supports, codes, values, start, count)
        for lane in range(count):
            for i in range(LENGTH):
                values[start + lane] += scores[start + lane, i, 4]


@numba.njit(cache=True, fastmath=True, nogil=True)
def _grow_max(g, even, plain, gain, evens, odds):
    """Tables over the 128 bytes of each block, in (max, +).

    plain: sum of g(±1); gain: the best g(∓3) - g(±1) among the byte's coordinates; evens, odds: best sum of g(±2)
    over the ones of the byte with an even, an odd number of minus signs.
    """
    half = np.empty((2, 4, 16, LANES), dtype=np.float32)
    for block in range(3):
        for h in range(2):
            for lane in range(LANES):
                half[h, 0, 0, lane] = 0
                half[h, 1, 0, lane] = -1e30
                half[h, 2, 0, lane] = 0
                half[h, 3, 0, lane] = -1e30
            for t in range(4):
                i = 8 * block + 4 * h + t
                size = 1 << t
                for p in range(size):
                    q = p + size
                    for lane in range(LANES):
                        half[h, 0, q, lane] = half[h, 0, p, lane] + g[i, 3, lane]
                        half[h, 0, p, lane] = half[h, 0, p, lane] + g[i, 5, lane]
                        up, down = g[i, 1, lane] - g[i, 5, lane], g[i, 7, lane] - g[i, 3, lane]
                        half[h, 1, q, lane] = max(half[h, 1, p, lane], down)
                        half[h, 1, p, lane] = max(half[h, 1, p, lane], up)
                        e, o = half[h, 2, p, lane], half[h, 3, p, lane]
                        half[h, 2, q, lane] = max(e + g[i, 6, lane], o + g[i, 2, lane])
                        half[h, 3, q, lane] = max(o + g[i, 6, lane], e + g[i, 2, lane])
        for w in range(128):
            low, high = even[w] & 15, even[w] >> 4
            for lane in range(LANES):
                plain[block, w, lane] = half[0, 0, low, lane] + half[1, 0, high, lane]
                gain[block, w, lane] = max(half[0, 1, low, lane], half[1, 1, high, lane])
                e0, o0 = half[0, 2, low, lane], half[0, 3, low, lane]
                e1, o1 = half[1, 2, high, lane], half[1, 3, high, lane]
                evens[block, w, lane] = max(e0 + e1, o0 + o1)
                odds[block, w, lane] = max(e0 + o1, o0 + e1)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _best_block(g, even, words, octads, supports, codes, values, start, count):
    """Best codewords of one block of lanes. g: scores with g(0) = 0, (24, 9, LANES)."""
    plain = np.empty((3, 128, LANES), dtype=np.float32)
    gain, evens, odds = np.empty_like(plain), np.empty_like(plain), np.empty_like(plain)
    _grow_max(g, even, plain, gain, evens, odds)
    top = np.full(LANES, -1e30, dtype=np.float32)
    winner = np.zeros(LANES, dtype=np.int32)
    inner = np.empty(LANES, dtype=np.float32)
    for x in range(16):
        for a in range(16):
            wa = words[x, a]
            for lane in range(LANES):
                inner[lane] = -1e30
            for b in range(16):
                wb, wc = words[x, b], words[x, a ^ b]
                for lane in range(LANES):
                    flip = max(max(gain[0, wa, lane], gain[1, wb, lane]), gain[2, wc, lane])
                    inner[lane] = max(inner[lane], plain[1, wb, lane] + plain[2, wc, lane] + flip)
            for lane in range(LANES):
                score = inner[lane] + plain[0, wa, lane]
                if score > top[lane]:
                    top[lane] = score
                    winner[lane] = 16 * x + a
    for k in range(octads.shape[0]):
        w0, w1, w2 = octads[k, 0], octads[k, 1], octads[k, 2]
        for lane in range(LANES):
            e = max(evens[0, w0, lane] + evens[1, w1, lane], odds[0, w0, lane] + odds[1, w1, lane])
            o = max(evens[0, w0, lane] + odds[1, w1, lane], odds[0, w0, lane] + evens[1, w1, lane])
            score = max(e + evens[2, w2, lane], o + odds[2, w2, lane])
            if score > top[lane]:
                top[lane] = score
                winner[lane] = 256 + k
    for lane in range(count):
        row = start + lane
        values[row] = top[lane]
        if _write_class_1(g, lane, top[lane], codes[row]):
            four = np.float32(0)
            for i in range(LENGTH):
                if codes[row, i] != 0:
                    four += g[i, codes[row, i] + 4, lane]
            values[row] = four
        elif winner[lane] >= 256:
            _write_class_2(g, lane, supports[winner[lane] - 256], codes[row])
        else:
            _write_class_3(g, lane, even, words, plain, gain, winner[lane], codes[row])


@numba.njit(cache=True)
def _write_class_1(g, lane, threshold, code):
    """Write the best codeword (±4, ±4, 0^22) if it beats the threshold."""
    first, second = -1, -1
    best_first, best_second = np.float32(-1e30), np.float32(-1e30)
    for i in range(LENGTH):
        t = max(g[i, 8, lane], g[i, 0, lane])
        if t > best_first:
            second, best_second = first, best_first
            first, best_first = i, t
        elif t > best_second:
            second, best_second = i, t
    if best_first + best_second <= threshold:
        return False
    code[:] = 0
    code[first] = 4 if g[first, 8, lane] >= g[first, 0, lane] else -4
    code[second] = 4 if g[second, 8, lane] >= g[second, 0, lane] else -4
    return True


@numba.njit(cache=True)
def _write_class_2(g, lane, support, code):
    """Best signs on an octad; if their parity is odd, the cheapest change of one."""
    code[:] = 0
    odd, cheapest, least = False, support[0], np.float32(1e30)
    for i in support:
        difference = g[i, 6, lane] - g[i, 2, lane]
        code[i] = 2 if difference >= 0 else -2
        odd ^= difference < 0
        if abs(difference) < least:
            cheapest, least = i, abs(difference)
    if odd:
        code[cheapest] = -code[cheapest]


@numba.njit(cache=True)
def _write_class_3(g, lane, even, words, plain, gain, group, code):
    """The word of a group (x, a) that won, with its best flip."""
    x, a = group >> 4, group & 15
    wa = words[x, a]
    chosen, score = 0, np.float32(-1e30)
    for b in range(16):
        wb, wc = words[x, b], words[x, a ^ b]
        flip = max(max(gain[0, wa, lane], gain[1, wb, lane]), gain[2, wc, lane])
        candidate = plain[1, wb, lane] + plain[2, wc, lane] + flip
        if candidate > score:
            chosen, score = b, candidate
    flipped, best_gain = 0, np.float32(-1e30)
    for i in range(LENGTH):
        block = i >> 3
        w = wa if block == 0 else (words[x, chosen] if block == 1 else words[x, a ^ chosen])
        sign = 1 - 2 * (even[w] >> (i & 7) & 1)
        code[i] = sign
        change = g[i, 4 - 3 * sign, lane] - g[i, 4 + sign, lane]
        if change > best_gain:
            flipped, best_gain = i, change
    code[flipped] = -3 * code[flipped]


# --- the sum ----------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, fastmath=True, nogil=True)
def _log_partition(scores, even, words, octads, values, marginals):
    wanted = marginals.shape[0] > 0
    e = np.ones((LENGTH, VALUES, SUM_LANES))
    mass = np.zeros((LENGTH, VALUES, SUM_LANES))
    shape = (3, 128, SUM_LANES)
    p, f, evens, odds = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    dp, df, devens, dodds = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    half = np.empty((3, 2, 4, 16, SUM_LANES))
    total = np.empty(SUM_LANES)
    for start in range(0, scores.shape[0], SUM_LANES):
        count = min(SUM_LANES, scores.shape[0] - start)
        for lane in range(count):
            for i in range(LENGTH):
                for v in range(VALUES):
                    e[i, v, lane] = np.exp(scores[start + lane, i, v] - scores[start + lane, i, 4])
        _grow_sum(e, even, half, p, f, evens, odds)
        mass[:] = 0
        total[:] = 0
        dp[:] = 0
        df[:] = 0
        devens[:] = 0
        dodds[:] = 0
        _sum_class_1(e, total, mass)
        _sum_class_2(octads, evens, odds, total, devens, dodds)
        _sum_class_3(words, p, f, total, dp, df, wanted)
        if wanted:
            _marginals_of_tables(e, even, half, dp, df, devens, dodds, mass)
        for lane in range(count):
            row = start + lane
            values[row] = np.log(total[lane])
            for i in range(LENGTH):
                values[row] += scores[row, i, 4]
            if wanted:
                for i in range(LENGTH):
                    rest = 1.0
                    for v in range(VALUES):
                        if v != 4:
                            share = mass[i, v, lane] / total[lane]
                            marginals[row, i, v] = share
                            rest -= share
                    marginals[row, i, 4] = rest


@numba.njit(cache=True, fastmath=True, nogil=True)
def _grow_sum(e, even, half, p, f, evens, odds):
    """The tables of _grow_max in (+, ×): p, f are dual numbers, evens and odds parities."""
    for block in range(3):
        for h in range(2):
            for lane in range(SUM_LANES):
                half[block, h, 0, 0, lane] = 1
                half[block, h, 1, 0, lane] = 0
                half[block, h, 2, 0, lane] = 1
                half[block, h, 3, 0, lane] = 0
            for t in range(4):
                i = 8 * block + 4 * h + t
                size = 1 << t
                for s in range(size):
                    q = s + size
                    for lane in range(SUM_LANES):
                        ps, fs = half[block, h, 0, s, lane], half[block, h, 1, s, lane]
                        half[block, h, 0, q, lane] = ps * e[i, 3, lane]
                        half[block, h, 1, q, lane] = fs * e[i, 3, lane] + ps * e[i, 7, lane]
                        half[block, h, 0, s, lane] = ps * e[i, 5, lane]
                        half[block, h, 1, s, lane] = fs * e[i, 5, lane] + ps * e[i, 1, lane]
                        es, os = half[block, h, 2, s, lane], half[block, h, 3, s, lane]
                        half[block, h, 2, q, lane] = es * e[i, 6, lane] + os * e[i, 2, lane]
                        half[block, h, 3, q, lane] = os * e[i, 6, lane] + es * e[i, 2, lane]
        for w in range(128):
            low, high = even[w] & 15, even[w] >> 4
            for lane in range(SUM_LANES):
                p0, f0 = half[block, 0, 0, low, lane], half[block, 0, 1, low, lane]
                p1, f1 = half[block, 1, 0, high, lane], half[block, 1, 1, high, lane]
                p[block, w, lane] = p0 * p1
                f[block, w, lane] = f0 * p1 + p0 * f1
                e0, o0 = half[block, 0, 2, low, lane], half[block, 0, 3, low, lane]
                e1, o1 = half[block, 1, 2, high, lane], half[block, 1, 3, high, lane]
                evens[block, w, lane] = e0 * e1 + o0 * o1
                odds[block, w, lane] = e0 * o1 + o0 * e1


@numba.njit(cache=True, fastmath=True, nogil=True)
def _sum_class_1(e, total, mass):
    """Second elementary symmetric polynomial of t_i = e(4) + e(-4), and each entry's share of it."""
    others = np.zeros((LENGTH, SUM_LANES))
    running = np.zeros((2, SUM_LANES))
    for i in range(LENGTH):
        k = LENGTH - 1 - i
        for lane in range(SUM_LANES):
            t = e[i, 8, lane] + e[i, 0, lane]
            total[lane] += t * running[0, lane]
            others[i, lane] += running[0, lane]
            running[0, lane] += t
            others[k, lane] += running[1, lane]
            running[1, lane] += e[k, 8, lane] + e[k, 0, lane]
    for i in range(LENGTH):
        for lane in range(SUM_LANES):
            mass[i, 8, lane] += e[i, 8, lane] * others[i, lane]
            mass[i, 0, lane] += e[i, 0, lane] * others[i, lane]


@numba.njit(cache=True, fastmath=True, nogil=True)
def _sum_class_2(octads, evens, odds, total, devens, dodds):
    for k in range(octads.shape[0]):
        w0, w1, w2 = octads[k, 0], octads[k, 1], octads[k, 2]
        for lane in range(SUM_LANES):
            e0, e1, e2 = evens[0, w0, lane], evens[1, w1, lane], evens[2, w2, lane]
            o0, o1, o2 = odds[0, w0, lane], odds[1, w1, lane], odds[2, w2, lane]
            even, odd = e0 * e1 + o0 * o1, e0 * o1 + o0 * e1
            total[lane] += even * e2 + odd * o2
            devens[0, w0, lane] += e1 * e2 + o1 * o2
            dodds[0, w0, lane] += o1 * e2 + e1 * o2
            devens[1, w1, lane] += e0 * e2 + o0 * o2
            dodds[1, w1, lane] += o0 * e2 + e0 * o2
            devens[2, w2, lane] += even
            dodds[2, w2, lane] += odd


@numba.njit(cache=True, fastmath=True, nogil=True)
def _sum_class_3(words, p, f, total, dp, df, wanted):
    """For each x the sum over a and b is a convolution on (Z/2)^4 of dual numbers; c = a ^ b."""
    pc, fc = np.empty(SUM_LANES), np.empty(SUM_LANES)
    for x in range(16):
        for c in range(16):
            wc = words[x, c]
            pc[:] = 0
            fc[:] = 0
            for a in range(16):
                wa, wb = words[x, a], words[x, a ^ c]
                for lane in range(SUM_LANES):
                    pa, pb = p[0, wa, lane], p[1, wb, lane]
                    pc[lane] += pa * pb
                    fc[lane] += f[0, wa, lane] * pb + pa * f[1, wb, lane]
            for lane in range(SUM_LANES):
                total[lane] += fc[lane] * p[2, wc, lane] + pc[lane] * f[2, wc, lane]
                dp[2, wc, lane] += fc[lane]
                df[2, wc, lane] += pc[lane]
            if wanted:
                for a in range(16):
                    wa, wb = words[x, a], words[x, a ^ c]
                    for lane in range(SUM_LANES):
                        p2, f2 = p[2, wc, lane], f[2, wc, lane]
                        df[0, wa, lane] += p2 * p[1, wb, lane]
                        dp[0, wa, lane] += f2 * p[1, wb, lane] + p2 * f[1, wb, lane]
                        df[1, wb, lane] += p2 * p[0, wa, lane]
                        dp[1, wb, lane] += f2 * p[0, wa, lane] + p2 * f[0, wa, lane]


@numba.njit(cache=True, fastmath=True, nogil=True)
def _marginals_of_tables(e, even, half, dp, df, devens, dodds, mass):
    """Reverse mode through _grow_sum: from derivatives by byte to the mass of every value of every coordinate."""
    d = np.empty((2, 4, 16, SUM_LANES))
    for block in range(3):
        d[:] = 0
        for w in range(128):
            patterns = (even[w] & 15, even[w] >> 4)
            for h in range(2):
                own, other = patterns[h], patterns[1 - h]
                for lane in range(SUM_LANES):
                    po, fo = half[block, 1 - h, 0, other, lane], half[block, 1 - h, 1, other, lane]
                    d[h, 0, own, lane] += dp[block, w, lane] * po + df[block, w, lane] * fo
                    d[h, 1, own, lane] += df[block, w, lane] * po
                    eo, oo = half[block, 1 - h, 2, other, lane], half[block, 1 - h, 3, other, lane]
                    d[h, 2, own, lane] += devens[block, w, lane] * eo + dodds[block, w, lane] * oo
                    d[h, 3, own, lane] += devens[block, w, lane] * oo + dodds[block, w, lane] * eo
        for h in range(2):
            for q in range(16):
                for t in range(4):
                    i = 8 * block + 4 * h + t
                    plain, flipped = (3, 7) if q >> t & 1 else (5, 1)
                    for lane in range(SUM_LANES):
                        pq, fq = half[block, h, 0, q, lane], half[block, h, 1, q, lane]
                        here = d[h, 1, q, lane] * pq * e[i, flipped, lane] / e[i, plain, lane]
                        mass[i, flipped, lane] += here
                        mass[i, plain, lane] += d[h, 0, q, lane] * pq + d[h, 1, q, lane] * fq - here
            # Parities backwards through the doubling: the prefix tables are the first 2^t entries.
            for t in range(3, -1, -1):
                i = 8 * block + 4 * h + t
                size = 1 << t
                for s in range(size):
                    q = s + size
                    for lane in range(SUM_LANES):
                        es, os = half[block, h, 2, s, lane], half[block, h, 3, s, lane]
                        de, do = d[h, 2, q, lane], d[h, 3, q, lane]
                        up, down = e[i, 6, lane], e[i, 2, lane]
                        mass[i, 6, lane] += up * (de * es + do * os)
                        mass[i, 2, lane] += down * (de * os + do * es)
                        d[h, 2, s, lane] += de * up + do * down
                        d[h, 3, s, lane] += do * up + de * down
