"""Integer probabilities: scores in 1/64 nat -> exact doubles -> integer pmfs that sum to 2^24.

Everything here is either integer arithmetic, a look-up in one table of 3,201 doubles, or an IEEE addition,
multiplication or division of doubles in a fixed order (no fastmath, no fused multiply-add, no BLAS, no libm), so
that every machine computes the same integers. docs/ENTROPY.md is the specification; this file follows its §2 and §3.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache

import numpy as np

from leechcodec.entropy.jit import entry, inner

SCORE_UNIT = 64
"""Scores are integers in units of 1/64 nat ..."""
SCORE_LIMIT = 25 * SCORE_UNIT
"""... within ±25 nats, so that no product over 24 coordinates overflows or becomes denormal."""
EXACT_LIMIT = 2**53
"""Integers below it are exact as doubles: sums that stay there are the same in any order."""
PRECISION = 24
TOTAL = 1 << PRECISION
"""A pmf is a row of integers q >= 1 that sum to TOTAL."""
FIRST_SYMBOL_CAP = TOTAL - (TOTAL >> 8)
"""No token's first symbol is likelier than 1 - 2^-8: the bound on how many tokens a file's bytes can hold."""


def digits(count: int) -> Context:
    """decimal's context for so many digits, with nothing of the caller's, nor of what a program makes the default."""
    return Context(count, ROUND_HALF_EVEN, Emin=-999999, Emax=999999, capitals=1, clamp=0, flags=[], traps=[])


@cache
def exponentials() -> np.ndarray:
    """The doubles nearest to exp(k / 64), k = -1600..1600, at row k + 1600: float64 (3201,), read-only.

    Generated, not stored: `decimal` rounds exp and products correctly to 70 digits, of which the 3,200 products take
    four. float() rounds correctly to a double, and no value of the table lies within 1e-30 of the middle between two
    doubles, so every machine gets these.
    """
    with localcontext(digits(70)):
        value, ratio = (Decimal(-SCORE_LIMIT) / SCORE_UNIT).exp(), (Decimal(1) / SCORE_UNIT).exp()
        values = []
        for _ in range(2 * SCORE_LIMIT + 1):
            values.append(float(value))
            value *= ratio
    table = np.array(values)
    table.setflags(write=False)
    return table


def integer_params(params: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The prior's outputs as a contiguous int64 array (N, *shape).

    params: integers (N, *shape) in units of 1/64 nat, within int32. Raises TypeError for a non-integer array,
    ValueError for another shape or values beyond int32.
    """
    params = np.asarray(params)
    if params.dtype.kind not in "iu":
        raise TypeError(f"params must be integers, not {params.dtype}")
    if params.ndim != 1 + len(shape) or params.shape[1:] != shape:
        raise ValueError(f"expected params of shape (N, {', '.join(map(str, shape))}), got {params.shape}")
    if params.size and (params.min() < -(2**31) or params.max() >= 2**31):
        raise ValueError("params beyond the range of int32")
    return np.ascontiguousarray(params, dtype=np.int64)


def token_rows(tokens: np.ndarray, count: int, dim: int) -> np.ndarray:
    """Tokens as an array, as they are. Raises ValueError where they are not integers (count, dim)."""
    tokens = np.asarray(tokens)
    if tokens.dtype.kind not in "iu" or tokens.shape != (count, dim):
        raise ValueError(f"expected integer tokens of shape ({count}, {dim}), got {tokens.dtype} {tokens.shape}")
    return tokens


def integer_pmf(masses: np.ndarray, cap: int = TOTAL) -> np.ndarray:
    """Masses as integer probabilities, the rule of docs/ENTROPY.md §3.

    masses: float64 (N, K), positive and finite, K <= 2^16, every row's sum within e^±650. cap: the largest
    probability allowed, TOTAL / 2 <= cap <= TOTAL; below TOTAL it needs K >= 2.
    Returns int64 (N, K), every entry >= 1, every row's sum TOTAL. Raises ValueError for a cap on a single symbol.
    """
    if cap < TOTAL and masses.shape[1] < 2:
        raise ValueError("a cap needs a second symbol, which takes what is above it")
    pmf = np.empty(masses.shape, dtype=np.int64)
    _integer_pmf(np.ascontiguousarray(masses), cap, pmf)
    return pmf


@entry
def _integer_pmf(masses: np.ndarray, cap: int, pmf: np.ndarray) -> None:
    for row in range(len(masses)):
        integer_row(masses[row], cap, pmf[row])


@inner
def integer_row(mass: np.ndarray, cap: int, q: np.ndarray) -> None:
    """The rule for one row: q, int64 (K,), <- the pmf of mass, float64 (K,)."""
    alphabet = mass.size
    total = 0.0
    for k in range(alphabet):
        total += mass[k]
    scale = (TOTAL - alphabet) / total
    rest = TOTAL - alphabet
    largest = 0
    for k in range(alphabet):
        # Truncation is floor here. The floors cannot sum to more than TOTAL - alphabet: the roundings above
        # weigh less than 1e-5 of a unit together, and the sum of floors is an integer.
        share = np.int64(mass[k] * scale)
        q[k] = 1 + share
        rest -= share
        if q[k] > q[largest]:
            largest = k
    q[largest] += rest
    if q[largest] > cap:
        runner_up = 1 if largest == 0 else 0
        for k in range(alphabet):
            if q[k] > q[runner_up] and k != largest:
                runner_up = k
        q[runner_up] += q[largest] - cap
        q[largest] = cap
