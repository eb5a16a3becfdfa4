"""What the coder, the prior and files know of a quantizer: integers and arrays alone, no torch.

    codes ── numbers_of ──▶ 0 .. size - 1          codes ── code_tokens ──▶ symbols of a range coder
          ◀── codes_of ───                               ◀──────────────

Every :class:`~leechcodec.quantizers.base.Quantizer` is one. Those that the released models use are also there without
torch: :class:`LeechCode` and :class:`SignCode`.
"""

import math
import re
from abc import ABC, abstractmethod

import numpy as np

from leechcodec.entropy.leech_tokens import code_leech_tokens
from leechcodec.entropy.sign_tokens import code_sign_tokens
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.errors import QuantizerError
from leechcodec.lattice import kernels, leech
from leechcodec.threads import threads

MAX_ACTIVATION = 64
"""The integer prior's activations reach ±64: a code's entries, shifted, must stay within."""


class TokenCode(ABC):
    """A code of integer vectors, and how one is written."""

    name: str
    """As in a config."""
    dim: int
    size: int
    """How many codes there are."""
    norm_squared: float
    """Squared length of a code in integer units; its mean where codes differ in length."""
    max_entry: int
    """Largest absolute value of a code's entries."""
    params_per_coordinate: int = 3
    origin: bool = False
    """Whether the zero vector is a codeword beside those of the sphere: a token that says nothing."""

    @property
    def bits(self) -> float:
        """log2 of the codebook's size: the cost of a token in bits without a prior."""
        return math.log2(self.size)

    @property
    def num_params(self) -> int:
        """Prior outputs per token."""
        return self.dim * self.params_per_coordinate

    @property
    def code_shift(self) -> int:
        """Codes are divided by 2^code_shift where the prior reads them, which brings their entries near 1."""
        usual = math.ceil(math.log2(self.norm_squared / self.dim) / 2)
        return max(0, usual, math.ceil(math.log2(self.max_entry / MAX_ACTIVATION)))

    @property
    def code_scale(self) -> float:
        """Codes times this have unit mean square: what the synthesis transform is given."""
        return (self.dim / self.norm_squared) ** 0.5

    @abstractmethod
    def numbers_of(self, codes: np.ndarray) -> np.ndarray:
        """Numbers 0 .. size - 1 of codes: int8 (..., dim) -> int64 (...). Raises QuantizerError for what is no code,
        and where numbers of 64 bits are too small."""

    @abstractmethod
    def codes_of(self, numbers: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`numbers_of`: int64 (...) -> int8 (..., dim). Raises QuantizerError for a number out of
        range."""

    @abstractmethod
    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        """Drive an entropy coder over N tokens, in either direction, with exact integer probabilities.

        params: int64 (N, dim, P) in units of 1/64 nat. codes: int8 (N, dim), or None to decode.
        Returns the codes written or read, int8 (N, dim).
        """


class LeechCode(TokenCode):
    """Λ24-SQ's codewords, with or without the origin."""

    dim = leech.DIM
    norm_squared = leech.NORM_SQUARED
    max_entry = 4

    def __init__(self, origin: bool = False) -> None:
        self.origin = origin
        self.name = "leech-ball" if origin else "leech"
        self.size = leech.SIZE + origin

    def numbers_of(self, codes: np.ndarray) -> np.ndarray:
        """The numbers of docs/lattice.md; the origin, where the code has it, is the last."""
        check_codes(self, codes)
        rows = codes.reshape(-1, self.dim)
        silent = ~rows.any(axis=1) if self.origin else np.zeros(len(rows), dtype=bool)
        numbers = np.full(len(rows), leech.SIZE, dtype=np.int64)
        try:
            numbers[~silent] = leech.vector_to_index(rows[~silent])
        except ValueError as error:
            raise QuantizerError(str(error)) from error
        return numbers.reshape(codes.shape[:-1])

    def codes_of(self, numbers: np.ndarray) -> np.ndarray:
        check_numbers(self, numbers)
        flat = numbers.reshape(-1)
        rows = leech.index_to_vector(flat % leech.SIZE) * (flat < leech.SIZE)[:, None]
        return rows.astype(np.int8).reshape(*numbers.shape, self.dim)

    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        return code_leech_tokens(coder, params, codes, origin=self.origin, threads=threads())

    @np.errstate(over="ignore", invalid="ignore")
    def codes_nearest(self, z: np.ndarray) -> np.ndarray:
        """The codes that vectors are quantized to: float32 (N, 24), of any length -> int8 (N, 24).

        As :class:`~leechcodec.quantizers.leech.LeechSQ` and ``LeechBallSQ``: a vector without a direction has a fixed
        one; with the origin, it is what is nearer than any codeword.
        """
        if not self.origin:
            return kernels.nearest(_directed(z))
        z, radius = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0), np.float32(self.norm_squared**0.5)
        z = z * (radius / np.maximum(np.sqrt(np.square(z).sum(1, keepdims=True)), radius))
        silent = np.square(z).sum(1, keepdims=True) < 1e-6
        codes = kernels.nearest(np.where(silent, np.float32(1), z))
        return codes * ((z * codes).sum(1, keepdims=True) > self.norm_squared / 2)


class SignCode(TokenCode):
    """Codes ±1, those of BSQ."""

    params_per_coordinate = 1
    max_entry = 1

    def __init__(self, dim: int, name: str = "bsq") -> None:
        self.dim = self.norm_squared = dim
        self.size = 2**dim
        self.name = f"{name}-{dim}"

    def numbers_of(self, codes: np.ndarray) -> np.ndarray:
        """Bit dim - 1 - i is set where coordinate i is +1."""
        check_countable(self)
        check_codes(self, codes)
        if (np.abs(codes) != 1).any():
            raise QuantizerError("sign codes must be +1 or -1")
        return ((codes > 0).astype(np.int64) << np.arange(self.dim - 1, -1, -1)).sum(-1)

    def codes_of(self, numbers: np.ndarray) -> np.ndarray:
        check_numbers(self, numbers)
        return (2 * (numbers[..., None] >> np.arange(self.dim - 1, -1, -1) & 1) - 1).astype(np.int8)

    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        return code_sign_tokens(coder, params[..., 0], codes)

    def codes_nearest(self, z: np.ndarray) -> np.ndarray:
        """As :class:`~leechcodec.quantizers.bsq.BSQ`: float32 (N, dim), of any length -> int8 (N, dim)."""
        return np.where(_directed(z) < 0, -1, 1).astype(np.int8)


@np.errstate(over="ignore", invalid="ignore")
def _directed(z: np.ndarray) -> np.ndarray:
    """Rows that have a direction, as they are; ones in place of others. As ``Quantizer.project`` has it."""
    norm = np.sqrt(np.square(z, dtype=np.float32).sum(1, keepdims=True))
    return np.where((norm > 1e-12) & (norm < 1e18), z, np.float32(1))


def code_of(name: str) -> "LeechCode | SignCode | None":
    """The code of a quantizer's name, where there is one without torch."""
    if name in ("leech", "leech-ball"):
        return LeechCode(origin=name == "leech-ball")
    found = re.fullmatch("bsq-([1-9][0-9]{0,3})", name)
    return SignCode(int(found[1])) if found else None


def check_countable(code: TokenCode) -> None:
    """Raises QuantizerError where numbers of 64 bits are too small."""
    if code.size >= 2**63:
        raise QuantizerError(f"{code.name} has more codes than 64 bits can number")


def check_numbers(code: TokenCode, numbers: np.ndarray) -> None:
    """Raises QuantizerError for a number out of range, or where numbers of 64 bits are too small."""
    check_countable(code)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= code.size):
        raise QuantizerError(f"index out of range [0, {code.size}) of {code.name}")


def check_codes(code: TokenCode, codes: np.ndarray) -> None:
    """Raises QuantizerError for what cannot be codes: of another dimension, or with entries out of range."""
    if codes.ndim == 0 or codes.shape[-1] != code.dim:
        raise QuantizerError(f"{code.name} has codes of {code.dim} dimensions, got shape {codes.shape}")
    integers = np.issubdtype(codes.dtype, np.integer)
    if not integers or (codes.size and not -code.max_entry <= codes.min() <= codes.max() <= code.max_entry):
        raise QuantizerError(f"{code.name} has codes of integers within ±{code.max_entry}")
