"""Coding points of all of the Leech lattice: the one loop of encoder, decoder and bit counter.

    integer scores ─▶ ScoreTables ─┬▶ masses of the symbols left ─▶ pmf ─▶ integers q ─▶ TokenCoder.code ─▶ bytes
    number of each coordinate's table ┘                ▲                                       │
                                                       └──────────── symbols so far ───────────┘

Points are coded in groups, symbol by symbol: point_masses.py says which, docs/lattice.md gives masses and order to the
bit.
"""

import numpy as np

from leechcodec.entropy import point_masses
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, TOTAL, integer_pmf
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.point_symbols import SYMBOLS, WORD_SYMBOLS, cosets_of, points_to_symbols, symbols_to_points
from leechcodec.entropy.token_coder import GROUP, TokenCoder
from leechcodec.lattice.partition import coset_masses
from leechcodec.lattice.points import DIM, check_tables, coset_residues


def code_points(
    coder: TokenCoder, tables: ScoreTables, index: np.ndarray, points: np.ndarray | None = None
) -> np.ndarray:
    """Code points of the lattice under separable scores.

    tables: of integer scores over a window of W values. index: integers (N, 24), the table of every coordinate.
    points: integers (N, 24), points of the lattice within the window, or None for a decoder. Returns the points written
    or read, int32 (N, 24). Raises TypeError or ValueError for bad arguments, CorruptError where a decoder's data hold
    no such points.
    """
    index = check_tables(tables.masses, index)
    coder.check_given(points)
    symbols = np.zeros((len(index), SYMBOLS), dtype=np.int64)
    if points is not None:
        if np.shape(points) != index.shape:
            raise ValueError(f"expected points of shape {index.shape}, got {np.shape(points)}")
        symbols[:] = points_to_symbols(points, tables.width)
    for start in range(0, len(index), GROUP):
        rows = slice(start, start + GROUP)
        group = np.ascontiguousarray(symbols[rows].T)
        _code_group(coder, tables, index[rows], group, np.arange(start, start + group.shape[1]))
        symbols[rows] = group.T
    return symbols_to_points(symbols, tables.width)


def point_bits(tables: ScoreTables, index: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Ideal code length of each point in bits, from the integer pmfs: integers (N, 24) each -> float64 (N,)."""
    counter = BitCounter(len(points))
    code_points(counter, tables, index, points)
    return counter.token_bits


def _code_group(
    coder: TokenCoder, tables: ScoreTables, index: np.ndarray, symbols: np.ndarray, tokens: np.ndarray
) -> None:
    """Code a group: the rows of `symbols`, (28, n), are what the coder is given; what it returns takes their place."""

    def step(number: int, masses: np.ndarray, cap: int = TOTAL) -> np.ndarray:
        symbols[number] = coder.code(integer_pmf(masses, cap), symbols[number], tokens)
        return symbols[number]

    coset = step(0, coset_masses(tables.residues, index), FIRST_SYMBOL_CAP)
    pairs, masses = point_masses.block_masses(tables.residues, index, coset)
    third = step(1, masses)
    second = step(2, point_masses.second_masses(pairs, third))
    step(3, point_masses.first_masses(pairs, second, third))

    found = cosets_of(symbols[:WORD_SYMBOLS].T)
    first, odd = np.ascontiguousarray(coset_residues(found).T), found.m.copy()
    index = np.ascontiguousarray(index.T)
    later = point_masses.later_masses(tables.residues, index, first)
    for i in range(DIM):
        masses = point_masses.value_masses(tables.masses, index[i], first[i], later[i], odd, i == DIM - 1)
        odd ^= step(WORD_SYMBOLS + i, masses) & 1
