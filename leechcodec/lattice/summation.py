"""Exact log-sum-exp of separable scores over the codebook, with its gradient. See kernels.py."""

import numpy as np

from leechcodec.lattice.golay import LENGTH
from leechcodec.lattice.structure import CHUNK, LANES, ROW, VALUES, E, F, O, P, check_shape, entry, inner, turyn


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
    check_shape(scores)
    values = np.empty(len(scores))
    marginals = np.empty(scores.shape if wanted else (0, LENGTH, VALUES), dtype=np.float32)
    factors = np.empty((min(len(scores), CHUNK), LENGTH, VALUES))
    space = _space()
    for start in range(0, len(scores), CHUNK):
        chunk = slice(start, min(start + CHUNK, len(scores)))
        with np.errstate(over="ignore"):  # what overflows is refused below; numpy's exp is vectorised, numba's is not
            part = np.exp(scores[chunk], out=factors[: chunk.stop - start], dtype=np.float64)
        _sum(part, tuple(turyn()), values[chunk], marginals[chunk], wanted, space)
    if not np.isfinite(values).all():
        raise ValueError("scores beyond ±25 nats, or not finite")
    return values, marginals


def _space() -> tuple[np.ndarray, ...]:
    """Room for what :func:`_sum` computes."""
    g, slope = np.ones((LENGTH, VALUES, LANES)), np.empty((LENGTH, VALUES, LANES))
    tree, d_tree = np.zeros((6, 32, ROW)), np.zeros((6, 32, ROW))
    table, rest = np.empty((3, 64, ROW)), np.zeros((3, 65, ROW))
    return g, slope, tree, d_tree, table, rest, *np.zeros((5, LANES))


@entry
def _sum(factors, turyn, values, marginals, wanted, space):
    """Log partitions (and marginals) of scores whose exponentials are factors, float64 (N, 24, 9).

    Classes 1 and 2 are summed relative to the zero vector's factor, so that their zeros cost nothing.
    rest[j] holds the products of the other two blocks for each class of block j: its derivatives, P and F exchanged.
    """
    _, halves, octad_halves, partners, partner_classes, twos, fours, _, _, _ = turyn
    g, slope, tree, d_tree, table, rest, sum12, sum3, zero, before, after = space
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
        _pairs(g, sum12, slope, before, after)
        for lane in range(count):
            values[start + lane] = np.log(sum3[lane] + zero[lane] * sum12[lane])
        if wanted:
            for j in range(3):
                for h in range(2):
                    other = tree[2 * j + 1 - h]
                    _unfold(other, partners, partner_classes[:, h], rest[j], d_tree[2 * j + h])
            for h in range(6):
                _ungrow(g[4 * h : 4 * h + 4], tree[h], d_tree[h], slope[4 * h : 4 * h + 4])
            for lane in range(LANES):
                sum3[lane] += zero[lane] * sum12[lane]
            _write_marginals(g, slope, sum3, zero, marginals[start : start + count])


@inner
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


@inner
def _grow(g, tree):
    """The half-bytes of four coordinates: bit 0 stands for the entries 1, -3 and 0, bit 1 for -1, 3 and ±2."""
    for lane in range(LANES):
        tree[1, P + lane] = tree[1, E + lane] = 1
    for t in range(4):
        for n in range(1 << t, 2 << t):
            m = 2 * n
            for lane in range(LANES):
                p, f, e, o = tree[n, P + lane], tree[n, F + lane], tree[n, E + lane], tree[n, O + lane]
                tree[m, P + lane] = p * g[t, 5, lane]
                tree[m, F + lane] = f * g[t, 5, lane] + p * g[t, 1, lane]
                tree[m, E + lane] = e
                tree[m, O + lane] = o
                tree[m + 1, P + lane] = p * g[t, 3, lane]
                tree[m + 1, F + lane] = f * g[t, 3, lane] + p * g[t, 7, lane]
                tree[m + 1, E + lane] = e * g[t, 6, lane] + o * g[t, 2, lane]
                tree[m + 1, O + lane] = o * g[t, 6, lane] + e * g[t, 2, lane]


@inner
def _ungrow(g, tree, d_tree, slope):
    """The adjoint of :func:`_grow`: from the derivatives by nodes 16..31 to those by g."""
    slope[:, 1:8] = 0
    for t in range(3, -1, -1):
        for n in range(1 << t, 2 << t):
            m = 2 * n
            for lane in range(LANES):
                p, f, e, o = tree[n, P + lane], tree[n, F + lane], tree[n, E + lane], tree[n, O + lane]
                p0, f0 = d_tree[m, P + lane], d_tree[m, F + lane]
                p1, f1 = d_tree[m + 1, P + lane], d_tree[m + 1, F + lane]
                e1, o1 = d_tree[m + 1, E + lane], d_tree[m + 1, O + lane]
                slope[t, 5, lane] += p0 * p + f0 * f
                slope[t, 1, lane] += f0 * p
                slope[t, 3, lane] += p1 * p + f1 * f
                slope[t, 7, lane] += f1 * p
                slope[t, 6, lane] += e1 * e + o1 * o
                slope[t, 2, lane] += e1 * o + o1 * e
                p0, p1 = p0 * g[t, 5, lane] + f0 * g[t, 1, lane], p1 * g[t, 3, lane] + f1 * g[t, 7, lane]
                d_tree[n, P + lane] = p0 + p1
                d_tree[n, F + lane] = f0 * g[t, 5, lane] + f1 * g[t, 3, lane]
                d_tree[n, E + lane] = d_tree[m, E + lane] + e1 * g[t, 6, lane] + o1 * g[t, 2, lane]
                d_tree[n, O + lane] = d_tree[m, O + lane] + o1 * g[t, 6, lane] + e1 * g[t, 2, lane]


@inner
def _fold(low, high, halves, octad_halves, table):
    """The 64 classes of a block: byte plus complement, each the product of its halves. Node 0 is zero."""
    for k in range(64):
        for lane in range(LANES):
            p = f = e = o = 0.0
            for s in range(2):
                n, m = halves[k, s, 0], halves[k, s, 1]
                x, y = low[n, P + lane], high[m, P + lane]
                p += x * y
                f += x * high[m, F + lane] + low[n, F + lane] * y
                n, m = octad_halves[k, s, 0], octad_halves[k, s, 1]
                e0, e1, o0, o1 = low[n, E + lane], high[m, E + lane], low[n, O + lane], high[m, O + lane]
                e += e0 * e1 + o0 * o1
                o += e0 * o1 + o0 * e1
            table[k, P + lane] = p
            table[k, F + lane] = f
            table[k, E + lane] = e
            table[k, O + lane] = o


@inner
def _unfold(other, partners, classes, rest, d_tree):
    """The adjoint of :func:`_fold` for one half: what the other half and the other blocks give each of its nodes."""
    for n in range(16):
        for lane in range(LANES):
            p = f = 0.0
            for s in range(8):
                m, k = partners[n, s], classes[0, n, s]
                x = other[m, P + lane]
                p += rest[k, F + lane] * x + rest[k, P + lane] * other[m, F + lane]
                f += rest[k, P + lane] * x
            d_tree[16 + n, P + lane] = p
            d_tree[16 + n, F + lane] = f
        for lane in range(LANES):
            e = o = 0.0
            for s in range(8):
                m, k = partners[n, s], classes[1, n, s]
                e += rest[k, E + lane] * other[m, E + lane] + rest[k, O + lane] * other[m, O + lane]
                o += rest[k, E + lane] * other[m, O + lane] + rest[k, O + lane] * other[m, E + lane]
            d_tree[16 + n, E + lane] = e
            d_tree[16 + n, O + lane] = o


@inner
def _combine(x, y, twos, fours, rest):
    """Products of two blocks, summed by the class of the third that makes words (P, F) or octads (E, O) of them."""
    for k in range(0, 64, 8):
        for c in range(8):
            for lane in range(LANES):
                p = f = 0.0
                for a in range(8):
                    p0, p1 = x[k + a, P + lane], y[k + (a ^ c), P + lane]
                    p += p0 * p1
                    f += p0 * y[k + (a ^ c), F + lane] + x[k + a, F + lane] * p1
                rest[k + c, P + lane] = p
                rest[k + c, F + lane] = f
    for lane in range(LANES):
        rest[0, E + lane] = 1
    for k in range(1, 8):
        for lane in range(LANES):
            rest[k, E + lane] = x[k, E + lane] + y[k, E + lane]
            rest[k, O + lane] = x[k, O + lane] + y[k, O + lane]
    for k in range(8, 64, 8):
        for n in range(4):
            two, four = twos[k >> 3, n], fours[k >> 3, n]
            for lane in range(LANES):
                e = o = 0.0
                for a in range(8):
                    b = k + (a ^ two)
                    e0, e1, o0, o1 = x[k + a, E + lane], y[b, E + lane], x[k + a, O + lane], y[b, O + lane]
                    e += e0 * e1 + o0 * o1
                    o += e0 * o1 + o0 * e1
                rest[k + two, E + lane] = e
                rest[k + two, O + lane] = o
            for lane in range(LANES):
                e = o = 0.0
                for m in range(4):
                    a = k + twos[k >> 3, m]
                    b = k + (twos[k >> 3, m] ^ four)
                    e0, e1, o0, o1 = x[a, E + lane], y[b, E + lane], x[a, O + lane], y[b, O + lane]
                    e += e0 * e1 + o0 * o1
                    o += e0 * o1 + o0 * e1
                rest[k + four, E + lane] = e
                rest[k + four, O + lane] = o


@inner
def _add_up(x, y, z, rest, sum3, sum12):
    """The sums of class 3 and class 2: the third block times the rest, and the octads that miss the third block."""
    sum3[:] = 0
    for lane in range(LANES):
        sum12[lane] = x[0, E + lane] + y[0, E + lane]
    for k in range(64):
        for lane in range(LANES):
            sum3[lane] += rest[k, P + lane] * z[k, F + lane] + rest[k, F + lane] * z[k, P + lane]
            sum12[lane] += rest[k, E + lane] * z[k, E + lane] + rest[k, O + lane] * z[k, O + lane]
    for k in range(1, 8):
        for lane in range(LANES):
            sum12[lane] += x[k, E + lane] * y[k, E + lane] + x[k, O + lane] * y[k, O + lane]


@inner
def _pairs(g, sum12, slope, before, after):
    """Class 1: the second elementary symmetric polynomial of t = g(4) + g(-4); slopes from sums before and after."""
    before[:], after[:] = 0, 0
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


@inner
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
