"""Tokens of the Leech lattice's shell as a short chain of symbols each.

      params ─▶ masses ─▶ pmf ─▶ integers q, sum 2^24 ─▶ TokenCoder ─▶ bytes
                  ▲                                       │    ▲
                  └── what was coded so far ◀── symbol ◀──┘    └── tokens (encoder)

There are two ways to the same bytes: leech_group.py, compiled, for encoder, decoder and bit counter; and, for any other
TokenCoder and as its reference, :class:`PlainGroup`, a numpy sweep per kind of symbol. docs/ENTROPY.md §4 and §5 are
the specification.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from leechcodec.entropy import leech_masses
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.entropy.leech_group import code_group, group_space
from leechcodec.entropy.leech_sums import group_sums, octad_bytes, word_bytes
from leechcodec.entropy.leech_symbols import SYMBOLS, symbols_to_tokens, tokens_to_symbols
from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, TOTAL, exponentials, integer_params, integer_pmf, token_rows
from leechcodec.entropy.range_coder import CompiledCoder, TokenDecoder
from leechcodec.entropy.token_coder import GROUP, TokenCoder
from leechcodec.lattice.golay import octad_supports
from leechcodec.lattice.leech import DIM


def code_leech_tokens(
    coder: TokenCoder,
    params: np.ndarray,
    tokens: np.ndarray | None = None,
    *,
    origin: bool = False,
    threads: int = 1,
) -> np.ndarray:
    """Code tokens of Λ24-SQ: the one loop of encoder, decoder and bit counter.

    params: integers (N, 24, 3) within int32, the prior's (a, b, d) of each coordinate in units of 1/64 nat; the score
    of an entry v is clamp((4·a·v + 4·b·|v| + d·v² + 4) >> 3, ±1600). tokens: int8 (N, 24), codewords in integer form,
    or None for a decoder. origin: whether the code holds the origin too, as a class of its own. threads: how many may
    compute masses; the stream does not depend on it. Returns the codewords written or read, int8 (N, 24).
    Raises TypeError or ValueError for bad arguments, CorruptError where a decoder's data hold no such tokens.
    """
    params = integer_params(params, (DIM, 3))
    coder.check_given(tokens)
    symbols = np.zeros((len(params), SYMBOLS), dtype=np.int32)
    if tokens is not None:
        symbols[:] = tokens_to_symbols(token_rows(tokens, len(params), DIM), origin)
    starts = range(0, len(params), GROUP)
    if not isinstance(coder, CompiledCoder):
        for start in starts:
            PlainGroup(coder, symbols, start).code(params[start : start + GROUP], origin)
        return symbols_to_tokens(symbols)
    tables, space = (exponentials(), word_bytes(), octad_bytes(), octad_supports()), group_space()
    groups = [params[start : start + GROUP] for start in starts]
    for start, group, sums in zip(starts, groups, _sums_ahead(groups, threads), strict=True):
        coder.reserve(len(group) * SYMBOLS)
        rows = symbols[start : start + GROUP]
        coder.check(code_group(coder.kernel, start, origin, group, sums, tables, space, rows))
    return symbols_to_tokens(symbols) if tokens is None or isinstance(coder, TokenDecoder) else tokens.astype(np.int8)


def leech_token_bits(params: np.ndarray, tokens: np.ndarray, *, origin: bool = False) -> np.ndarray:
    """Ideal code length of each token in bits, from the integer pmfs: (N, 24, 3), int8 (N, 24) -> float64 (N,)."""
    counter = BitCounter(len(tokens))
    code_leech_tokens(counter, params, tokens, origin=origin)
    return counter.token_bits


def _sums_ahead(groups: list[np.ndarray], threads: int) -> Iterator:
    """The sums of each group, in order. They depend on nothing that is coded, so that with several threads those of
    the groups to come are computed while one is coded: a few groups ahead, 2 MB each."""
    if min(threads, len(groups)) < 2:
        yield from map(group_sums, groups)
        return
    with ThreadPoolExecutor(threads) as pool:
        begun = deque(pool.submit(group_sums, group) for group in groups[:threads])
        for group in groups[threads:]:
            yield begun.popleft().result()
            begun.append(pool.submit(group_sums, group))
        while begun:
            yield begun.popleft().result()


class PlainGroup:
    """One group: its rows of `symbols` are what the coder is given, and what it returns is put in their place."""

    def __init__(self, coder: TokenCoder, symbols: np.ndarray, start: int) -> None:
        self.coder = coder
        self.start = start
        self.symbols = symbols[start : start + GROUP]

    def code(self, params: np.ndarray, origin: bool) -> None:
        """Code all symbols of the group in the order of docs/ENTROPY.md §5, given its parameters, int64 (n, 24, 3)."""
        e, (classes, octads, pairs) = leech_masses.coordinate_masses(params), leech_masses.shell_masses(params)
        if origin:  # every score of the entry 0 is 0, so the origin's mass is 1
            classes = np.concatenate([classes, np.ones((len(e), 1))], axis=1)
        kind = self.step(np.arange(len(e)), 0, classes, FIRST_SYMBOL_CAP)
        one, two, three = (np.flatnonzero(kind == k) for k in range(3))
        self.code_class_1(one, e[one])
        self.code_class_2(two, e[two], octads[two])
        self.code_class_3(three, e[three], pairs[three])

    def code_class_1(self, rows: np.ndarray, e: np.ndarray) -> None:
        t = leech_masses.entry_masses(e)
        i = self.step(rows, 1, leech_masses.first_entry_masses(t))
        for first in range(DIM - 1):  # the alphabet of j is what lies after i
            here = np.flatnonzero(i == first)
            self.step(rows[here], 2, t[here, first + 1 :])
        j = i + 1 + self.symbols[rows, 2]
        for column, entry in ((3, i), (4, j)):
            at = e[np.arange(len(rows)), entry]
            self.step(rows, column, at[:, [leech_masses.ZERO + 4, leech_masses.ZERO - 4]])

    def code_class_2(self, rows: np.ndarray, e: np.ndarray, octads: np.ndarray) -> None:
        octad = self.step(rows, 1, octads)
        sign, rest = leech_masses.octad_sign_masses(e, octad)
        parity = np.zeros(len(rows), dtype=np.int64)
        for k in range(7):
            parity ^= self.step(rows, 2 + k, leech_masses.next_sign_masses(sign, rest, k, parity))

    def code_class_3(self, rows: np.ndarray, e: np.ndarray, pairs: np.ndarray) -> None:
        x = self.step(rows, 1, leech_masses.sums_over_a(pairs))
        a = self.step(rows, 2, pairs[np.arange(len(rows)), x])
        b = self.step(rows, 3, leech_masses.last_word_masses(e, x, a))
        self.step(rows, 4, leech_masses.flip_masses(e, 256 * x + 16 * a + b))

    def step(self, rows: np.ndarray, column: int, masses: np.ndarray, cap: int = TOTAL) -> np.ndarray:
        """Code one symbol of each of these rows. Returns int64 (n,), the symbols coded."""
        coded = self.coder.code(integer_pmf(masses, cap), self.symbols[rows, column], self.start + rows)
        self.symbols[rows, column] = coded
        return coded
