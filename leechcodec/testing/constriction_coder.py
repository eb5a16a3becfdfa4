"""The range coder of constriction (Bamler, arXiv 2201.01741) behind our interface: the reference of range_coder.py.

It re-quantizes the floats it is given; handed q - 1 with `perfect=False` its own integers are exactly q.
"""

from typing import Any

import constriction
import numpy as np

from leechcodec.entropy.token_coder import TokenCoder

_stream: Any = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  # a module that compiled code makes


class ConstrictionEncoder(TokenCoder):
    """Writes symbols; :meth:`to_bytes` gives the stream."""

    def __init__(self) -> None:
        self._coder = _stream.queue.RangeEncoder()

    def to_bytes(self) -> bytes:
        """The stream so far, closed: little-endian uint32 words."""
        return self._coder.get_compressed().astype("<u4").tobytes()

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        self._coder.encode(np.asarray(symbols, dtype=np.int32), *_model(pmf))
        return np.asarray(symbols, dtype=np.int64)


class ConstrictionDecoder(TokenCoder):
    """Reads the symbols of a stream; it goes on with zeros where the stream ended."""

    reads = True

    def __init__(self, data: bytes) -> None:
        self._coder = _stream.queue.RangeDecoder(np.frombuffer(data, dtype="<u4").astype(np.uint32))

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        return self._coder.decode(*_model(pmf)).astype(np.int64)


def _model(pmf: np.ndarray) -> tuple:
    return _stream.model.Categorical(perfect=False), (pmf - 1).astype(np.float64)
