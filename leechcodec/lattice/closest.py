"""Exact nearest point of all of the Leech lattice, and the best point under separable scores. See points.py, cosets.py.

Both are the maximum of a sum of scores, and differ in what fills the residues: the distance to the one value of a
residue class that is nearest, or the best value of a table. The kernel finds the best triple; its words and the point
are then followed back, with Wagner's rule for the parity: of all coordinates the one whose change costs least.

With f_i(v) = -c·v² the best point for a weight w is the nearest point to y·w / (w + c) (complete the square): what a
Gaussian model asks of a rate-aware choice is a scale. point_reference.py does the same by visiting the cosets.
"""

import numpy as np

from leechcodec.lattice.cosets import CLASSES, EVEN, LANES, ODD, fill_cosets, scratch
from leechcodec.lattice.points import DIM, RESIDUES, check_tables
from leechcodec.lattice.structure import entry, inner, turyn

LARGEST = 2.0**30
"""Coordinates beyond would leave int32."""


def closest_point(y: np.ndarray) -> np.ndarray:
    """Nearest points of the lattice in integer form (minimal distance √32): float (N, 24) -> int32 (N, 24).

    y: of any scale within ±2^30. Each coordinate is first brought within ±4 by a multiple of 8, which is exact, since
    8·Z^24 is a part of the lattice; the search is in float32. Where points are as near within rounding (about 10^-6 of
    the squared distances), any of them may be returned. Raises ValueError for another shape, and for what is not
    finite or too large.
    """
    y = _vectors(y)
    points = np.empty(y.shape, dtype=np.int32)
    _closest(y, turyn().byte, turyn().halves, *scratch(np.float32), points, _space())
    return points


def best_point(scores: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the largest score, sum_i scores[index_i, x_i + W/2], among those within the window.

    scores: float (S, W), S tables in any one unit, finite, below 1e30 in magnitude; column v + W/2 is the value v, W a
    multiple of 16. index: integers (N, 24) in 0..S-1, the table of every coordinate. Returns (points int32 (N, 24),
    their scores float64 (N,)). The search is in float32; ties as in :func:`closest_point`. Raises ValueError for other
    shapes, a score or an index out of range, TypeError for an index that is not of integers.
    """
    return rate_aware_point(np.zeros(np.shape(index)), 0.0, scores, index)


def rate_aware_point(
    y: np.ndarray, weight: float, scores: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points that maximise -weight·|y - x|² + sum_i scores[index_i, x_i + W/2], among those within the window.

    y: float (N, 24), finite, within ±2^30. weight: nats per squared unit, at least 0 and below 1e30; at high rate and
    for the squared error D of a coordinate it is 1 / (2·D). scores, index, results and errors as in :func:`best_point`.
    """
    y = _vectors(y)
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    index = check_tables(scores, index)
    if y.shape != index.shape:
        raise ValueError(f"{len(y)} vectors, tables for {len(index)}")
    if scores.size and not np.abs(scores).max() < 1e30:
        raise ValueError("a score is not finite, or beyond 1e30")
    if not 0 <= weight < 1e30:
        raise ValueError(f"a weight is at least 0 and below 1e30, not {weight}")
    points, values = np.empty(y.shape, dtype=np.int32), np.empty(len(y))
    structure = turyn().byte, turyn().halves
    _best(y, float(weight), scores, index, *structure, *scratch(np.float32), points, values, _space())
    return points, values


def _vectors(y: np.ndarray) -> np.ndarray:
    y = np.ascontiguousarray(y, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != DIM:
        raise ValueError(f"expected vectors of shape (N, {DIM}), got {y.shape}")
    if y.size and not np.abs(y).max() <= LARGEST:
        raise ValueError("a vector is not finite, or beyond 2^30")
    return y


def _space() -> tuple[np.ndarray, ...]:
    """Room for what the kernels compute: near, top, winner, work."""
    near, top = np.zeros((DIM, LANES), dtype=np.float32), np.empty(LANES, dtype=np.float32)
    return near, top, np.empty(LANES, dtype=np.int32), np.empty((6, 3))


@entry
def _closest(y, byte, halves, residues, tree, table, scores, points, space):
    near, top, winner, work = space
    for start in range(0, len(y), LANES):
        count = min(LANES, len(y) - start)
        for lane in range(count):
            for i in range(DIM):
                near[i, lane] = y[start + lane, i] - _multiple_of_8(y[start + lane, i])
        _fill_distances(near, residues)
        fill_cosets(residues, halves, tree, table, scores)
        _best_triples(scores, top, winner)
        for lane in range(count):
            row = start + lane
            _way_back(residues, table, winner[lane], byte, lane, work, points[row])
            for i in range(DIM):
                r = points[row, i]
                below = np.float32(8) if near[i, lane] - np.float32(r) < -4 else np.float32(0)
                points[row, i] = np.int32(_multiple_of_8(y[row, i]) + r - below)


@inner
def _multiple_of_8(value):
    return 8 * np.floor(value * 0.125 + 0.5)


@inner
def _fill_distances(near, residues):
    """Minus the squared distance to the nearest value of every residue class; near: (24, LANES), within ±4."""
    for i in range(DIM):
        for r in range(RESIDUES):
            for lane in range(LANES):
                d = near[i, lane] - np.float32(r)
                d += np.float32(8) if d < -4 else np.float32(0)
                residues[i, r, lane] = -d * d


@entry
def _best(y, weight, tables, index, byte, halves, residues, tree, table, scores, points, values, space):
    near, top, winner, work = space
    best = near[0, :RESIDUES]
    half = tables.shape[1] // 2
    for start in range(0, len(y), LANES):
        count = min(LANES, len(y) - start)
        for lane in range(count):
            for i in range(DIM):
                _fill_best(tables[index[start + lane, i]], y[start + lane, i], weight, best)
                highest = best[0]
                for r in range(1, RESIDUES):
                    highest = max(highest, best[r])
                for r in range(RESIDUES):
                    residues[i, r, lane] = best[r] - highest  # small numbers near the optimum keep their digits
        fill_cosets(residues, halves, tree, table, scores)
        _best_triples(scores, top, winner)
        for lane in range(count):
            row = start + lane
            _way_back(residues, table, winner[lane], byte, lane, work, points[row])
            total = 0.0
            for i in range(DIM):
                own = tables[index[row, i]]
                column, reached = 0, -np.inf
                for c in range(points[row, i], len(own), RESIDUES):
                    score = own[c] - weight * (y[row, i] + half - c) ** 2
                    if score > reached:
                        column, reached = c, score
                points[row, i] = column - half
                total += reached
            values[row] = total


@inner
def _fill_best(own, y, weight, best):
    """The best score of every residue class, eight columns at a time, up to what is common to all.

    With the window's value nearest to y at distance d, the value e columns further costs (e - d)² - d² = e·(e - 2·d)
    more: no large number is subtracted from another, however far y is.
    """
    half = len(own) // 2
    column = min(max(np.floor(y + 0.5) + half, 0.0), len(own) - 1.0)
    twice, weight = np.float32(2 * (y + half - column)), np.float32(weight)
    best[:] = -np.inf
    for c in range(0, len(own), RESIDUES):
        first = np.float32(c - column)
        for r in range(RESIDUES):
            e = first + np.float32(r)
            best[r] = max(best[r], own[c + r] - weight * e * (e - twice))


@inner
def _best_triples(scores, top, winner):
    """The number 64·m + 8·y + c of every lane's best triple."""
    top[:] = -np.inf
    for m in range(2):
        for k in range(CLASSES):
            for lane in range(LANES):
                winner[lane] = np.int32(CLASSES * m + k) if scores[m, k, lane] > top[lane] else winner[lane]
                top[lane] = max(top[lane], scores[m, k, lane])


@inner
def _way_back(residues, table, winner, byte, lane, work, code):
    """The residues 0..7 of a lane's best point: of the best triple the best a, then bytes or complements, then q.

    Written without branches on the data, which no processor could foresee.
    """
    m, k, c = winner >> 6, winner & 56, winner & 7
    a = _best_pair(table[m, 0], table[m, 1], table[m, 2], m, k, c, lane)
    for j, q in enumerate((a, a ^ c, c)):
        for s in range(2):
            _best_block(residues, 8 * j, m, byte[k + q] ^ (255 * s), lane, work[2 * j + s])
    chosen, top = 0, -np.inf
    for n in range(8):
        x, y, z = work[n & 1], work[2 + (n >> 1 & 1)], work[4 + (n >> 2)]
        odd = (m + x[1] + y[1] + z[1]) % 2
        total = x[0] + y[0] + z[0] - odd * min(x[2], min(y[2], z[2]))
        chosen, top = (n if total > top else chosen), max(top, total)
    parity, cheapest, least = m, 0, np.inf
    for j, q in enumerate((a, a ^ c, c)):
        bits = byte[k + q] ^ (255 * (chosen >> j & 1))
        for t in range(8):
            i, r = 8 * j + t, m + 2 * (bits >> t & 1)
            gain = residues[i, r + 4, lane] - residues[i, r, lane]
            one = np.int64(gain > 0)
            code[i] = r + 4 * one
            parity ^= one
            cheapest, least = (i if abs(gain) < least else cheapest), min(least, abs(gain))
    code[cheapest] ^= 4 * parity


@inner
def _best_pair(x, y, z, m, k, c, lane):
    """The best a of a triple's words, (a, a + c, c)."""
    even, odd = lane + EVEN, lane + ODD
    u, v = z[k + c, odd if m else even], z[k + c, even if m else odd]
    a, top = 0, np.float32(-np.inf)
    for q in range(8):
        p, r = k + q, k + (q ^ c)
        e = max(x[p, even] + y[r, even], x[p, odd] + y[r, odd])
        o = max(x[p, even] + y[r, odd], x[p, odd] + y[r, even])
        total = max(e + u, o + v)
        a, top = (q if total > top else a), max(top, total)
    return a


@inner
def _best_block(residues, first, m, bits, lane, work):
    """A block's best choice of q without regard to parity: its score, how many q are 1, the cheapest change of one."""
    total, ones, least = np.float32(0), 0, np.float32(np.inf)
    for t in range(8):
        r = m + 2 * (bits >> t & 1)
        zero, one = residues[first + t, r, lane], residues[first + t, r + 4, lane]
        total += max(zero, one)
        ones += np.int64(one > zero)
        least = min(least, abs(one - zero))
    work[0], work[1], work[2] = total, ones, least
