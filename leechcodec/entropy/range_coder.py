"""The range coder: symbols and integer pmfs to bytes. Encoder, decoder and bit counter share one interface.

      integers q, sum 2^24 ─▶ TokenCoder.code ─▶ bytes
                                  │    ▲
                       symbol ◀───┘    └── symbol (encoder)

The range coder is that of constriction (Bamler, arXiv 2201.01741), of which this is the only importer. It re-quantizes
the floats it is given; handed q - 1 with `perfect=False` its own integers are exactly q (checked in the tests), so
docs/ENTROPY.md can define the code by q alone.
"""

import math
from abc import ABC, abstractmethod

import constriction
import numpy as np

from leechcodec.compiled import njit
from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, PRECISION, TOTAL
from leechcodec.errors import CorruptError, LqError

GROUP = 1024
"""Tokens coded together; a constant of the format, since symbols of one kind are neighbours within a group."""
MIN_BITS_PER_TOKEN = PRECISION - math.log2(FIRST_SYMBOL_CAP)
"""No token takes fewer bits: n tokens in fewer than n · MIN_BITS_PER_TOKEN bits are a forgery."""
_WORD_BYTES = 4


class TokenCoder(ABC):
    """A sequence of symbols, each with its own integer pmf: written, read or counted. Tokens of every kind are coded
    through it, in one loop for all directions."""

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
