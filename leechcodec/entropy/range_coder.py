"""The range coder: symbols and integer pmfs to bytes, in kernels that encoder, decoder and bit counter share.

docs/ENTROPY.md §1 specifies it: the streams are those of constriction's range coder (Bamler, arXiv 2201.01741) with
32-bit words, a 64-bit state and 24-bit pmfs. Kernels drive it symbol by symbol through :func:`find` and
:func:`advance`; everything they need is in `CompiledCoder.kernel`, a tuple of three arrays:

    state: uint64 (5,): MODE, LOW, RANGE, OFFSET (of the data above low, a decoder's), SHIFTS (words that left low).
    words: uint32, those written so far and room for more, or those of the data.
    tally: float64 (1 + tokens,): a counter's bits, in all and token by token."""

import math

import numpy as np

from leechcodec.entropy.jit import entry, inner
from leechcodec.entropy.pmf import PRECISION, TOTAL
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.errors import CorruptError

INVALID, ENDED = -1, -2
"""What kernels return in place of a symbol: the data hold none that is valid; the data ended long ago."""

MODE, LOW, RANGE, OFFSET, SHIFTS = range(5)
WRITE, READ, COUNT = np.uint64(0), np.uint64(1), np.uint64(2)
# uint64 with a plain integer is float64 in numba: every constant has its type.
_ONE, _SCALE, _WORD = np.uint64(1), np.uint64(PRECISION), np.uint64(32)
_MASK, _FULL = np.uint64(2**32 - 1), np.uint64(2**64 - 1)


@inner
def find(kernel: tuple, q: np.ndarray, symbol: int) -> tuple[int, int]:
    """The symbol to be coded and the sum of the q before it: the one given, or the one that the data hold.

    q: a pmf, int64 (K,). Returns (INVALID, 0) where the data hold none.
    """
    left, found = 0, 0
    if kernel[0][MODE] != READ:
        while found < symbol:
            left += q[found]
            found += 1
        return found, left
    goal = quantile(kernel)
    if goal >= TOTAL:
        return INVALID, 0
    while left + q[found] <= goal:
        left += q[found]
        found += 1
    return found, left


@inner
def quantile(kernel: tuple) -> int:
    """Where a decoder's data point among the 2^24 parts of the range; 2^24 or more where they are no stream."""
    state = kernel[0]
    return np.int64(state[OFFSET] // (state[RANGE] >> _SCALE))


@inner
def advance(kernel: tuple, left: int, width: int, token: int) -> int:
    """Write, read or count the symbol that has `width` of 2^24 parts, after `left`. Returns 0, or ENDED."""
    state, words, tally = kernel
    mode = state[MODE]
    if mode == COUNT:
        bits = PRECISION - math.log2(width)
        tally[0] += bits
        if 0 <= token < tally.size - 1:
            tally[token + 1] += bits
        return 0
    low, scale, shifts = state[LOW], state[RANGE] >> _SCALE, np.int64(state[SHIFTS])
    step, room = scale * np.uint64(left), _FULL - low
    if step <= room:
        low = low + step
    else:
        low = step - room - _ONE  # modulo 2^64
        if mode == WRITE:
            carry(words, shifts)
    span = scale * np.uint64(width)
    offset = state[OFFSET]
    if mode == READ:
        offset -= step
    if span <= _MASK:
        if mode == WRITE:
            words[shifts] = low >> _WORD
        else:
            if shifts >= words.size:
                return ENDED
            following = np.uint64(words[shifts + 2]) if shifts + 2 < words.size else np.uint64(0)
            offset = offset << _WORD | following
        low = (low & _MASK) << _WORD
        span = span << _WORD
        state[SHIFTS] = np.uint64(shifts + 1)
    state[LOW], state[RANGE], state[OFFSET] = low, span, offset
    return 0


@inner
def carry(words: np.ndarray, count: int) -> None:
    """Add one to the number whose digits are the first so many words."""
    while True:
        count -= 1
        if words[count] != np.uint32(_MASK):
            words[count] += np.uint32(1)
            return
        words[count] = np.uint32(0)


@entry
def code_rows(kernel: tuple, pmf: np.ndarray, symbols: np.ndarray, tokens: np.ndarray) -> int:
    """Code one symbol with each row of a pmf. Returns 0, INVALID or ENDED."""
    for row in range(len(pmf)):
        symbol, left = find(kernel, pmf[row], symbols[row])
        if symbol < 0:
            return symbol
        if advance(kernel, left, pmf[row, symbol], tokens[row]) < 0:
            return ENDED
        symbols[row] = symbol
    return 0


class CompiledCoder(TokenCoder):
    """A coder that kernels drive: `kernel` is what they take, and `check` is given what they return."""

    def __init__(self, mode: np.uint64, words: np.ndarray, tokens: int = 0) -> None:
        start = [np.uint64(words[k]) if k < len(words) else np.uint64(0) for k in range(2)]
        self._state = np.array([mode, 0, _FULL, start[0] << _WORD | start[1], 0], dtype=np.uint64)
        self._words, self._tally = words, np.zeros(1 + tokens)

    @property
    def kernel(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._state, self._words, self._tally

    def reserve(self, symbols: int) -> None:
        """Make room for so many symbols more: a word each at most."""

    def check(self, status: int) -> None:
        """Raises CorruptError where a kernel came upon invalid data."""
        if status < 0:
            found = "holds no valid symbol" if status == INVALID else "ends before its tokens do"
            raise CorruptError(f"the token stream {found}")

    def _given(self, symbols: np.ndarray | None, pmf: np.ndarray) -> np.ndarray:
        if symbols is None:
            raise ValueError("only a decoder can do without the symbols")
        symbols = np.array(symbols, dtype=np.int64)
        if symbols.shape != pmf.shape[:1] or symbols.min() < 0 or symbols.max() >= pmf.shape[1]:
            raise ValueError(f"expected {pmf.shape[0]} symbols in 0..{pmf.shape[1] - 1}")
        return symbols

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        coded = self._given(symbols, pmf)
        self.reserve(len(coded))
        numbers = np.full(len(coded), -1) if tokens is None else np.ascontiguousarray(tokens, dtype=np.int64)
        self.check(code_rows(self.kernel, pmf, coded, numbers))
        return coded


class TokenEncoder(CompiledCoder):
    """Writes symbols; :meth:`to_bytes` gives the stream."""

    def __init__(self) -> None:
        super().__init__(WRITE, np.zeros(64, dtype=np.uint32))

    def reserve(self, symbols: int) -> None:
        used = int(self._state[SHIFTS])
        if used + symbols > len(self._words):
            self._words = np.concatenate([self._words[:used], np.zeros(used + symbols, dtype=np.uint32)])

    def to_bytes(self) -> bytes:
        """The stream so far, closed: little-endian uint32 words; empty if nothing was written."""
        low, span, _, used = (int(part) for part in self._state[LOW:])
        if span == _FULL:
            return b""
        before = int.from_bytes(self._words[:used].astype(">u4").tobytes(), "big")
        zero = (low + span) >> 32 == (last := (low + 2**32 - 1) >> 32)
        number, used = (before << 32) + last << 32 * zero, used + zero
        return np.frombuffer(number.to_bytes(4 * used + 4, "big"), dtype=">u4").astype("<u4").tobytes()


class TokenDecoder(CompiledCoder):
    """Reads the symbols of a stream. A stream is canonical: it must be the very bytes that an encoder writes.

    data: the stream. Raises CorruptError if its length is no multiple of 4 bytes.
    """

    reads = True

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise CorruptError(f"a token stream of {len(data)} bytes is not a whole number of 4-byte words")
        super().__init__(READ, np.frombuffer(data, dtype="<u4").astype(np.uint32))

    def finish(self) -> None:
        """Check that the symbols read are the whole stream, no more and no less. Raises CorruptError."""
        low, span, offset, used = (int(part) for part in self._state[LOW:])
        last, data = (low + 2**32 - 1) >> 32, low + offset
        zero = (low + span) >> 32 == last
        canonical = data >> 32 == last and len(self._words) == used + 1 + zero and not (zero and data % 2**32)
        if not (canonical if span < _FULL else len(self._words) == 0):
            raise CorruptError("the token stream is not what an encoder writes for the tokens in it")

    def _given(self, symbols: np.ndarray | None, pmf: np.ndarray) -> np.ndarray:
        return np.zeros(len(pmf), dtype=np.int64)
