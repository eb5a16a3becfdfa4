"""Exact argmax of separable scores over the codebook: nearest codeword and rate-aware choice. See kernels.py."""

import numpy as np

from leechcodec.lattice.golay import LENGTH
from leechcodec.lattice.leech import OFFSET_2, OFFSET_3
from leechcodec.lattice.structure import LANES, ROW, VALUES, E, F, O, P, check_shape, entry, inner, turyn


def nearest(z: np.ndarray) -> np.ndarray:
    """Nearest codewords of directions: the exact argmax of z · c over the codebook.

    z: float32 (N, 24), finite, no row zero; any lengths. Returns int8 (N, 24) in integer form. Where codewords tie
    within rounding any of them may be returned. Raises ValueError for another shape, a zero or a non-finite row.
    """
    return _search_directions(z)[0]


def nearest_index(z: np.ndarray) -> np.ndarray:
    """:func:`nearest` as indices in leech.py's order: int64 (N,), each in [0, 196560)."""
    return _search_directions(z)[1]


def best(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best codewords under separable scores: the exact argmax of sum_i scores[i, c_i + 4].

    scores: float32 (N, 24, 9), any unit, finite, below 1e30 in magnitude. Returns (codewords int8 (N, 24), their scores
    float32 (N,)). Ties as in :func:`nearest`. Raises ValueError for another shape or such a score.
    """
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    check_shape(scores)
    if scores.size and not np.abs(scores).max() < 1e30:
        raise ValueError("a score is not finite, or beyond 1e30")
    codes, indices = np.empty(scores.shape[:2], dtype=np.int8), np.empty(len(scores), dtype=np.int64)
    _search(scores, tuple(turyn()), codes, indices, _space())
    values = np.take_along_axis(scores, codes[..., None].astype(np.int64) + 4, axis=2).sum((1, 2), dtype=np.float64)
    return codes, values.astype(np.float32)


def _search_directions(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = np.ascontiguousarray(z, dtype=np.float32)
    if z.ndim != 2 or z.shape[1] != LENGTH:
        raise ValueError(f"expected directions of shape (N, {LENGTH}), got {z.shape}")
    codes, indices = np.empty(z.shape, dtype=np.int8), np.empty(len(z), dtype=np.int64)
    bad = _search(z[..., None], tuple(turyn()), codes, indices, _space())
    if bad >= 0:
        raise ValueError(f"a direction is zero or not finite: row {bad}")
    return codes, indices


def _space() -> tuple[np.ndarray, ...]:
    """Room for what :func:`_search` computes."""
    tree = np.full((6, 32, ROW), -np.inf, dtype=np.float32)
    g, table = np.zeros((LENGTH, VALUES, LANES), dtype=np.float32), np.empty((3, 64, ROW), dtype=np.float32)
    return g, tree, table, np.empty(LANES, dtype=np.float32), np.empty(LANES, dtype=np.int32)


@entry
def _search(scores, turyn, codes, indices, space):
    """Best codewords and their indices, one block of lanes at a time.

    scores: float32 (N, 24, 9), or directions (N, 24, 1).
    Returns the first row that is no direction, -1 if there is none.
    """
    byte, halves, octad_halves, _, _, twos, fours, complements, groups, supports = turyn
    g, tree, table, top, winner = space
    for start in range(0, len(scores), LANES):
        count = min(LANES, len(scores) - start)
        for lane in range(count):
            if scores.shape[2] == VALUES:
                _load_scores(scores, start + lane, g, lane)
            elif not _load_direction(scores, start + lane, g, lane):
                return start + lane
        if scores.shape[2] == 1:
            _multiples(g)
        for h in range(6):
            _grow_max(g[4 * h : 4 * h + 4], tree[h])
        for j in range(3):
            _fold_max(tree[2 * j], tree[2 * j + 1], halves, octad_halves, table[j])
        _best_pair(g, top, winner)
        _best_triple(table[0], table[1], table[2], top, winner)
        for j in range(3):
            _best_octad(table[j], table[j - 2], table[j - 1], j, twos, fours, top, winner)
        for lane in range(count):
            row = start + lane
            if winner[lane] < 0:
                indices[row] = _write_class_1(g, lane, codes[row])
            elif winner[lane] < 64:
                indices[row] = _write_class_3(g, table, lane, winner[lane], byte, complements, codes[row])
            else:
                indices[row] = _write_class_2(g, lane, groups[winner[lane] - 64], supports, codes[row])
    return -1


@inner
def _load_scores(scores, row, g, lane):
    """Scores relative to that of 0."""
    for i in range(LENGTH):
        for v in range(VALUES):
            g[i, v, lane] = scores[row, i, v] - scores[row, i, 4]


@inner
def _load_direction(z, row, g, lane):
    """z, brought to unit maximum so that no sum leaves float32's range, into g(1); False if it has no direction."""
    largest = np.float32(0)
    for i in range(LENGTH):
        if not abs(z[row, i, 0]) < np.inf:
            return False
        largest = max(largest, abs(z[row, i, 0]))
    if largest == 0:
        return False
    scale = 1 / np.float64(largest)
    for i in range(LENGTH):
        g[i, 5, lane] = np.float32(z[row, i, 0] * scale)
    return True


@inner
def _multiples(g):
    for i in range(LENGTH):
        for lane in range(LANES):
            z = g[i, 5, lane]
            g[i, 0, lane], g[i, 8, lane] = -4 * z, 4 * z
            g[i, 1, lane], g[i, 7, lane] = -3 * z, 3 * z
            g[i, 2, lane], g[i, 6, lane] = -2 * z, 2 * z
            g[i, 3, lane] = -z


@inner
def _grow_max(g, tree):
    """:func:`_grow` in (max, +)."""
    for lane in range(LANES):
        tree[1, P + lane] = tree[1, E + lane] = 0
    for t in range(4):
        for n in range(1 << t, 2 << t):
            m = 2 * n
            for lane in range(LANES):
                p, f, e, o = tree[n, P + lane], tree[n, F + lane], tree[n, E + lane], tree[n, O + lane]
                tree[m, P + lane] = p + g[t, 5, lane]
                tree[m, F + lane] = max(f + g[t, 5, lane], p + g[t, 1, lane])
                tree[m, E + lane] = e
                tree[m, O + lane] = o
                tree[m + 1, P + lane] = p + g[t, 3, lane]
                tree[m + 1, F + lane] = max(f + g[t, 3, lane], p + g[t, 7, lane])
                tree[m + 1, E + lane] = max(e + g[t, 6, lane], o + g[t, 2, lane])
                tree[m + 1, O + lane] = max(o + g[t, 6, lane], e + g[t, 2, lane])


@inner
def _fold_max(low, high, halves, octad_halves, table):
    """:func:`_fold` in (max, +). Node 0 is minus infinity."""
    for k in range(64):
        for lane in range(LANES):
            p = f = e = o = np.float32(-np.inf)
            for s in range(2):
                n, m = halves[k, s, 0], halves[k, s, 1]
                x, y = low[n, P + lane], high[m, P + lane]
                p = max(p, x + y)
                f = max(f, max(x + high[m, F + lane], low[n, F + lane] + y))
                n, m = octad_halves[k, s, 0], octad_halves[k, s, 1]
                e0, e1, o0, o1 = low[n, E + lane], high[m, E + lane], low[n, O + lane], high[m, O + lane]
                e = max(e, max(e0 + e1, o0 + o1))
                o = max(o, max(e0 + o1, o0 + e1))
            table[k, P + lane] = p
            table[k, F + lane] = f
            table[k, E + lane] = e
            table[k, O + lane] = o


@inner
def _best_pair(g, top, winner):
    """Class 1: the two largest of max(g(4), g(-4)); winner -1."""
    for lane in range(LANES):
        first = second = np.float32(-np.inf)
        for i in range(LENGTH):
            t = max(g[i, 0, lane], g[i, 8, lane])
            second = max(second, min(first, t))
            first = max(first, t)
        top[lane] = first + second
        winner[lane] = -1


@inner
def _best_triple(x, y, z, top, winner):
    """Class 3, by the third block's class, which becomes the winner's number."""
    for k in range(0, 64, 8):
        for c in range(8):
            for lane in range(LANES):
                p = f = np.float32(-np.inf)
                for a in range(8):
                    p0, p1 = x[k + a, P + lane], y[k + (a ^ c), P + lane]
                    p = max(p, p0 + p1)
                    f = max(f, max(p0 + y[k + (a ^ c), F + lane], x[k + a, F + lane] + p1))
                score = max(p + z[k + c, F + lane], f + z[k + c, P + lane])
                winner[lane] = np.int32(k + c) if score > top[lane] else winner[lane]
                top[lane] = max(top[lane], score)


@inner
def _best_octad(x, y, z, j, twos, fours, top, winner):
    """Class 2, by the class of x, block j; y and z are the other blocks. The number is 64 + the row of Turyn.groups."""
    for k in range(8, 64, 8):
        for n in range(4):
            four = fours[k >> 3, n]
            for lane in range(LANES):
                e = o = np.float32(-np.inf)
                for m in range(4):
                    a = k + twos[k >> 3, m]
                    b = k + (twos[k >> 3, m] ^ four)
                    e0, e1, o0, o1 = y[a, E + lane], z[b, E + lane], y[a, O + lane], z[b, O + lane]
                    e = max(e, max(e0 + e1, o0 + o1))
                    o = max(o, max(e0 + o1, o0 + e1))
                score = max(e + x[k + four, E + lane], o + x[k + four, O + lane])
                winner[lane] = np.int32(64 + 12 * (k // 8 - 1) + 4 * j + n) if score > top[lane] else winner[lane]
                top[lane] = max(top[lane], score)
    for q in range(1, 8):
        for lane in range(LANES):
            score = max(y[q, E + lane] + z[q, E + lane], y[q, O + lane] + z[q, O + lane])
            winner[lane] = np.int32(148 + 3 * (q - 1) + j) if score > top[lane] else winner[lane]
            top[lane] = max(top[lane], score)
    for lane in range(LANES):
        winner[lane] = np.int32(169 + j) if x[0, E + lane] > top[lane] else winner[lane]
        top[lane] = max(top[lane], x[0, E + lane])


@inner
def _write_class_1(g, lane, code):
    first, second = 0, 0
    best_first, best_second = -np.inf, -np.inf
    for i in range(LENGTH):
        t = max(g[i, 0, lane], g[i, 8, lane])
        if t > best_first:
            second, best_second = first, best_first
            first, best_first = i, t
        elif t > best_second:
            second, best_second = i, t
    i, j = min(first, second), max(first, second)
    code[:] = 0
    code[i] = 4 if g[i, 8, lane] >= g[i, 0, lane] else -4
    code[j] = 4 if g[j, 8, lane] >= g[j, 0, lane] else -4
    pair = i * (2 * LENGTH - 1 - i) // 2 + j - i - 1
    return 4 * pair + 2 * (code[i] < 0) + (code[j] < 0)


@inner
def _write_class_2(g, lane, group, supports, code):
    """The best octad of a group with its best signs: if their number is odd, the cheapest change of one."""
    top, octad, signs = -np.inf, 0, 0
    for candidate in group:
        if candidate < 0:
            break
        score, least, cheapest, negative = 0.0, np.inf, 0, 0
        for t in range(8):
            plus, minus = g[supports[candidate, t], 6, lane], g[supports[candidate, t], 2, lane]
            negative ^= (plus < minus) << t | (plus < minus) << 8
            score += max(plus, minus)
            if abs(plus - minus) < least:
                cheapest, least = t, abs(plus - minus)
        if negative >> 8:
            negative ^= 1 << cheapest
            score -= least
        if score > top:
            top, octad, signs = score, candidate, negative & 255
    code[:] = 0
    for t in range(8):
        code[supports[octad, t]] = 2 - 4 * (signs >> t & 1)
    return OFFSET_2 + 128 * octad + (signs & 127)


@inner
def _write_class_3(g, table, lane, group, byte, complements, code):
    """The best triple of a group, in each block the better of byte and complement, in one block with its best flip."""
    k, c = group & 56, group & 7
    top, a, flipped_block = -np.inf, 0, 0
    for q in range(8):
        p = table[0, k + q, P + lane], table[1, k + (q ^ c), P + lane], table[2, k + c, P + lane]
        f = table[0, k + q, F + lane], table[1, k + (q ^ c), F + lane], table[2, k + c, F + lane]
        for j, score in enumerate((f[0] + p[1] + p[2], p[0] + f[1] + p[2], p[0] + p[1] + f[2])):
            if score > top:
                top, a, flipped_block = score, q, j
    b = a ^ c
    word, flip = 32 * k + 16 * a + b, 0
    for j, q in enumerate((a, b, c)):
        best, chosen, coordinate = -np.inf, 0, 0
        for s in range(2):
            bits = byte[k + q] ^ (255 * s)
            score, gain, position = 0.0, -np.inf, 0
            for t in range(8):
                i, sign = 8 * j + t, 1 - 2 * (bits >> t & 1)
                score += g[i, 4 + sign, lane]
                if g[i, 4 - 3 * sign, lane] - g[i, 4 + sign, lane] > gain:
                    gain, position = g[i, 4 - 3 * sign, lane] - g[i, 4 + sign, lane], i
            if j == flipped_block:
                score += gain
            if score > best:
                best, chosen, coordinate = score, s, position
        if chosen:
            word ^= complements[j]
        for t in range(8):
            code[8 * j + t] = 1 - 2 * ((byte[k + q] ^ (255 * chosen)) >> t & 1)
        if j == flipped_block:
            flip = coordinate
    code[flip] *= -3
    return OFFSET_3 + 24 * word + flip
