"""Tokens of grids (a symbol per coordinate) and of codebook tables (one or two symbols a codeword).

      params ─▶ integer scores ─▶ masses (look-up) ─▶ sums in order ─▶ pmf ─▶ TokenCoder.code

docs/ENTROPY.md §7 and §8 are the specification. As in pmf.py every step is integer arithmetic, a look-up, or an IEEE
operation in a fixed order; the one matrix product is of integers whose partial sums stay below 2^53, so its order does
not matter.
"""

from collections.abc import Sequence

import numpy as np

from leechcodec.entropy.jit import entry
from leechcodec.entropy.pmf import (
    EXACT_LIMIT,
    FIRST_SYMBOL_CAP,
    SCORE_LIMIT,
    TOTAL,
    exponentials,
    integer_params,
    integer_pmf,
    token_rows,
)
from leechcodec.entropy.token_coder import GROUP, TokenCoder
from leechcodec.errors import ConfigError


def code_grid_tokens(
    coder: TokenCoder,
    params: np.ndarray,
    lowest: Sequence[int],
    highest: Sequence[int],
    shift: int,
    tokens: np.ndarray | None = None,
) -> np.ndarray:
    """Code tokens of independent entries, the one loop of encoder, decoder and bit counter.

    params: integers (N, d, 3) within int32, (a, b, d) of every coordinate in units of 1/64 nat. lowest, highest: the
    range of every coordinate's entries. shift: entries are divided by 2^shift in the scores. tokens: int8 (N, d), or
    None for a decoder. Returns the tokens written or read, int8 (N, d). Raises TypeError or ValueError for bad
    arguments, CorruptError where a decoder's data hold no such tokens.
    """
    dim = len(lowest)
    params = integer_params(params, (dim, 3))
    coder.check_given(tokens)
    coded = np.zeros((len(params), dim), dtype=np.int8) if tokens is None else _int8_rows(tokens, len(params), dim)
    if tokens is not None and ((coded < np.array(lowest)) | (coded > np.array(highest))).any():
        raise ValueError("a token's entry is out of range")
    for start in range(0, len(params), GROUP):
        rows = slice(start, start + GROUP)
        numbers = np.arange(start, start + len(coded[rows]))
        for i in range(dim):
            values = np.arange(lowest[i], highest[i] + 1, dtype=np.int64)
            scores = scaled_scores(params[rows, i, :], values, shift)
            masses, _ = score_masses(scores.astype(np.float64), 1)
            pmf = integer_pmf(masses, FIRST_SYMBOL_CAP if i == 0 else TOTAL)
            symbols = coder.code(pmf, coded[rows, i].astype(np.int64) - lowest[i], numbers)
            coded[rows, i] = symbols + lowest[i]
    return coded


def code_table_tokens(
    coder: TokenCoder,
    params: np.ndarray,
    table: np.ndarray,
    shift: int,
    tokens: np.ndarray | None = None,
) -> np.ndarray:
    """Code tokens made of one or more codewords of a table; the counterpart of :func:`code_grid_tokens`.

    params: integers (N, factors · d, 3) within int32. table: int8 (K, d). tokens: integers (N, factors), rows of the
    table, or None for a decoder. Returns them, int64. Raises as its counterpart, and ConfigError for a table
    whose scores would not be exact.
    """
    size, dim = table.shape
    params = np.asarray(params)
    factors = params.shape[1] // dim if params.ndim == 3 else 0
    params = integer_params(params, (factors * dim, 3))
    coder.check_given(tokens)
    check_exact_scores(table, shift)
    indices = np.zeros((len(params), factors), dtype=np.int64)
    if tokens is not None:
        indices[:] = token_rows(tokens, len(params), factors)
        if indices.size and (indices.min() < 0 or indices.max() >= size):
            raise ValueError("a token is not in the codebook")
    width = symbol_width(size)
    features = table_features(table, shift)
    for start in range(0, len(params), GROUP):
        rows = slice(start, start + GROUP)
        group = indices[rows]
        numbers = np.arange(start, start + len(group))
        for factor in range(factors):
            part = params[rows, factor * dim : (factor + 1) * dim].reshape(len(group), -1)
            scores = part.astype(np.float64) @ features
            scores += 4.0**shift
            scores *= 2.0 ** -(2 * shift + 1)
            masses, sums = score_masses(np.floor(scores, out=scores), width)
            pmf = integer_pmf(sums, FIRST_SYMBOL_CAP if factor == 0 else TOTAL)
            first = coder.code(pmf, group[:, factor] // width, numbers)
            inner = masses.reshape(len(group), -1, width)[np.arange(len(group)), first]
            group[:, factor] = first * width + coder.code(integer_pmf(inner), group[:, factor] % width, numbers)
    return indices


def scaled_scores(params: np.ndarray, values: np.ndarray, shift: int) -> np.ndarray:
    """f(v) = a·x + b·|x| + d·x²/2, x = v / 2^shift, rounded: int64 (N, 3), int64 (L,) -> int64 (N, L), 1/64 nat."""
    a, b, d = (params[:, k, None] for k in range(3))
    terms = (a * values + b * np.abs(values)) * (2 << shift) + d * values**2
    return (terms + (1 << 2 * shift)) >> (2 * shift + 1)


def table_features(table: np.ndarray, shift: int) -> np.ndarray:
    """What multiplies (a, b, d) of every coordinate in the scores of the rows, times 2^(2·shift + 1): float64 (3·d, K),
    integers."""
    v = table.astype(np.float64)
    features = np.stack([v * 2.0 ** (shift + 1), np.abs(v) * 2.0 ** (shift + 1), v**2], axis=-1)
    return np.ascontiguousarray(features.reshape(len(table), -1).T)


def check_exact_scores(table: np.ndarray, shift: int) -> None:
    """Raises ConfigError where partial sums of the scores of any int32 parameters could reach 2^53."""
    bound = 2**31 * int(np.abs(table_features(table, shift)).sum(axis=0).max(initial=0)) + 4**shift
    if bound >= EXACT_LIMIT:
        raise ConfigError(
            f"a codebook of dimension {table.shape[1]} with entries as large as these is too large to code"
        )


def symbol_width(size: int) -> int:
    """Alphabet of a codeword's second symbol: the largest divisor of the table's size up to its square root."""
    return next(width for width in range(int(size**0.5), 0, -1) if size % width == 0)


def score_masses(scores: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Masses relative to the best, and their sums over runs of `width`, from left to right.

    scores: float64 (N, K), integers; the masses take their place. Returns float64 (N, K) and (N, K / width).
    """
    sums = np.empty((len(scores), scores.shape[1] // width))
    _score_masses(scores, scores.max(axis=1), exponentials(), sums)
    return scores, sums


@entry
def _score_masses(scores: np.ndarray, best: np.ndarray, table: np.ndarray, sums: np.ndarray) -> None:
    width = scores.shape[1] // sums.shape[1]
    for row in range(len(scores)):
        for run in range(sums.shape[1]):
            total = 0.0
            for k in range(run * width, (run + 1) * width):
                below = max(scores[row, k] - best[row], -float(SCORE_LIMIT))
                scores[row, k] = table[np.int64(below) + SCORE_LIMIT]
                total += scores[row, k]
            sums[row, run] = total


def _int8_rows(tokens: np.ndarray, count: int, dim: int) -> np.ndarray:
    tokens = token_rows(tokens, count, dim)
    if tokens.size and (tokens.min() < -128 or tokens.max() > 127):
        raise ValueError("tokens beyond the range of int8")
    return tokens.astype(np.int8)
