"""Tokens of independent signs, those of BSQ and LFQ. docs/ENTROPY.md §6 is the specification."""

import numpy as np

from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, SCORE_LIMIT, exponentials, integer_params, integer_pmf, token_rows
from leechcodec.entropy.token_coder import GROUP, TokenCoder


def code_sign_tokens(coder: TokenCoder, params: np.ndarray, tokens: np.ndarray | None = None) -> np.ndarray:
    """Code tokens of BSQ, d independent signs each; the counterpart of :func:`code_leech_tokens`.

    params: integers (N, d) within int32, log-odds of +1 in units of 1/64 nat, clamped to ±25 nats. tokens: int8
    (N, d) of ±1, or None for a decoder. Returns the signs written or read, int8 (N, d). Raises as its counterpart.
    """
    params = np.asarray(params)
    if params.ndim != 2 or params.shape[1] < 1:
        raise ValueError(f"expected params of shape (N, d), got {params.shape}")
    params = integer_params(params, params.shape[1:])
    coder.check_given(tokens)
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
