"""One kernel over two semirings: the cosets of the Leech lattice's points, without visiting them. See points.py.

All that matters of coordinate i are its eight residues r_i(v mod 8), the best of (the sum over) the values of each.
In a coset (m, b) it contributes a pair, (r_i(m + 2·b_i), r_i(m + 2·b_i + 4)): q even, q odd. Pairs multiply as

    (E, O)(E', O') = (EE' + OO', EO' + OE')                     numbers E + O·w with w² = 1

and the coset's score is the part E of its product if m = 0, O if m = 1. The words b fold as the codebook's do
(kernels.py): 1 lies in both H and H', so a block is one of 64 classes {byte, complement}, class 8·y + q, whose pairs
are added before blocks are multiplied. What is left of the 8,192 cosets are 1,024 triples (m; y, a; y, b; y, a + b).

    float32    + is the larger, × is the sum        the search, closest.py
    float64    + and × are themselves               the normaliser, partition.py, marginals.py, the coder's masses

The type of the arrays names the semiring. Nothing here is fused or reordered, and the sums are of positive terms, so
in float64 every machine gets the same bits; docs/lattice.md gives the order. Tokens lie side by side in the innermost
dimension (lanes), as in structure.py.
"""

import numpy as np

from leechcodec import compiled
from leechcodec.lattice.points import RESIDUES

LANES = 16
EVEN, ODD = 0, LANES
"""Where a row of a tree or of a table of classes keeps the pair of every lane."""
ROW = 2 * LANES
CLASSES = 64
TREES = 6
"""Half-bytes of three blocks."""

exact_entry, exact = compiled.entry(), compiled.inner()
"""Without fastmath: no operation is fused or reordered."""


def _plus(u, v):
    """Addition of the semiring that the type of u names."""
    return max(u, v) if isinstance(u, np.float32) else u + v


def _times(u, v):
    """Multiplication of the semiring that the type of u names."""
    return u + v if isinstance(u, np.float32) else u * v


def _compiled_plus():
    from numba import types
    from numba.extending import overload

    @overload(_plus)
    def chosen(u, v):
        return (lambda u, v: u if u > v else v) if u is types.float32 else (lambda u, v: u + v)

    return _plus


def _compiled_times():
    from numba import types
    from numba.extending import overload

    @overload(_times)
    def chosen(u, v):
        return (lambda u, v: u + v) if u is types.float32 else (lambda u, v: u * v)

    return _times


plus, times = compiled.numba_object(_compiled_plus, _plus), compiled.numba_object(_compiled_times, _times)


@exact
def fill_cosets(residues, halves, tree, table, scores):
    """Scores of all triples, float32 or float64, and the tables of classes behind them.

    residues: (24, 8, LANES). halves: turyn().halves. tree: (6, 32, ROW), scratch. table: (2, 3, 64, ROW), for every m
    and block the pairs of its classes. scores: (2, 64, LANES), for every m and class 8·y + c of the third block, over
    all a.
    """
    for m in range(2):
        for h in range(TREES):
            grow(residues[4 * h : 4 * h + 4], m, tree[h])
        for j in range(3):
            fold(tree[2 * j], tree[2 * j + 1], halves, table[m, j])
        _combine(table[m, 0], table[m, 1], table[m, 2], EVEN if m == 0 else ODD, scores[m])


@exact
def grow(residues, m, tree):
    """The half-bytes of four coordinates, (4, 8, LANES): node 1 is the root, node 2n + s appends bit s to node n."""
    for s in range(2):
        for lane in range(LANES):
            tree[2 + s, EVEN + lane] = residues[0, m + 2 * s, lane]
            tree[2 + s, ODD + lane] = residues[0, m + 2 * s + 4, lane]
    for t in range(1, 4):
        for n in range(1 << t, 2 << t):
            for s in range(2):
                for lane in range(LANES):
                    p, q = tree[n, EVEN + lane], tree[n, ODD + lane]
                    u, v = residues[t, m + 2 * s, lane], residues[t, m + 2 * s + 4, lane]
                    tree[2 * n + s, EVEN + lane] = plus(times(p, u), times(q, v))
                    tree[2 * n + s, ODD + lane] = plus(times(p, v), times(q, u))


@exact
def fold(low, high, halves, table):
    """The 64 classes of a block: byte plus complement, each the product of its halves."""
    for k in range(CLASSES):
        n0, m0, n1, m1 = halves[k, 0, 0], halves[k, 0, 1], halves[k, 1, 0], halves[k, 1, 1]
        for lane in range(LANES):
            p, q, u, v = low[n0, EVEN + lane], low[n0, ODD + lane], high[m0, EVEN + lane], high[m0, ODD + lane]
            even, odd = plus(times(p, u), times(q, v)), plus(times(p, v), times(q, u))
            p, q, u, v = low[n1, EVEN + lane], low[n1, ODD + lane], high[m1, EVEN + lane], high[m1, ODD + lane]
            table[k, EVEN + lane] = plus(even, plus(times(p, u), times(q, v)))
            table[k, ODD + lane] = plus(odd, plus(times(p, v), times(q, u)))


@exact
def _combine(x, y, z, wanted, scores):
    """The triples, by the third block's class: its pair times the others' products, added from a = 0 up."""
    for k in range(0, CLASSES, 8):
        for c in range(8):
            for lane in range(LANES):
                p, q, u, v = x[k, EVEN + lane], x[k, ODD + lane], y[k + c, EVEN + lane], y[k + c, ODD + lane]
                even, odd = plus(times(p, u), times(q, v)), plus(times(p, v), times(q, u))
                for a in range(1, 8):
                    p, q = x[k + a, EVEN + lane], x[k + a, ODD + lane]
                    u, v = y[k + (a ^ c), EVEN + lane], y[k + (a ^ c), ODD + lane]
                    even = plus(even, plus(times(p, u), times(q, v)))
                    odd = plus(odd, plus(times(p, v), times(q, u)))
                u, v = z[k + c, wanted + lane], z[k + c, ODD - wanted + lane]
                scores[k + c, lane] = plus(times(even, u), times(odd, v))


def scratch(dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What :func:`fill_cosets` works on, all zero: residues, tree, table, scores."""
    shapes = (24, RESIDUES, LANES), (TREES, 32, ROW), (2, 3, CLASSES, ROW), (2, CLASSES, LANES)
    residues, tree, table, scores = (np.zeros(shape, dtype=dtype) for shape in shapes)
    return residues, tree, table, scores
