"""The gradient of the normaliser over all of the Leech lattice: the probability of every residue of every coordinate.

The derivative of a product of pairs with w² = 1 by one factor is the product of the others, and pairs multiply
symmetrically. So the way back through the kernel (cosets.py) is made of the products of the way forward: the other two
blocks, summed by the class that makes words of them; the other half of a byte; the other coordinates of a half. All
sums are of positive terms. The probability of a value is its residue's times its share in it.
"""

import numpy as np

from leechcodec.lattice.cosets import CLASSES, EVEN, LANES, ODD, ROW, TREES, exact, exact_entry, fold, grow
from leechcodec.lattice.partition import CLAMP, linear_masses, residue_masses
from leechcodec.lattice.points import DIM, RESIDUES, check_tables
from leechcodec.lattice.structure import turyn


def log_partition_and_marginals(scores: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log Z of :func:`partition.log_partition`, and the probability that coordinate i of a point is r modulo 8.

    scores, index and errors as there. Returns (float64 (N,), float64 (N, 24, 8)); a coordinate's sum to 1.
    """
    masses, top = linear_masses(scores)
    index = check_tables(masses, index)
    totals, marginals = np.empty(len(index)), np.empty((len(index), DIM, RESIDUES))
    structure = turyn()
    _marginals(residue_masses(masses), index, structure.halves, structure.partners,
               np.ascontiguousarray(structure.partner_classes[0]), totals, marginals, _space())  # fmt: skip
    return np.log(totals) + top[index].sum(axis=1), marginals


def table_gradient(scores: np.ndarray, index: np.ndarray, marginals: np.ndarray) -> np.ndarray:
    """The gradient of a weighted sum of log Z by the tables: float (S, W), (N, 24), (N, 24, 8) -> float64 (S, W).

    marginals: those of :func:`log_partition_and_marginals`, each token's times its weight. A score below the clamp
    moves nothing; its value's share goes with its table's best, 25 nats above.
    """
    masses, top = linear_masses(scores)
    shares = np.zeros((len(masses), RESIDUES))
    np.add.at(shares, check_tables(masses, index), marginals)
    runs = masses.reshape(len(masses), -1, RESIDUES) * (shares / residue_masses(masses))[:, None]
    gradient = runs.reshape(masses.shape)
    below = np.where(scores - top[:, None] < -CLAMP, gradient, 0.0)
    gradient -= below
    gradient[np.arange(len(masses)), masses.argmax(axis=1)] += below.sum(axis=1)
    return gradient


def _space() -> tuple[np.ndarray, ...]:
    """Room for what :func:`_marginals` computes."""
    lanes, slope = np.zeros((2, DIM, RESIDUES, LANES))
    tree, d_tree = np.zeros((2, TREES, 32, ROW))
    table, rest = np.zeros((2, 3, CLASSES, ROW))
    return lanes, slope, tree, d_tree, table, rest, np.zeros(LANES)


@exact_entry
def _marginals(residues, index, halves, partners, classes, totals, marginals, space):
    lanes, slope, tree, d_tree, table, rest, total = space
    for start in range(0, len(index), LANES):
        count = min(LANES, len(index) - start)
        for lane in range(count):
            for i in range(DIM):
                own = residues[index[start + lane, i]]
                for r in range(RESIDUES):
                    lanes[i, r, lane] = own[r]
        total[:] = 0.0
        for m in range(2):
            for h in range(TREES):
                grow(lanes[4 * h : 4 * h + 4], m, tree[h])
            for j in range(3):
                fold(tree[2 * j], tree[2 * j + 1], halves, table[j])
            for j in range(3):
                _others(table[j - 2], table[j - 1], EVEN if m == 0 else ODD, rest[j])
            for k in range(CLASSES):
                for lane in range(LANES):
                    total[lane] += table[0, k, EVEN + lane] * rest[0, k, EVEN + lane]
                    total[lane] += table[0, k, ODD + lane] * rest[0, k, ODD + lane]
            for j in range(3):
                for h in range(2):
                    _unfold(tree[2 * j + 1 - h], partners, classes[h], rest[j], d_tree[2 * j + h])
            for h in range(TREES):
                _ungrow(lanes[4 * h : 4 * h + 4], m, tree[h], d_tree[h], slope[4 * h : 4 * h + 4])
        for lane in range(count):
            totals[start + lane] = total[lane]
            for i in range(DIM):
                for r in range(RESIDUES):
                    marginals[start + lane, i, r] = lanes[i, r, lane] * slope[i, r, lane] / total[lane]


@exact
def _others(x, y, wanted, rest):
    """The derivatives of the wanted part by a block's classes: the products of the other two blocks."""
    for k in range(0, CLASSES, 8):
        for c in range(8):
            for lane in range(LANES):
                even = odd = 0.0
                for a in range(8):
                    p, q = x[k + a, EVEN + lane], x[k + a, ODD + lane]
                    u, v = y[k + (a ^ c), EVEN + lane], y[k + (a ^ c), ODD + lane]
                    even += p * u + q * v
                    odd += p * v + q * u
                rest[k + c, wanted + lane] = even
                rest[k + c, ODD - wanted + lane] = odd


@exact
def _unfold(other, partners, classes, rest, d_tree):
    """The derivatives by one half's nodes 16..31: what the other half and the other blocks give each of them."""
    for n in range(16):
        for lane in range(LANES):
            even = odd = 0.0
            for s in range(8):
                p, q = rest[classes[n, s], EVEN + lane], rest[classes[n, s], ODD + lane]
                u, v = other[partners[n, s], EVEN + lane], other[partners[n, s], ODD + lane]
                even += p * u + q * v
                odd += p * v + q * u
            d_tree[16 + n, EVEN + lane] = even
            d_tree[16 + n, ODD + lane] = odd


@exact
def _ungrow(residues, m, tree, d_tree, slope):
    """From the derivatives by nodes 16..31 to those by the residues of parity m of four coordinates."""
    for t in range(3, 0, -1):
        for s in range(2):
            slope[t, m + 2 * s] = 0.0
            slope[t, m + 2 * s + 4] = 0.0
        for n in range(1 << t, 2 << t):
            d_tree[n] = 0.0
            for s in range(2):
                for lane in range(LANES):
                    p, q = d_tree[2 * n + s, EVEN + lane], d_tree[2 * n + s, ODD + lane]
                    u, v = tree[n, EVEN + lane], tree[n, ODD + lane]
                    slope[t, m + 2 * s, lane] += p * u + q * v
                    slope[t, m + 2 * s + 4, lane] += p * v + q * u
                    u, v = residues[t, m + 2 * s, lane], residues[t, m + 2 * s + 4, lane]
                    d_tree[n, EVEN + lane] += p * u + q * v
                    d_tree[n, ODD + lane] += p * v + q * u
    for s in range(2):
        for lane in range(LANES):
            slope[0, m + 2 * s, lane] = d_tree[2 + s, EVEN + lane]
            slope[0, m + 2 * s + 4, lane] = d_tree[2 + s, ODD + lane]
