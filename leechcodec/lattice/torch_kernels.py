"""The codebook's computations on tensors: the numba kernels on the CPU, plain torch elsewhere.

On an accelerator the nearest codeword is a matrix product with the codebook in blocks, and the log-sum-exp is
Turyn's structure written in torch operations (:func:`log_partition_torch`), differentiated by autograd.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from leechcodec.lattice import kernels
from leechcodec.lattice.leech import codebook

GPU_BLOCK = 2048
"""Directions at a time against the codebook: 2,048 x 196,560 float32 scores are 1.6 GB."""


def nearest(z: Tensor) -> Tensor:
    """Nearest codewords: float32 (N, 24), finite and non-zero rows -> int8 (N, 24) on the same device.

    On the CPU raises ValueError for a zero or non-finite row; elsewhere the caller sees to it (a check would stall
    the device).
    """
    if z.device.type == "cpu":
        parts = _split(z.detach().numpy(), kernels.LANES)
        return torch.from_numpy(np.concatenate(_map(kernels.nearest, parts)))
    book = _codebook_on(z.device)
    rows = [(block @ book.T).argmax(1) for block in z.detach().float().split(GPU_BLOCK)]
    return _codes_on(z.device)[torch.cat(rows)]


def best(scores: Tensor) -> Tensor:
    """Best codewords under separable scores, on the CPU: float32 (N, 24, 9) -> int8 (N, 24)."""
    parts = _split(scores.detach().float().numpy(), kernels.LANES)
    return torch.from_numpy(np.concatenate([codes for codes, _ in _map(kernels.best, parts)]))


def log_partition(scores: Tensor) -> Tensor:
    """log sum exp over the codebook in nats, differentiable once: (N, 24, 9) within ±25 -> (N,)."""
    if scores.device.type == "cpu":
        return _LogPartition.apply(scores)
    return log_partition_torch(scores)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores: Tensor) -> Tensor:
        array = scores.detach().numpy()
        if not ctx.needs_input_grad[0]:
            values = np.concatenate(_map(kernels.log_partition, _split(array, kernels.SUM_LANES)))
            return torch.from_numpy(values).to(scores.dtype)
        results = _map(kernels.log_partition_and_marginals, _split(array, kernels.SUM_LANES))
        ctx.save_for_backward(torch.from_numpy(np.concatenate([marginals for _, marginals in results])))
        return torch.from_numpy(np.concatenate([values for values, _ in results])).to(scores.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (marginals,) = ctx.saved_tensors
        return marginals.to(grad.dtype) * grad[:, None, None]


def log_partition_torch(scores: Tensor) -> Tensor:
    """:func:`log_partition` in torch operations, for devices without numba; differentiated by autograd.

    Sums of positive terms only, in float32 or float64 as given, with the largest score of every coordinate's
    classes taken out of the products block by block, so that ±25 nats stay in range in float64.
    """
    scores = scores.double()
    base = scores[..., 4]
    e = (scores - base[..., None]).exp()
    structure = _structure_on(scores.device)
    ones = (e[..., 5], e[..., 3])
    flips = (e[..., 1], e[..., 7])
    plain = [_products(ones, block, structure["bits"]) for block in range(3)]
    ratio = [
        _sums(tuple(f / o for f, o in zip(flips, ones)), block, structure["bits"]) for block in range(3)
    ]  # flipped = plain · ratio
    p = [table[:, structure["words"]] for table in plain]  # (N, 16, 16): x, then a, b or c
    f = [(table * r)[:, structure["words"]] for table, r in zip(plain, ratio)]
    # c = a ^ b: gather block 3 along b for every a, then sum over b and a.
    xor = structure["xor"]
    p2, f2 = p[2][:, :, xor], f[2][:, :, xor]  # (N, 16, 16, 16)
    inner_p = (p[1][:, :, None] * p2).sum(-1)
    inner_f = (f[1][:, :, None] * p2 + p[1][:, :, None] * f2).sum(-1)
    class3 = (f[0] * inner_p + p[0] * inner_f).sum((1, 2))

    supports = structure["supports"]
    up, down = e[..., 6][:, supports], e[..., 2][:, supports]  # (N, 759, 8)
    even, odd = torch.ones_like(up[..., 0]), torch.zeros_like(up[..., 0])
    for k in range(8):
        even, odd = even * up[..., k] + odd * down[..., k], odd * up[..., k] + even * down[..., k]
    class2 = even.sum(1)

    t = e[..., 8] + e[..., 0]
    before = torch.cumsum(t, 1) - t
    class1 = (t * before).sum(1)
    return (base.sum(1) + (class1 + class2 + class3).log()).float()


def _products(pair: tuple[Tensor, Tensor], block: int, bits: Tensor) -> Tensor:
    """Product over a block's coordinates of pair[bit], for all 128 bytes: (N, 128)."""
    low, high = (value[:, 8 * block : 8 * block + 8] for value in pair)
    out = torch.ones(len(low), len(bits), dtype=low.dtype, device=low.device)
    for t in range(8):
        out = out * torch.where(bits[:, t], high[:, t, None], low[:, t, None])
    return out


def _sums(pair: tuple[Tensor, Tensor], block: int, bits: Tensor) -> Tensor:
    low, high = (value[:, 8 * block : 8 * block + 8] for value in pair)
    weights = bits.to(low.dtype)
    return low @ (1 - weights).T + high @ weights.T


@cache
def _structure_on(device: torch.device) -> dict[str, Tensor]:
    even, words, _, supports = kernels._bytes()
    numbers = torch.arange(16)
    return {
        "bits": ((torch.from_numpy(even.copy())[:, None] >> torch.arange(8)) & 1).bool().to(device),
        "words": torch.from_numpy(words.astype(np.int64)).to(device),
        "xor": (numbers[:, None] ^ numbers).to(device),
        "supports": torch.from_numpy(supports.astype(np.int64)).to(device),
    }


@cache
def _codebook_on(device: torch.device) -> Tensor:
    return torch.from_numpy(codebook().copy()).to(device).float()


@cache
def _codes_on(device: torch.device) -> Tensor:
    return torch.from_numpy(codebook().copy()).to(device)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())


def _split(array: np.ndarray, lanes: int) -> list[np.ndarray]:
    """One part a torch thread, each a whole number of lane blocks."""
    blocks = -(-len(array) // lanes)
    parts = max(1, min(torch.get_num_threads(), blocks))
    step = max(1, -(-blocks // parts)) * lanes
    return [array[n : n + step] for n in range(0, len(array), step)] or [array]


def _map(function, parts: list[np.ndarray]) -> list:
    return list(_pool().map(function, parts)) if len(parts) > 1 else [function(parts[0])]
