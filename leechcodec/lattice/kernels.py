"""The fast path: exact maximum and exact log-sum-exp of separable scores over all 196,560 codewords.

Give every coordinate a table of scores f_i(v), v in -4..4; the score of a codeword c is sum_i f_i(c_i). The nearest
codeword and the rate-aware choice are its maximum, the prior's normaliser its log-sum-exp. Neither visits the
codebook: a codeword is three blocks of eight coordinates (golay.py), and complementing a block of a Golay word gives
a Golay word, so the blocks are looked up in 64 classes {byte, complement} each, class 8·y + q:

    class 3   4,096 words   512 triples  (y, a) (y, b) (y, a ^ b)         of dual numbers (P, F)
    class 2     759 octads  336 triples  two bytes of weight 2, one of 4  of parities (E, O)
                             21 pairs    two of weight 4;  3 bytes of weight 8
    class 1     276 pairs   running sums (maxima) over the 24 coordinates

P: every entry of the block ±1;  F: one of them multiplied by -3;  E, O: an even, an odd number of minus signs over the
ones of the byte, entries ±2. A block's pair is the product of its two half-bytes', which grow coordinate by
coordinate along a binary tree: node 1 is the root, node 2n + s appends bit s to node n, nodes 16..31 are half-bytes.
Dual numbers multiply as (P, F)(P', F') = (PP', PF' + FP'), parities as (EE' + OO', EO' + OE');
under the maximum, + reads max and × reads +. All sums are of positive terms: nothing cancels at any scale.

Tokens lie side by side in the innermost dimension (lanes): every statement of a lane loop is one vector instruction.
A loop inside a lane loop has constant length: it is unrolled, and its sums stay in registers.
reference.py does the same by visiting the codebook. Method and measurements: docs/lattice.md.
"""

from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numba.core.compiler import Compiler

from leechcodec.lattice.golay import LENGTH, golay_words, hamming, hamming_reversed, octad_supports, octad_words
from leechcodec.lattice.leech import OFFSET_2, OFFSET_3

VALUES = 9
"""Entries of a coordinate's score table: v = -4..4 at index v + 4."""
LANES = 16
"""Tokens side by side."""
_P, _F, _E, _O = 0, LANES, 2 * LANES, 3 * LANES
"""Where a row of a tree or of a table of classes keeps its four numbers of every lane."""
_ROW = 4 * LANES
_CHUNK = 512
"""Tokens whose exponentials are held at a time."""


class _NoAlias(Compiler):
    """Tells LLVM that a function's array arguments do not overlap, without which it vectorises few of the loops."""

    def __init__(self, *args):
        super().__init__(*args)
        self.state.flags.noalias = True


_OPTIONS = {"nogil": True, "fastmath": {"contract"}, "pipeline_class": _NoAlias}
_entry = numba.njit(cache=True, **_OPTIONS)
_inner = numba.njit(no_cpython_wrapper=True, **_OPTIONS)


class Turyn(NamedTuple):
    """Which half-bytes make a class, which classes make an octad; bit t of a byte is coordinate t of its block."""

    byte: np.ndarray
    """int64 (64,): one byte of every class; the other is its complement."""
    halves: np.ndarray
    """uint8 (64, 2, 2): tree nodes (low, high half) of the byte and of its complement."""
    octad_halves: np.ndarray
    """uint8 (64, 2, 2): the same for those of the two that occur in octads; (0, 0) elsewhere."""
    partners: np.ndarray
    """uint8 (16, 8): for node 16 + n of one half, the nodes of the other half that make even bytes with it."""
    partner_classes: np.ndarray
    """uint8 (2, 2, 16, 8): the classes of these bytes for a low, a high half; then with 64 for bytes of no octad."""
    twos: np.ndarray
    """uint8 (8, 4): the q of the classes 8·y + q that hold a byte of weight 2 (y > 0)."""
    fours: np.ndarray
    """uint8 (8, 4): the q of those that hold two bytes of weight 4 (y > 0)."""
    complements: np.ndarray
    """int64 (3,): the word number whose j-th block is all ones; adding it complements the block."""
    groups: np.ndarray
    """int64 (108, 8): the octads of each term of class 2, filled up with -1."""
    supports: np.ndarray
    """uint8 (759, 8): the coordinates of each octad."""


@cache
def turyn() -> Turyn:
    """The tables of the block structure, derived from golay.py's words on first use."""
    weights = 1 << np.arange(8)
    byte = ((hamming()[None, :8] ^ hamming_reversed()[:8, None]) @ weights).reshape(64)
    both = np.stack([byte, byte ^ 255], axis=1)
    weight = _weight(both)
    in_octad = (weight == 2) | (weight == 4) | (weight == 8)
    lightest = weight.min(axis=1).reshape(8, 8)
    twos, fours = np.zeros((2, 8, 4), dtype=np.uint8)
    for y in range(1, 8):
        twos[y], fours[y] = np.flatnonzero(lightest[y] == 2), np.flatnonzero(lightest[y] == 4)

    class_of, octad_class_of = np.full((2, 256), 64)
    class_of[both] = np.arange(64)[:, None]
    octad_class_of[both[in_octad]] = class_of[both[in_octad]]
    node = np.array([16 + int(f"{half:04b}"[::-1], 2) for half in range(16)])  # coordinate 0 is a path's first step
    halves = np.stack([node[both & 15], node[both >> 4]], axis=2)
    half = np.argsort(node)  # the half-byte of node 16 + n
    parity = _weight(half) % 2
    partner = np.array([half[parity == own] for own in parity])
    made = np.stack([half[:, None] + 16 * partner, 16 * half[:, None] + partner])

    ones = np.repeat(np.eye(3, dtype=np.uint8), 8, axis=1)
    complements = [np.flatnonzero((golay_words() == row).all(axis=1))[0] for row in ones]
    groups = [[] for _ in range(108)]
    for octad, blocks in enumerate(golay_words()[octad_words()].reshape(-1, 3, 8) @ weights):
        heavy, light = _weight(blocks).argmax(), _weight(blocks).argmin()
        y, q = divmod(class_of[blocks[heavy]], 8)
        if y:
            group = 12 * (y - 1) + 4 * heavy + np.flatnonzero(fours[y] == q)[0]
        else:
            group = 84 + 3 * (q - 1) + light if q else 105 + heavy
        groups[group].append(octad)
    return Turyn(
        byte=byte.astype(np.int64),
        halves=halves.astype(np.uint8),
        octad_halves=np.where(in_octad[..., None], halves, 0).astype(np.uint8),
        partners=node[partner].astype(np.uint8),
        partner_classes=np.stack([class_of[made], octad_class_of[made]]).astype(np.uint8),
        twos=twos,
        fours=fours,
        complements=np.array(complements, dtype=np.int64),
        groups=np.array([group + [-1] * (8 - len(group)) for group in groups], dtype=np.int64),
        supports=octad_supports().astype(np.uint8),
    )


def _weight(byte: np.ndarray) -> np.ndarray:
    return (byte[..., None] >> np.arange(8) & 1).sum(axis=-1)


# --- the maximum ------------------------------------------------------------------------------------------------------


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
    _check_shape(scores)
    if scores.size and not np.abs(scores).max() < 1e30:
        raise ValueError("a score is not finite, or beyond 1e30")
    codes, indices = np.empty(scores.shape[:2], dtype=np.int8), np.empty(len(scores), dtype=np.int64)
    _search(scores, tuple(turyn()), codes, indices)
    values = np.take_along_axis(scores, codes[..., None].astype(np.int64) + 4, axis=2).sum((1, 2), dtype=np.float64)
    return codes, values.astype(np.float32)


def _search_directions(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = np.ascontiguousarray(z, dtype=np.float32)
    if z.ndim != 2 or z.shape[1] != LENGTH:
        raise ValueError(f"expected directions of shape (N, {LENGTH}), got {z.shape}")
    codes, indices = np.empty(z.shape, dtype=np.int8), np.empty(len(z), dtype=np.int64)
    bad = _search(z[..., None], tuple(turyn()), codes, indices)
    if bad >= 0:
        raise ValueError(f"a direction is zero or not finite: row {bad}")
    return codes, indices


@_entry
def _search(scores, turyn, codes, indices):
    """Best codewords and their indices, one block of lanes at a time.

    scores: float32 (N, 24, 9), or directions (N, 24, 1).
    Returns the first row that is no direction, -1 if there is none.
    """
    byte, halves, octad_halves, _, _, twos, fours, complements, groups, supports = turyn
    g = np.zeros((LENGTH, VALUES, LANES), dtype=np.float32)
    tree = np.full((6, 32, _ROW), -np.inf, dtype=np.float32)
    table = np.empty((3, 64, _ROW), dtype=np.float32)
    top, winner = np.empty(LANES, dtype=np.float32), np.empty(LANES, dtype=np.int32)
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


@_inner
def _load_scores(scores, row, g, lane):
    """Scores relative to that of 0."""
    for i in range(LENGTH):
        for v in range(VALUES):
            g[i, v, lane] = scores[row, i, v] - scores[row, i, 4]


@_inner
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


@_inner
def _multiples(g):
    for i in range(LENGTH):
        for lane in range(LANES):
            z = g[i, 5, lane]
            g[i, 0, lane], g[i, 8, lane] = -4 * z, 4 * z
            g[i, 1, lane], g[i, 7, lane] = -3 * z, 3 * z
            g[i, 2, lane], g[i, 6, lane] = -2 * z, 2 * z
            g[i, 3, lane] = -z


@_inner
def _grow_max(g, tree):
    """:func:`_grow` in (max, +)."""
    for lane in range(LANES):
        tree[1, _P + lane] = tree[1, _E + lane] = 0
    for t in range(4):
        for n in range(1 << t, 2 << t):
            m = 2 * n
            for lane in range(LANES):
                p, f, e, o = tree[n, _P + lane], tree[n, _F + lane], tree[n, _E + lane], tree[n, _O + lane]
                tree[m, _P + lane] = p + g[t, 5, lane]
                tree[m, _F + lane] = max(f + g[t, 5, lane], p + g[t, 1, lane])
                tree[m, _E + lane] = e
                tree[m, _O + lane] = o
                tree[m + 1, _P + lane] = p + g[t, 3, lane]
                tree[m + 1, _F + lane] = max(f + g[t, 3, lane], p + g[t, 7, lane])
                tree[m + 1, _E + lane] = max(e + g[t, 6, lane], o + g[t, 2, lane])
                tree[m + 1, _O + lane] = max(o + g[t, 6, lane], e + g[t, 2, lane])


@_inner
def _fold_max(low, high, halves, octad_halves, table):
    """:func:`_fold` in (max, +). Node 0 is minus infinity."""
    for k in range(64):
        for lane in range(LANES):
            p = f = e = o = np.float32(-np.inf)
            for s in range(2):
                n, m = halves[k, s, 0], halves[k, s, 1]
                x, y = low[n, _P + lane], high[m, _P + lane]
                p = max(p, x + y)
                f = max(f, max(x + high[m, _F + lane], low[n, _F + lane] + y))
                n, m = octad_halves[k, s, 0], octad_halves[k, s, 1]
                e0, e1, o0, o1 = low[n, _E + lane], high[m, _E + lane], low[n, _O + lane], high[m, _O + lane]
                e = max(e, max(e0 + e1, o0 + o1))
                o = max(o, max(e0 + o1, o0 + e1))
            table[k, _P + lane] = p
            table[k, _F + lane] = f
            table[k, _E + lane] = e
            table[k, _O + lane] = o


@_inner
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


@_inner
def _best_triple(x, y, z, top, winner):
    """Class 3, by the third block's class, which becomes the winner's number."""
    for k in range(0, 64, 8):
        for c in range(8):
            for lane in range(LANES):
                p = f = np.float32(-np.inf)
                for a in range(8):
                    p0, p1 = x[k + a, _P + lane], y[k + (a ^ c), _P + lane]
                    p = max(p, p0 + p1)
                    f = max(f, max(p0 + y[k + (a ^ c), _F + lane], x[k + a, _F + lane] + p1))
                score = max(p + z[k + c, _F + lane], f + z[k + c, _P + lane])
                winner[lane] = np.int32(k + c) if score > top[lane] else winner[lane]
                top[lane] = max(top[lane], score)


@_inner
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
                    e0, e1, o0, o1 = y[a, _E + lane], z[b, _E + lane], y[a, _O + lane], z[b, _O + lane]
                    e = max(e, max(e0 + e1, o0 + o1))
                    o = max(o, max(e0 + o1, o0 + e1))
                score = max(e + x[k + four, _E + lane], o + x[k + four, _O + lane])
                winner[lane] = np.int32(64 + 12 * (k // 8 - 1) + 4 * j + n) if score > top[lane] else winner[lane]
                top[lane] = max(top[lane], score)
    for q in range(1, 8):
        for lane in range(LANES):
            score = max(y[q, _E + lane] + z[q, _E + lane], y[q, _O + lane] + z[q, _O + lane])
            winner[lane] = np.int32(148 + 3 * (q - 1) + j) if score > top[lane] else winner[lane]
            top[lane] = max(top[lane], score)
    for lane in range(LANES):
        winner[lane] = np.int32(169 + j) if x[0, _E + lane] > top[lane] else winner[lane]
        top[lane] = max(top[lane], x[0, _E + lane])


@_inner
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


@_inner
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


@_inner
def _write_class_3(g, table, lane, group, byte, complements, code):
    """The best triple of a group, in each block the better of byte and complement, in one block with its best flip."""
    k, c = group & 56, group & 7
    top, a, flipped_block = -np.inf, 0, 0
    for q in range(8):
        p = table[0, k + q, _P + lane], table[1, k + (q ^ c), _P + lane], table[2, k + c, _P + lane]
        f = table[0, k + q, _F + lane], table[1, k + (q ^ c), _F + lane], table[2, k + c, _F + lane]
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


# --- the sum ----------------------------------------------------------------------------------------------------------


def log_partition(scores: np.ndarray) -> np.ndarray:
    """log of the sum over all codewords c of exp(sum_i scores[i, c_i + 4]), in nats.

    scores: float (N, 24, 9), within ±25 nats, which the caller sees to (beyond, float64 may leave its range).
    Returns float64 (N,). Raises ValueError for another shape and where the sum is not finite.
    """
    return _log_partition(scores, False)[0]


def log_partition_and_marginals(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`log_partition` and its gradient: the probability that coordinate i of a codeword is v.

    scores and errors as there. Returns (float64 (N,), float32 (N, 24, 9)); the marginals of a coordinate sum to 1.
    """
    return _log_partition(scores, True)


def _log_partition(scores: np.ndarray, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
    scores = np.asarray(scores)
    _check_shape(scores)
    values = np.empty(len(scores))
    marginals = np.empty(scores.shape if wanted else (0, LENGTH, VALUES), dtype=np.float32)
    factors = np.empty((min(len(scores), _CHUNK), LENGTH, VALUES))
    for start in range(0, len(scores), _CHUNK):
        chunk = slice(start, min(start + _CHUNK, len(scores)))
        with np.errstate(over="ignore"):  # what overflows is refused below; numpy's exp is vectorised, numba's is not
            part = np.exp(scores[chunk], out=factors[: chunk.stop - start], dtype=np.float64)
        _sum(part, tuple(turyn()), values[chunk], marginals[chunk], wanted)
    if not np.isfinite(values).all():
        raise ValueError("scores beyond ±25 nats, or not finite")
    return values, marginals


def _check_shape(scores: np.ndarray) -> None:
    if scores.ndim != 3 or scores.shape[1:] != (LENGTH, VALUES):
        raise ValueError(f"expected scores of shape (N, {LENGTH}, {VALUES}), got {scores.shape}")


@_entry
def _sum(factors, turyn, values, marginals, wanted):
    """Log partitions (and marginals) of scores whose exponentials are factors, float64 (N, 24, 9).

    Classes 1 and 2 are summed relative to the zero vector's factor, so that their zeros cost nothing.
    rest[j] holds the products of the other two blocks for each class of block j: its derivatives, P and F exchanged.
    """
    _, halves, octad_halves, partners, partner_classes, twos, fours, _, _, _ = turyn
    g, slope = np.ones((LENGTH, VALUES, LANES)), np.empty((LENGTH, VALUES, LANES))
    tree, d_tree = np.zeros((6, 32, _ROW)), np.zeros((6, 32, _ROW))
    table, rest = np.empty((3, 64, _ROW)), np.zeros((3, 65, _ROW))
    sum12, sum3, zero = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for start in range(0, len(factors), LANES):
        count = min(LANES, len(factors) - start)
        for lane in range(count):
            for i in range(LENGTH):
                for v in range(VALUES):
                    g[i, v, lane] = factors[start + lane, i, v]
        _take_out_zero(g, zero)
        for h in range(6):
            _grow(g[4 * h : 4 * h + 4], tree[h])
        for j in range(3):
            _fold(tree[2 * j], tree[2 * j + 1], halves, octad_halves, table[j])
        for j in range(3):
            if wanted or j == 2:
                _combine(table[j - 2], table[j - 1], twos, fours, rest[j])
        _add_up(table[0], table[1], table[2], rest[2], sum3, sum12)
        _pairs(g, sum12, slope)
        for lane in range(count):
            values[start + lane] = np.log(sum3[lane] + zero[lane] * sum12[lane])
        if wanted:
            for j in range(3):
                for h in range(2):
                    other = tree[2 * j + 1 - h]
                    _unfold(other, partners, partner_classes[:, h], rest[j], d_tree[2 * j + h])
            for h in range(6):
                _ungrow(g[4 * h : 4 * h + 4], tree[h], d_tree[h], slope[4 * h : 4 * h + 4])
            _write_marginals(g, slope, sum3 + zero * sum12, zero, marginals[start : start + count])


@_inner
def _take_out_zero(g, zero):
    zero[:] = 1
    for i in range(LENGTH):
        for lane in range(LANES):
            zero[lane] *= g[i, 4, lane]
            inverse = 1 / g[i, 4, lane]
            g[i, 0, lane] *= inverse
            g[i, 2, lane] *= inverse
            g[i, 6, lane] *= inverse
            g[i, 8, lane] *= inverse


@_inner
def _grow(g, tree):
    """The half-bytes of four coordinates: bit 0 stands for the entries 1, -3 and 0, bit 1 for -1, 3 and ±2."""
    for lane in range(LANES):
        tree[1, _P + lane] = tree[1, _E + lane] = 1
    for t in range(4):
        for n in range(1 << t, 2 << t):
            m = 2 * n
            for lane in range(LANES):
                p, f, e, o = tree[n, _P + lane], tree[n, _F + lane], tree[n, _E + lane], tree[n, _O + lane]
                tree[m, _P + lane] = p * g[t, 5, lane]
                tree[m, _F + lane] = f * g[t, 5, lane] + p * g[t, 1, lane]
                tree[m, _E + lane] = e
                tree[m, _O + lane] = o
                tree[m + 1, _P + lane] = p * g[t, 3, lane]
                tree[m + 1, _F + lane] = f * g[t, 3, lane] + p * g[t, 7, lane]
                tree[m + 1, _E + lane] = e * g[t, 6, lane] + o * g[t, 2, lane]
                tree[m + 1, _O + lane] = o * g[t, 6, lane] + e * g[t, 2, lane]


@_inner
def _ungrow(g, tree, d_tree, slope):
    """The adjoint of :func:`_grow`: from the derivatives by nodes 16..31 to those by g."""
    slope[:, 1:8] = 0
    for t in range(3, -1, -1):
        for n in range(1 << t, 2 << t):
            m = 2 * n
            for lane in range(LANES):
                p, f, e, o = tree[n, _P + lane], tree[n, _F + lane], tree[n, _E + lane], tree[n, _O + lane]
                p0, f0 = d_tree[m, _P + lane], d_tree[m, _F + lane]
                p1, f1 = d_tree[m + 1, _P + lane], d_tree[m + 1, _F + lane]
                e1, o1 = d_tree[m + 1, _E + lane], d_tree[m + 1, _O + lane]
                slope[t, 5, lane] += p0 * p + f0 * f
                slope[t, 1, lane] += f0 * p
                slope[t, 3, lane] += p1 * p + f1 * f
                slope[t, 7, lane] += f1 * p
                slope[t, 6, lane] += e1 * e + o1 * o
                slope[t, 2, lane] += e1 * o + o1 * e
                p0, p1 = p0 * g[t, 5, lane] + f0 * g[t, 1, lane], p1 * g[t, 3, lane] + f1 * g[t, 7, lane]
                d_tree[n, _P + lane] = p0 + p1
                d_tree[n, _F + lane] = f0 * g[t, 5, lane] + f1 * g[t, 3, lane]
                d_tree[n, _E + lane] = d_tree[m, _E + lane] + e1 * g[t, 6, lane] + o1 * g[t, 2, lane]
                d_tree[n, _O + lane] = d_tree[m, _O + lane] + o1 * g[t, 6, lane] + e1 * g[t, 2, lane]


@_inner
def _fold(low, high, halves, octad_halves, table):
    """The 64 classes of a block: byte plus complement, each the product of its halves. Node 0 is zero."""
    for k in range(64):
        for lane in range(LANES):
            p = f = e = o = 0.0
            for s in range(2):
                n, m = halves[k, s, 0], halves[k, s, 1]
                x, y = low[n, _P + lane], high[m, _P + lane]
                p += x * y
                f += x * high[m, _F + lane] + low[n, _F + lane] * y
                n, m = octad_halves[k, s, 0], octad_halves[k, s, 1]
                e0, e1, o0, o1 = low[n, _E + lane], high[m, _E + lane], low[n, _O + lane], high[m, _O + lane]
                e += e0 * e1 + o0 * o1
                o += e0 * o1 + o0 * e1
            table[k, _P + lane] = p
            table[k, _F + lane] = f
            table[k, _E + lane] = e
            table[k, _O + lane] = o


@_inner
def _unfold(other, partners, classes, rest, d_tree):
    """The adjoint of :func:`_fold` for one half: what the other half and the other blocks give each of its nodes."""
    for n in range(16):
        for lane in range(LANES):
            p = f = 0.0
            for s in range(8):
                m, k = partners[n, s], classes[0, n, s]
                x = other[m, _P + lane]
                p += rest[k, _F + lane] * x + rest[k, _P + lane] * other[m, _F + lane]
                f += rest[k, _P + lane] * x
            d_tree[16 + n, _P + lane] = p
            d_tree[16 + n, _F + lane] = f
        for lane in range(LANES):
            e = o = 0.0
            for s in range(8):
                m, k = partners[n, s], classes[1, n, s]
                e += rest[k, _E + lane] * other[m, _E + lane] + rest[k, _O + lane] * other[m, _O + lane]
                o += rest[k, _E + lane] * other[m, _O + lane] + rest[k, _O + lane] * other[m, _E + lane]
            d_tree[16 + n, _E + lane] = e
            d_tree[16 + n, _O + lane] = o


@_inner
def _combine(x, y, twos, fours, rest):
    """Products of two blocks, summed by the class of the third that makes words (P, F) or octads (E, O) of them."""
    for k in range(0, 64, 8):
        for c in range(8):
            for lane in range(LANES):
                p = f = 0.0
                for a in range(8):
                    p0, p1 = x[k + a, _P + lane], y[k + (a ^ c), _P + lane]
                    p += p0 * p1
                    f += p0 * y[k + (a ^ c), _F + lane] + x[k + a, _F + lane] * p1
                rest[k + c, _P + lane] = p
                rest[k + c, _F + lane] = f
    for lane in range(LANES):
        rest[0, _E + lane] = 1
    for k in range(1, 8):
        for lane in range(LANES):
            rest[k, _E + lane] = x[k, _E + lane] + y[k, _E + lane]
            rest[k, _O + lane] = x[k, _O + lane] + y[k, _O + lane]
    for k in range(8, 64, 8):
        for n in range(4):
            two, four = twos[k >> 3, n], fours[k >> 3, n]
            for lane in range(LANES):
                e = o = 0.0
                for a in range(8):
                    b = k + (a ^ two)
                    e0, e1, o0, o1 = x[k + a, _E + lane], y[b, _E + lane], x[k + a, _O + lane], y[b, _O + lane]
                    e += e0 * e1 + o0 * o1
                    o += e0 * o1 + o0 * e1
                rest[k + two, _E + lane] = e
                rest[k + two, _O + lane] = o
            for lane in range(LANES):
                e = o = 0.0
                for m in range(4):
                    a = k + twos[k >> 3, m]
                    b = k + (twos[k >> 3, m] ^ four)
                    e0, e1, o0, o1 = x[a, _E + lane], y[b, _E + lane], x[a, _O + lane], y[b, _O + lane]
                    e += e0 * e1 + o0 * o1
                    o += e0 * o1 + o0 * e1
                rest[k + four, _E + lane] = e
                rest[k + four, _O + lane] = o


@_inner
def _add_up(x, y, z, rest, sum3, sum12):
    """The sums of class 3 and class 2: the third block times the rest, and the octads that miss the third block."""
    sum3[:] = 0
    for lane in range(LANES):
        sum12[lane] = x[0, _E + lane] + y[0, _E + lane]
    for k in range(64):
        for lane in range(LANES):
            sum3[lane] += rest[k, _P + lane] * z[k, _F + lane] + rest[k, _F + lane] * z[k, _P + lane]
            sum12[lane] += rest[k, _E + lane] * z[k, _E + lane] + rest[k, _O + lane] * z[k, _O + lane]
    for k in range(1, 8):
        for lane in range(LANES):
            sum12[lane] += x[k, _E + lane] * y[k, _E + lane] + x[k, _O + lane] * y[k, _O + lane]


@_inner
def _pairs(g, sum12, slope):
    """Class 1: the second elementary symmetric polynomial of t = g(4) + g(-4); slopes from sums before and after."""
    before, after = np.zeros(LANES), np.zeros(LANES)
    for i in range(LENGTH):
        for lane in range(LANES):
            slope[i, 0, lane] = before[lane]
            t = g[i, 0, lane] + g[i, 8, lane]
            sum12[lane] += t * before[lane]
            before[lane] += t
    for i in range(LENGTH - 1, -1, -1):
        for lane in range(LANES):
            slope[i, 0, lane] += after[lane]
            slope[i, 8, lane] = slope[i, 0, lane]
            after[lane] += g[i, 0, lane] + g[i, 8, lane]


@_inner
def _write_marginals(g, slope, total, zero, marginals):
    for lane in range(len(marginals)):
        scale3, scale12 = 1 / total[lane], zero[lane] / total[lane]
        for i in range(LENGTH):
            others = 0.0
            for v in range(VALUES):
                share = g[i, v, lane] * slope[i, v, lane] * (scale3 if v & 1 else scale12)
                marginals[lane, i, v] = share
                others += share
            marginals[lane, i, 4] = max(0.0, 1 - others)
