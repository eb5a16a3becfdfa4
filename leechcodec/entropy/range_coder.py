"""Entropy coding: integer pmfs -> bytes. Encoder, decoder and bit counter share one interface and one loop.

      params ─▶ pmf_leech ─▶ masses ─▶ pmf ─▶ integers q, sum 2^24 ─▶ TokenCoder.code ─▶ bytes
                                                                         │        ▲
                     what was coded so far ◀─── symbol ◀─────────────────┘        └── tokens (encoder)

The range coder is that of constriction (Bamler, arXiv 2201.01741), of which this is the only importer. It re-quantizes
the floats it is given; handed q - 1 with `perfect=False` its own integers are exactly q (checked in the tests), so
docs/ENTROPY.md can define the code by q alone.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import constriction
import numpy as np

from leechcodec.compiled import njit
from leechcodec.entropy import leech_masses
from leechcodec.entropy.pmf import (
    FIRST_SYMBOL_CAP,
    PRECISION,
    SCORE_LIMIT,
    TOTAL,
    exponentials,
    integer_params,
    integer_pmf,
)
from leechcodec.errors import CorruptError, LqError
from leechcodec.lattice.leech import DIM

GROUP = 1024
"""Tokens coded together; a constant of the format, since symbols of one kind are neighbours within a group."""
MIN_BITS_PER_TOKEN = PRECISION - math.log2(FIRST_SYMBOL_CAP)
"""No token takes fewer bits: n tokens in fewer than n · MIN_BITS_PER_TOKEN bits are a forgery."""
_WORD_BYTES = 4


# --- coders ----------------------------------------------------------------------------------------------------


class TokenCoder(ABC):
    """What the loops below drive: a sequence of symbols, each with its own integer pmf, written, read or counted."""

    def code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None = None) -> np.ndarray:
        """Code N symbols of one alphabet, in order.

        pmf: integers (N, K), K >= 1, every row >= 1 and of sum 2^24. symbols: integers (N,) in 0..K-1; a decoder
        ignores them. tokens: int (N,), the token each symbol belongs to, which only a counter asks for.
        Returns int64 (N,), the symbols written or read. An alphabet of one symbol costs nothing.
        Raises ValueError for a pmf or symbols out of range, CorruptError where the data hold no such symbols.
        """
        count, alphabet = pmf.shape
        if alphabet == 1 or count == 0:
            return np.zeros(count, dtype=np.int64)
        pmf = np.ascontiguousarray(pmf, dtype=np.int64)
        if not _is_pmf(pmf):
            raise ValueError(f"not a pmf: rows need integers >= 1 of sum {TOTAL}")
        return self._code(pmf, symbols, tokens)

    @abstractmethod
    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray: ...


class TokenEncoder(TokenCoder):
    """Writes symbols; :meth:`to_bytes` gives the stream."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def to_bytes(self) -> bytes:
        """The stream so far, closed: little-endian uint32 words; empty if nothing was written."""
        return self._coder.get_compressed().astype("<u4").tobytes()

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        symbols = _given(symbols, pmf)
        try:
            self._coder.encode(symbols.astype(np.int32), *_model(pmf))
        except (AssertionError, ValueError, TypeError) as error:
            raise LqError(f"the range coder refused {len(symbols)} symbols: {error}") from error
        return symbols


class TokenDecoder(TokenCoder):
    """Reads the symbols of a stream. A stream is canonical: it must be the very bytes that an encoder writes.

    The range decoder itself neither notices that its data ended (it goes on with zeros) nor that some are left. So
    the symbols read are written again beside it, which costs little and makes both certain.

    data: the stream. Raises CorruptError if its length is no multiple of 4 bytes.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % _WORD_BYTES:
            raise CorruptError(f"a token stream of {len(data)} bytes is not a whole number of {_WORD_BYTES}-byte words")
        self._data = bytes(data)
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, dtype="<u4").astype(np.uint32))
        self._echo = constriction.stream.queue.RangeEncoder()

    def finish(self) -> None:
        """Check that the symbols read are the whole stream, no more and no less. Raises CorruptError."""
        if self._echo.get_compressed().astype("<u4").tobytes() != self._data:
            raise CorruptError("the token stream is not what an encoder writes for the tokens in it")

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        family, floats = _model(pmf)
        try:
            read = self._coder.decode(family, floats)
            self._echo.encode(read, family, floats)
        except (AssertionError, ValueError, TypeError) as error:
            raise CorruptError(f"the token stream holds no valid symbol: {error}") from error
        # Closing early takes at most one word more than closing late: see docs/ENTROPY.md §1.
        if self._echo.num_words() > len(self._data) // _WORD_BYTES + 1:
            raise CorruptError("the token stream ends before its tokens do")
        return read.astype(np.int64)


class BitCounter(TokenCoder):
    """Codes nothing and adds up -log2(q / 2^24), what an ideal coder would write.

    tokens: how many tokens to keep apart. bits: the sum so far. token_bits: float64 (tokens,), the sum of each.
    """

    def __init__(self, tokens: int = 0) -> None:
        self.bits = 0.0
        self.token_bits = np.zeros(tokens)

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        symbols = _given(symbols, pmf)
        bits = PRECISION - np.log2(np.take_along_axis(pmf, symbols[:, None], axis=1)[:, 0])
        self.bits += float(bits.sum())
        if self.token_bits.size and tokens is not None:
            np.add.at(self.token_bits, tokens, bits)
        return symbols


def _given(symbols: np.ndarray | None, pmf: np.ndarray) -> np.ndarray:
    if symbols is None:
        raise ValueError("only a decoder can do without the symbols")
    symbols = np.asarray(symbols, dtype=np.int64)
    if symbols.shape != pmf.shape[:1] or symbols.min() < 0 or symbols.max() >= pmf.shape[1]:
        raise ValueError(f"expected {pmf.shape[0]} symbols in 0..{pmf.shape[1] - 1}")
    return symbols


def _model(pmf: np.ndarray) -> tuple[constriction.stream.model.Categorical, np.ndarray]:
    """constriction gives every symbol 1 and shares the remaining 2^24 - K in proportion: exactly, for q - 1."""
    return constriction.stream.model.Categorical(perfect=False), (pmf - 1).astype(np.float64)


@njit(cache=True, nogil=True)
def _is_pmf(pmf: np.ndarray) -> bool:
    for row in range(pmf.shape[0]):
        total = 0
        for k in range(pmf.shape[1]):
            q = pmf[row, k]
            if q < 1 or q > TOTAL:
                return False
            total += q
        if total != TOTAL:
            return False
    return True


# --- tokens of the Leech shell ---------------------------------------------------------------------------------


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
    symbols = np.zeros((len(params), leech_masses.SYMBOLS), dtype=np.int32)
    if tokens is not None:
        symbols[:] = leech_masses.tokens_to_symbols(token_rows(tokens, len(params), DIM), origin)
    starts = range(0, len(params), GROUP)
    for start, (e, sums) in zip(starts, _masses_ahead([params[n : n + GROUP] for n in starts], threads), strict=True):
        _LeechGroup(coder, symbols, start).code(e, *sums, origin)
    return leech_masses.symbols_to_tokens(symbols)


def leech_token_bits(params: np.ndarray, tokens: np.ndarray, *, origin: bool = False) -> np.ndarray:
    """Ideal code length of each token in bits, from the integer pmfs: (N, 24, 3), int8 (N, 24) -> float64 (N,)."""
    counter = BitCounter(len(tokens))
    code_leech_tokens(counter, params, tokens, origin=origin)
    return counter.token_bits


def _masses(params: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What coding a group needs: int64 (n, 24, 3) -> its coordinates' masses, the sums over the codebook."""
    e = leech_masses.coordinate_masses(params)
    return e, leech_masses.shell_masses(e)


def _masses_ahead(groups: list[np.ndarray], threads: int) -> Iterator:
    """The masses of each group, in order. They depend on nothing that is coded, so that with several threads those of
    the groups to come are computed while one is coded: a few groups ahead, 10 MB each."""
    if min(threads, len(groups)) < 2:
        yield from map(_masses, groups)
        return
    with ThreadPoolExecutor(threads) as pool:
        begun = deque(pool.submit(_masses, group) for group in groups[:threads])
        for group in groups[threads:]:
            yield begun.popleft().result()
            begun.append(pool.submit(_masses, group))
        while begun:
            yield begun.popleft().result()


class _LeechGroup:
    """One group: its rows of `symbols` are what the coder is given, and what it returns is put in their place."""

    def __init__(self, coder: TokenCoder, symbols: np.ndarray, start: int) -> None:
        self.coder = coder
        self.start = start
        self.symbols = symbols[start : start + GROUP]

    def code(self, e: np.ndarray, classes: np.ndarray, octads: np.ndarray, pairs: np.ndarray, origin: bool) -> None:
        """Code all symbols of the group in the order of docs/ENTROPY.md §5, given its masses."""
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


# --- tokens of signs -------------------------------------------------------------------------------------------


def code_sign_tokens(coder: TokenCoder, params: np.ndarray, tokens: np.ndarray | None = None) -> np.ndarray:
    """Code tokens of BSQ, d independent signs each; the counterpart of :func:`code_leech_tokens`.

    params: integers (N, d) within int32, log-odds of +1 in units of 1/64 nat, clamped to ±25 nats. tokens: int8
    (N, d) of ±1, or None for a decoder. Returns the signs written or read, int8 (N, d). Raises as its counterpart.
    """
    params = np.asarray(params)
    if params.ndim != 2 or params.shape[1] < 1:
        raise ValueError(f"expected params of shape (N, d), got {params.shape}")
    params = integer_params(params, params.shape[1:])
    count, dim = params.shape
    symbols = np.zeros((count, dim), dtype=np.int64)
    if tokens is not None:
        tokens = token_rows(tokens, count, dim)
        if not (np.abs(tokens.astype(np.int64)) == 1).all():
            raise ValueError("sign tokens must be +1 or -1")
        symbols[:] = tokens < 0
    for start in range(0, count, GROUP):
        rows = slice(start, start + GROUP)
        odds = exponentials()[SCORE_LIMIT + params[rows].clip(-SCORE_LIMIT, SCORE_LIMIT)]
        masses = np.stack([odds, np.ones_like(odds)], axis=-1)
        pmf = np.concatenate([integer_pmf(masses[:, 0], FIRST_SYMBOL_CAP)[:, None], _sign_pmf(masses[:, 1:])], axis=1)
        numbers = np.repeat(np.arange(start, start + len(odds)), dim)
        symbols[rows] = coder.code(pmf.reshape(-1, 2), symbols[rows].reshape(-1), numbers).reshape(-1, dim)
    return (1 - 2 * symbols).astype(np.int8)


def _sign_pmf(masses: np.ndarray) -> np.ndarray:
    return integer_pmf(masses.reshape(-1, 2)).reshape(masses.shape)


def token_rows(tokens: np.ndarray, count: int, dim: int) -> np.ndarray:
    """Tokens as an array, as they are. Raises ValueError where they are not integers (count, dim)."""
    tokens = np.asarray(tokens)
    if tokens.dtype.kind not in "iu" or tokens.shape != (count, dim):
        raise ValueError(f"expected integer tokens of shape ({count}, {dim}), got {tokens.dtype} {tokens.shape}")
    return tokens
