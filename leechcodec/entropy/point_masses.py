"""Masses of the symbols of a point of the Leech lattice, under separable scores over a window.

A point x has mass prod_i e_i(x_i), e_i(v) = exp(f_i(v)). It is coded as 28 symbols (lattice/points.py has the letters):

    8·m + y     16                      which coset of the words, and whether all coordinates are odd
    C, B        16, 16                  the third and the second block of the Golay word, numbers in H
    A           2                       the first block: B + C, or its complement
    k_0 .. k_23     W/4, the last W/8   x_i = m + 2·b_i + 4·k - W/2: a value of the residue class that the word leaves

each with the summed mass of the points that remain: positive terms in a fixed order (docs/lattice.md), so the numbers
are the same on every machine. Once y is known its word of H' is taken out by exchanging residues where it has a one.
After that all tokens look for words of the same code, so LANES of them run side by side again.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from leechcodec.entropy.pmf import SCORE_LIMIT, exponentials
from leechcodec.lattice import points as lattice
from leechcodec.lattice.cosets import EVEN, LANES, ODD, ROW, TREES, exact, exact_entry, grow
from leechcodec.lattice.golay import BLOCKS, hamming_reversed
from leechcodec.lattice.partition import residue_masses
from leechcodec.lattice.points import DIM, ONES, RESIDUES
from leechcodec.lattice.structure import turyn


@dataclass(frozen=True)
class ScoreTables:
    """Integer scores of values, as masses.

    masses: float64 (S, W), e(v) at column v + W/2, the best value's is 1. residues: float64 (S, 8), their sums by
    v modulo 8.
    """

    masses: np.ndarray
    residues: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray) -> "ScoreTables":
        """Tables of scores in units of 1/64 nat, clamped to 25 nats below each table's best.

        scores: integers (S, W), W a multiple of 16. Raises TypeError for what is not integers, ValueError for another
        shape or scores beyond int32.
        """
        scores = np.asarray(scores)
        if scores.dtype.kind not in "iu":
            raise TypeError(f"scores must be integers, not {scores.dtype}")
        if scores.ndim != 2:
            raise ValueError(f"expected tables of scores of shape (S, W), got {scores.shape}")
        lattice.check_window(scores.shape[1])
        if scores.size and (scores.min() < -(2**31) or scores.max() >= 2**31):
            raise ValueError("scores beyond the range of int32")
        scores = scores.astype(np.int64)
        below = np.maximum(scores - scores.max(axis=1, keepdims=True), -SCORE_LIMIT)
        masses = exponentials()[below + SCORE_LIMIT]
        return cls(masses, residue_masses(masses))

    @property
    def width(self) -> int:
        """Values of the window."""
        return self.masses.shape[1]


# --- the word --------------------------------------------------------------------------------------------------


def block_masses(residues: np.ndarray, index: np.ndarray, coset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the blocks of a token weigh, given its coset.

    residues: float64 (S, 8); index: int64 (N, 24); coset: int64 (N,), 8·m + y. Returns the pairs (q even, q odd) of
    every block's words, numbered as in H, float64 (N, 3, 16, 2), and the masses of the third block's words, (N, 16).
    Where m = 1 the last coordinate's q counts the other way, so that the even part is wanted for every token.
    """
    pairs, third = np.empty((len(index), BLOCKS, 16, 2)), np.empty((len(index), 16))
    _block_masses(residues, index, coset, hamming_reversed(), _halves(), pairs, third, _space())
    return pairs, third


def second_masses(pairs: np.ndarray, third: np.ndarray) -> np.ndarray:
    """Masses of the second block's words given the third: (N, 3, 16, 2), int64 (N,) -> float64 (N, 16)."""
    masses = np.empty((len(pairs), 16))
    _second_masses(pairs, third, masses)
    return masses


def first_masses(pairs: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    """Masses of the first block's two words given the others: (N, 3, 16, 2), int64 (N,) each -> float64 (N, 2)."""
    masses = np.empty((len(pairs), 2))
    _first_masses(pairs, second, third, masses)
    return masses


def _space() -> tuple[np.ndarray, ...]:
    """Room for what :func:`_block_masses` computes."""
    lanes, tree = np.zeros((DIM, RESIDUES, LANES)), np.zeros((TREES, 32, ROW))
    return lanes, tree, np.empty((BLOCKS, 16, ROW)), np.empty((2, 8, ROW)), np.empty((16, LANES))


@exact_entry
def _block_masses(residues, index, coset, shifts, halves, pairs, third, space):
    lanes, tree, block, folded, mass = space
    for start in range(0, len(index), LANES):
        count = min(LANES, len(index) - start)
        for lane in range(count):
            m, y = coset[start + lane] >> 3, coset[start + lane] & 7
            for i in range(DIM):
                own = residues[index[start + lane, i]]
                zero, turned = m + 2 * shifts[y, i & 7], 4 * (m & (i == DIM - 1))
                for r in range(0, RESIDUES, 2):
                    lanes[i, r, lane] = own[(zero ^ (r & 2)) + ((r & 4) ^ turned)]
        for h in range(TREES):
            grow(lanes[4 * h : 4 * h + 4], 0, tree[h])
        for j in range(BLOCKS):
            _join(tree[2 * j], tree[2 * j + 1], halves, block[j])
        for j in range(2):
            for k in range(8):
                for lane in range(ROW):
                    folded[j, k, lane] = block[j, k, lane] + block[j, k ^ ONES, lane]
        _third_masses(folded[0], folded[1], block[2], mass)
        for lane in range(count):
            for word in range(16):
                for j in range(BLOCKS):
                    pairs[start + lane, j, word, 0] = block[j, word, EVEN + lane]
                    pairs[start + lane, j, word, 1] = block[j, word, ODD + lane]
                third[start + lane, word] = mass[word, lane]


@exact
def _join(low, high, halves, block):
    """The pairs of a block's 16 words from those of its halves."""
    for word in range(16):
        n, m = halves[word, 0], halves[word, 1]
        for lane in range(LANES):
            p, q, u, v = low[n, EVEN + lane], low[n, ODD + lane], high[m, EVEN + lane], high[m, ODD + lane]
            block[word, EVEN + lane] = p * u + q * v
            block[word, ODD + lane] = p * v + q * u


@exact
def _third_masses(x, y, z, mass):
    """The masses of C: over all B, with the first block as it is or complemented. x, y: folded, (8, ROW)."""
    for c in range(8):
        for lane in range(LANES):
            p, q, u, v = x[c, EVEN + lane], x[c, ODD + lane], y[0, EVEN + lane], y[0, ODD + lane]
            even, odd = p * u + q * v, p * v + q * u
            for b in range(1, 8):
                p, q, u, v = x[b ^ c, EVEN + lane], x[b ^ c, ODD + lane], y[b, EVEN + lane], y[b, ODD + lane]
                even += p * u + q * v
                odd += p * v + q * u
            mass[c, lane] = even * z[c, EVEN + lane] + odd * z[c, ODD + lane]
            mass[c ^ ONES, lane] = even * z[c ^ ONES, EVEN + lane] + odd * z[c ^ ONES, ODD + lane]


@exact_entry
def _second_masses(pairs, third, masses):
    for token in range(len(pairs)):
        x, y, z = pairs[token, 0], pairs[token, 1], pairs[token, 2, third[token]]
        for b in range(16):
            a = b ^ third[token]
            p, q, u, v = x[a, 0] + x[a ^ ONES, 0], x[a, 1] + x[a ^ ONES, 1], y[b, 0], y[b, 1]
            masses[token, b] = (p * u + q * v) * z[0] + (p * v + q * u) * z[1]


@exact_entry
def _first_masses(pairs, second, third, masses):
    for token in range(len(pairs)):
        x, y, z = pairs[token, 0], pairs[token, 1, second[token]], pairs[token, 2, third[token]]
        for s in range(2):
            p, q = x[second[token] ^ third[token] ^ (ONES * s)]
            masses[token, s] = (p * y[0] + q * y[1]) * z[0] + (p * y[1] + q * y[0]) * z[1]


@cache
def _halves() -> np.ndarray:
    """The tree nodes (low, high half) of the words of H, uint8 (16, 2): those of the classes with y = 0."""
    nodes = np.empty((16, 2), dtype=np.uint8)
    for k in range(8):
        nodes[k], nodes[k ^ ONES] = turyn().halves[k]
    return nodes


# --- the values ------------------------------------------------------------------------------------------------


def later_masses(residues: np.ndarray, index: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Pairs (q even, q odd) of all coordinates after each: (S, 8), int64 (24, N) each -> float64 (24, N, 2).

    index: the tables, first: what the coset leaves of each coordinate, m + 2·b_i; here a row is a coordinate.
    """
    pairs = np.empty((*index.shape, 2))
    _later_masses(residues, index, first, pairs)
    return pairs


def value_masses(
    masses: np.ndarray, index: np.ndarray, first: np.ndarray, later: np.ndarray, odd: np.ndarray, last: bool
) -> np.ndarray:
    """Masses of a coordinate's values, smallest first, given the parity of q that this and the later ones must have.

    masses: float64 (S, W); index, first, odd: int64 (N,), its table, m + 2·b_i, and that parity; later: (N, 2), its row
    of :func:`later_masses`. Returns float64 (N, W/4), and for the last coordinate, whose q is known, (N, W/8).
    """
    found = np.empty((len(index), masses.shape[1] // (8 if last else 4)))
    (_last_value_masses if last else _value_masses)(masses, index, first, later, odd, found)
    return found


@exact_entry
def _later_masses(residues, index, first, pairs):
    pairs[DIM - 1, :, 0], pairs[DIM - 1, :, 1] = 1.0, 0.0
    for i in range(DIM - 1, 0, -1):
        for token in range(index.shape[1]):
            even, odd = pairs[i, token, 0], pairs[i, token, 1]
            own, r = residues[index[i, token]], first[i, token]
            pairs[i - 1, token, 0] = own[r] * even + own[r + 4] * odd
            pairs[i - 1, token, 1] = own[r] * odd + own[r + 4] * even


@exact_entry
def _value_masses(masses, index, first, later, odd, found):
    for token in range(len(index)):
        own, r = masses[index[token]], first[token]
        zero, one = later[token, odd[token]], later[token, 1 - odd[token]]
        for k in range(0, found.shape[1], 2):
            found[token, k] = own[4 * k + r] * zero
            found[token, k + 1] = own[4 * k + r + 4] * one


@exact_entry
def _last_value_masses(masses, index, first, later, odd, found):
    for token in range(len(index)):
        own, r = masses[index[token]], first[token] + 4 * odd[token]
        for k in range(found.shape[1]):
            found[token, k] = own[RESIDUES * k + r]
