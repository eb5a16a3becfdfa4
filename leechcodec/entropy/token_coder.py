"""What tokens of every kind are coded through: symbols, each with its own integer pmf, in one loop for all directions.

integers q, sum 2^24 ─▶ TokenCoder.code ─▶ bytes, or bits, or chance
                            │    ▲
                 symbol ◀───┘    └── symbol (encoder)
"""

import math
from abc import ABC, abstractmethod

import numpy as np

from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, PRECISION, TOTAL

GROUP = 1024
"""Tokens coded together; a constant of the format, since symbols of one kind are neighbours within a group."""
MIN_BITS_PER_TOKEN = PRECISION - math.log2(FIRST_SYMBOL_CAP)
"""No token takes fewer bits: n tokens in fewer than n · MIN_BITS_PER_TOKEN bits are a forgery."""


class TokenCoder(ABC):
    """A sequence of symbols, each with its own integer pmf: written, read, counted or drawn."""

    reads: bool = False
    """Whether symbols come from it, a decoder, say. Any other must be given them."""

    def check_given(self, tokens: np.ndarray | None) -> None:
        """Raises ValueError for no tokens where they cannot be read."""
        if tokens is None and not self.reads:
            raise ValueError("only a decoder can do without the tokens")

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
        if (pmf < 1).any() or (pmf > TOTAL).any() or (pmf.sum(axis=1) != TOTAL).any():
            raise ValueError(f"not a pmf: rows need integers >= 1 of sum {TOTAL}")
        return self._code(pmf, symbols, tokens)

    @abstractmethod
    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray: ...
