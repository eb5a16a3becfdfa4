"""The plain reference: every computation over the codebook by visiting all 196,560 codewords, in float64.

Slow and obvious; kernels.py and torch_kernels.py are tested against it. Shapes and units are theirs; nothing is
checked. Where codewords tie, the one of the lowest index is returned.
"""

from collections.abc import Iterator

import numpy as np

from leechcodec.lattice.leech import codebook

BLOCK = 64
"""Tokens at a time: 64 x 196,560 float64 scores are 100 MB."""


def nearest(z: np.ndarray) -> np.ndarray:
    """Nearest codewords of directions: float (N, 24) -> int8 (N, 24)."""
    book = codebook().T.astype(np.float64)
    indices = [(block @ book).argmax(axis=1) for block in _blocks(z)]
    return codebook()[np.concatenate(indices)]


def best(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best codewords under separable scores, and these scores: (N, 24, 9) -> int8 (N, 24), float64 (N,)."""
    totals = [(total.argmax(axis=1), total.max(axis=1)) for total in map(all_scores, _blocks(scores))]
    indices, values = (np.concatenate(parts) for parts in zip(*totals))
    return codebook()[indices], values


def log_partition(scores: np.ndarray) -> np.ndarray:
    """Log of the sum over all codewords of the exponential of their score: (N, 24, 9) -> float64 (N,), in nats."""
    return np.concatenate([_logsumexp(total)[0] for total in map(all_scores, _blocks(scores))])


def log_partition_and_marginals(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`log_partition`, and the probability that coordinate i of a codeword is v: float64 (N, 24, 9)."""
    values, marginals = [], []
    for total in map(all_scores, _blocks(scores)):
        value, probability = _logsumexp(total)
        values.append(value)
        marginals.append(np.stack([probability @ (codebook() == v).astype(np.float64) for v in range(-4, 5)], axis=2))
    return np.concatenate(values), np.concatenate(marginals)


def all_scores(scores: np.ndarray) -> np.ndarray:
    """sum_i scores[i, c_i + 4] of every codeword c: float (N, 24, 9) -> float64 (N, 196560)."""
    total = np.zeros((len(scores), len(codebook())))
    for i, column in enumerate(codebook().T):
        total += scores[:, i].astype(np.float64)[:, column + 4]
    return total


def _logsumexp(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-sum-exp over the last axis, and the softmax."""
    largest = total.max(axis=1, keepdims=True)
    weights = np.exp(total - largest)
    sums = weights.sum(axis=1, keepdims=True)
    return (largest + np.log(sums))[:, 0], weights / sums


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """At least one block, so that N = 0 gives empty results."""
    for start in range(0, max(len(array), 1), BLOCK):
        yield array[start : start + BLOCK].astype(np.float64)
