"""The plain reference: every computation over the codebook by visiting all 196,560 codewords, in float64.

Slow and obvious; what kernels.py and torch_kernels.py are tested and timed against.
"""

import numpy as np
import torch

from leechcodec.lattice.leech import codebook

BLOCK = 16
"""Tokens at a time: 16 x 196,560 float64 scores are 25 MB."""


def all_scores(scores: np.ndarray) -> np.ndarray:
    """sum_i scores[i, c_i + 4] for every codeword c: float (N, 24, 9) -> float64 (N, 196560)."""
    table = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float64))
    codes = torch.from_numpy(codebook().astype(np.int64)) + 4
    out = torch.zeros(len(table), len(codes), dtype=torch.float64)
    for i in range(codes.shape[1]):
        out += table[:, i, codes[:, i]]
    return out.numpy()


def nearest(z: np.ndarray) -> np.ndarray:
    """Nearest codewords: float (N, 24) -> int8 (N, 24). The first of those that tie."""
    book = codebook().astype(np.float64)
    rows = [(z[n : n + BLOCK].astype(np.float64) @ book.T).argmax(1) for n in range(0, len(z), BLOCK)]
    return codebook()[np.concatenate(rows)] if rows else np.zeros((0, 24), dtype=np.int8)


def best(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best codewords under separable scores and their scores: (N, 24, 9) -> int8 (N, 24), float64 (N,)."""
    codes, values = [], []
    for n in range(0, len(scores), BLOCK):
        block = all_scores(scores[n : n + BLOCK])
        codes.append(codebook()[block.argmax(1)])
        values.append(block.max(1))
    return np.concatenate(codes), np.concatenate(values)


def log_partition_and_marginals(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log sum exp over the codebook and its gradient: (N, 24, 9) -> float64 (N,), float64 (N, 24, 9)."""
    values, marginals = [], []
    codes = codebook()
    for n in range(0, len(scores), BLOCK):
        block = all_scores(scores[n : n + BLOCK])
        top = block.max(1, keepdims=True)
        weights = np.exp(block - top)
        total = weights.sum(1, keepdims=True)
        values.append((top + np.log(total))[:, 0])
        p = weights / total
        marginals.append(np.stack([p @ (codes == v).astype(np.float64) for v in range(-4, 5)], axis=-1))
    return np.concatenate(values), np.concatenate(marginals)
