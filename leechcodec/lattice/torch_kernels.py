"""The codebook's computations on tensors: the numba kernels on the CPU, torch operations on other devices.

Off the CPU the nearest codeword and the log-sum-exp are kernels.py's structure in torch operations
(:func:`nearest_torch`, :func:`log_partition_torch`), or CUDA kernels where those can be had (cuda_kernels.py), and the
second nearest is a matrix product with the codebook. All work through bounded chunks, and none waits for the device.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor

from leechcodec.concurrency import Lock
from leechcodec.lattice import cuda_kernels, kernels
from leechcodec.lattice.golay import LENGTH, octad_supports
from leechcodec.lattice.leech import codebook
from leechcodec.threads import in_parts

SEARCH_CHUNK = 16384
"""Directions at a time in the search off the CPU: 16,384 x 759 octads of 8 float32 are 0.4 GB."""
BOOK_CHUNK = 1024
"""Directions at a time against the whole codebook: 1,024 x 196,560 float32 scores are 0.8 GB."""
SUM_CHUNK = 4096
"""Tokens at a time in the log-sum-exp off the CPU: about 0.5 GB with what autograd keeps."""
_PRECISION = Lock(threading.RLock)
"""Held while float32 products are exact: torch knows one precision for all threads."""


def nearest(z: Tensor) -> Tensor:
    """Nearest codewords: float (N, 24), rows finite and not zero -> int8 (N, 24) in integer form, on z's device.

    Searched in float32, on several threads of the CPU if torch has them. Where codewords tie within rounding, devices
    may differ. On the CPU raises ValueError for a zero or non-finite row; elsewhere the caller sees to it, because a
    check would stall the device.
    """
    z = z.detach().float()
    if z.device.type == "cpu":
        return torch.from_numpy(np.concatenate(_on_threads(kernels.nearest, z.numpy())))
    return cuda_kernels.nearest(z) if cuda_kernels.available(z.device) else nearest_torch(z)


def nearest_torch(z: Tensor) -> Tensor:
    """:func:`nearest` in torch operations for any device: float32 (N, 24) -> int8 (N, 24). Nothing is checked."""
    with _full_float32(z.device.type):
        return torch.cat([_nearest_chunk(chunk) for chunk in z.split(SEARCH_CHUNK)])


def runner_up(z: Tensor, codes: Tensor) -> Tensor:
    """Nearest codewords other than given ones: float (N, 24), finite, int8 (N, 24) -> int8 (N, 24), on z's device."""
    z = z.detach().float()
    if z.device.type == "cpu":
        return best_but(z[:, :, None] * torch.arange(-4, 5, dtype=torch.float32), codes)
    return runner_up_torch(z, codes)


def runner_up_torch(z: Tensor, codes: Tensor) -> Tensor:
    """:func:`runner_up` by visiting the codebook, in torch operations for any device."""
    words = _codebook_on(z.device)
    book = words.float().T
    found = []
    with _full_float32(z.device.type):
        for part, own in zip(z.split(BOOK_CHUNK), codes.split(BOOK_CHUNK)):
            scores = part @ book
            first = scores.argmax(1, keepdim=True)
            second = words[scores.scatter_(1, first, -torch.inf).argmax(1)]
            first = words[first[:, 0]]
            found.append(torch.where((first == own).all(1, keepdim=True), second, first))
    return torch.cat(found)


def best(scores: Tensor) -> Tensor:
    """Best codewords under separable scores, computed on the CPU: (N, 24, 9) -> int8 (N, 24), on scores' device.

    Raises ValueError for another shape or a score that is not finite.
    """
    results = _on_threads(kernels.best, scores.detach().float().cpu().numpy())
    return torch.from_numpy(np.concatenate([codes for codes, _ in results])).to(scores.device)


def best_but(scores: Tensor, codes: Tensor) -> Tensor:
    """Best codewords other than given ones: (N, 24, 9), int8 (N, 24) -> int8 (N, 24), on scores' device.

    Exact, by 24 searches: another codeword differs in some coordinate, so it is the best of those that differ in
    coordinate i, for one of the i. scores: finite.
    """
    scores = scores.detach().float()
    # What no codeword can make up for, and no more: a larger number would cost the float32 sums their digits.
    forbidden = -(1 + 2 * scores.abs().amax(2).sum(1))
    winners, top = codes.clone(), torch.full((len(scores),), -torch.inf, device=scores.device)
    rows, columns = torch.arange(len(scores), device=scores.device), codes.long() + 4
    for i in range(codes.shape[1]):
        allowed = scores.clone()
        allowed[rows, i, columns[:, i]] = forbidden
        found = best(allowed)
        values = allowed.gather(2, found[:, :, None].long() + 4).sum((1, 2))
        winners = torch.where((values > top)[:, None], found, winners)
        top = torch.maximum(top, values)
    return winners


def log_partition(scores: Tensor) -> Tensor:
    """log of the sum over all codewords of exp(sum_i scores[i, c_i + 4]), in nats; differentiable once.

    scores: float (..., 24, 9), clamped to ±25 nats by the caller. Returns (...) in the same dtype. Computed in float64,
    which the device must have. On the CPU raises ValueError where the sum is not finite.
    """
    return _LogPartition.apply(scores)


class _LogPartition(torch.autograd.Function):
    """The marginals are computed on the way forward, so that nothing else is kept for the way back."""

    @staticmethod
    def forward(ctx, scores: Tensor) -> Tensor:
        flat = scores.detach().reshape(-1, *scores.shape[-2:])
        values, marginals = _evaluate(flat, ctx.needs_input_grad[0])
        if marginals is not None:
            ctx.save_for_backward(marginals.to(scores.dtype).reshape(scores.shape))
        return values.to(scores.dtype).reshape(scores.shape[:-2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (marginals,) = ctx.saved_tensors
        return marginals * grad[..., None, None]


def _evaluate(scores: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    if scores.device.type == "cpu":
        return _evaluate_on_cpu(scores, wanted)
    if scores.dtype == torch.float32 and cuda_kernels.available(scores.device):
        return cuda_kernels.log_partition_and_marginals(scores, wanted)
    return _evaluate_in_torch(scores, wanted)


def _evaluate_on_cpu(scores: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    array = (scores if scores.dtype == torch.float64 else scores.float()).numpy()
    if not wanted:
        parts = _on_threads(kernels.log_partition, array)
        return torch.from_numpy(np.concatenate(parts)), None
    values, marginals = zip(*_on_threads(kernels.log_partition_and_marginals, array))
    return torch.from_numpy(np.concatenate(values)), torch.from_numpy(np.concatenate(marginals))


def _evaluate_in_torch(scores: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    values, marginals = [], []
    for chunk in scores.split(SUM_CHUNK):
        with torch.set_grad_enabled(wanted):
            chunk = chunk.detach().requires_grad_(wanted)
            value = log_partition_torch(chunk)
        values.append(value.detach())
        if wanted:
            marginals.append(torch.autograd.grad(value.sum(), chunk)[0])
    return torch.cat(values), torch.cat(marginals) if wanted else None


def log_partition_torch(scores: Tensor) -> Tensor:
    """:func:`log_partition` in torch operations for any device, one chunk, differentiated by autograd.

    float (N, 24, 9) -> the same dtype (N,). The structure is that of kernels.py: sums of positive terms in float64.
    """
    f = scores.double()
    structure = _structure_on(scores.device)
    zero = f[..., 4].sum(-1)
    relative = f - f[..., 4:5]
    t = relative[..., 8].exp() + relative[..., 0].exp()
    sum1 = (t * (t.cumsum(-1) - t)).sum(-1)
    sum2 = _sum_class_2(relative.reshape(-1, 3, 8, 9), structure)
    sum3 = _sum_class_3(f.reshape(-1, 3, 8, 9), structure)
    return torch.logaddexp(zero + (sum1 + sum2).log(), sum3.log()).to(scores.dtype)


def _sum_class_3(f: Tensor, structure: dict[str, Tensor]) -> Tensor:
    """f: float64 (N, 3, 8, 9). Dual numbers (P, F): P from its logarithm, F = P · (sum of the flips' ratios)."""
    bits = structure["bits"].double()  # (8, 128)
    p = (f[..., 5] @ (1 - bits) + f[..., 3] @ bits).exp()
    ratios = (f[..., 1] - f[..., 5]).exp() @ (1 - bits) + (f[..., 7] - f[..., 3]).exp() @ bits
    x, y, z = _classes(p).unbind(1)
    dx, dy, dz = _classes(p * ratios).unbind(1)
    xor = structure["xor"]
    y, dy = y[..., xor], dy[..., xor]  # (N, 8, c, a): block 2's class a ^ c
    plain = (x[:, :, None] * y).sum(-1)
    flipped = (dx[:, :, None] * y + x[:, :, None] * dy).sum(-1)
    return (flipped * z + plain * dz).sum((1, 2))


def _sum_class_2(f: Tensor, structure: dict[str, Tensor]) -> Tensor:
    """f: float64 (N, 3, 8, 9), relative to f(0). Parities (E, O) of every byte, then terms (2, 2, 4), (4, 4), (8)."""
    bits, xor = structure["bits"], structure["xor"]
    plus, minus = f[..., 6].exp(), f[..., 2].exp()
    even = torch.ones(*f.shape[:2], bits.shape[1], dtype=f.dtype, device=f.device)
    odd = torch.zeros_like(even)
    for t in range(8):
        one = bits[t].bool()
        u, v = plus[..., t, None], minus[..., t, None]
        even, odd = torch.where(one, even * u + odd * v, even), torch.where(one, odd * u + even * v, odd)
    pair = torch.stack([even, odd])  # (2, N, 3, 128)
    two, four, eight = (_classes(pair * structure[name]) for name in ("weight_2", "weight_4", "weight_8"))
    total = eight[0].sum((1, 2, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        (e, o), (other_e, other_o) = two[:, :, j], two[:, :, k][..., xor]
        both_e = (e[:, :, None] * other_e + o[:, :, None] * other_o).sum(-1)
        both_o = (e[:, :, None] * other_o + o[:, :, None] * other_e).sum(-1)
        total = total + (both_e * four[0, :, i] + both_o * four[1, :, i]).sum((1, 2))
        total = total + (four[:, :, j, 0] * four[:, :, k, 0]).sum((0, 2))
    return total


def _nearest_chunk(z: Tensor) -> Tensor:
    """The best of each class, and the best of the three: float32 (N, 24) -> int8 (N, 24)."""
    z = z / z.abs().amax(1, keepdim=True)  # no score leaves float32
    code1, top1 = _best_pair(z)
    code2, top2 = _best_octad(z)
    code3, top3 = _best_word(z)
    code = torch.where((top1 > top2)[:, None], code1, code2)
    return torch.where((top3 > torch.maximum(top1, top2))[:, None], code3, code).to(torch.int8)


def _best_pair(z: Tensor) -> tuple[Tensor, Tensor]:
    """Class 1: ±4 where |z| is largest and second largest."""
    top, where = z.abs().topk(2, dim=1)
    signs = torch.where(z < 0, -4.0, 4.0).to(z.dtype)
    return torch.zeros_like(z).scatter(1, where, signs.gather(1, where)), 4 * top.sum(1)


def _best_octad(z: Tensor) -> tuple[Tensor, Tensor]:
    """Class 2: ±2 on an octad, z's signs; where their product is -1, the cheapest of them changed."""
    structure = _structure_on(z.device)
    size, supports = z.abs(), structure["supports"]
    odd = (z < 0).float() @ structure["octads"] % 2
    top, octad = (size @ structure["octads"] - 2 * odd * size[:, supports].amin(2)).max(1)
    support = supports[octad]
    signs = torch.where(z.gather(1, support) < 0, -1.0, 1.0).to(z.dtype)
    cheapest = size.gather(1, support).argmin(1, keepdim=True)
    changed = 1 - 2 * odd.gather(1, octad[:, None])
    signs = signs.scatter(1, cheapest, signs.gather(1, cheapest) * changed)
    return torch.zeros_like(z).scatter(1, support, 2 * signs), 2 * top


def _best_word(z: Tensor) -> tuple[Tensor, Tensor]:
    """Class 3: signs of a Golay word, one entry times -3. Dual numbers in (max, +), then the way back from the best."""
    structure = _structure_on(z.device)
    signs, xor = structure["signs"], structure["xor"]  # (128, 8) of classes {byte, complement}; (8, 8)
    blocks = z.unflatten(1, (3, 8))
    plain = blocks @ signs.T  # (N, 3, 128)
    flipped = plain - 4 * (blocks[:, :, None] * signs).amin(3)
    pairs = torch.stack([plain, flipped], 1).unflatten(3, (8, 8, 2))  # (N, P or F, block, y, q, byte or complement)
    p, f = pairs.amax(5).unbind(1)
    p0, f0 = (table[:, 0, :, None] for table in (p, f))  # (N, y, 1, a)
    p1, f1 = (table[:, 1][..., xor] for table in (p, f))  # (N, y, c, a): of the second block's class a ^ c
    p2, f2 = (table[:, 2, :, :, None] for table in (p, f))  # (N, y, c, 1)
    terms = torch.stack([f0 + p1 + p2, p0 + f1 + p2, p0 + p1 + f2], 1)  # (N, flipped block, y, c, a)
    top, winner = terms.flatten(1).max(1)
    block, rest = winner // 512, winner % 512
    row, c, a = rest // 64, rest // 8 % 8, rest % 8
    classes = 8 * row[:, None] + torch.stack([a, a ^ c, c], 1)  # (N, 3)
    is_flipped = torch.arange(3, device=z.device) == block[:, None]
    rows = torch.arange(len(z), device=z.device)[:, None]
    sides = pairs.flatten(3, 4)[rows, is_flipped.long(), torch.arange(3, device=z.device), classes].argmax(2)
    code = signs[2 * classes + sides].flatten(1)  # (N, 24)
    gain = torch.where(is_flipped.repeat_interleave(8, 1), -z * code, -torch.inf)
    return code.scatter(1, gain.argmax(1, keepdim=True), -3.0, reduce="multiply"), top


def _classes(table: Tensor) -> Tensor:
    """(..., 128) over bytes -> (..., 8, 8) over classes 8·y + q: byte plus complement."""
    return table.unflatten(-1, (8, 8, 2)).sum(-1)


@cache
@torch.inference_mode(False)  # kept, and used where gradients are wanted
def _structure_on(device: torch.device) -> dict[str, Tensor]:
    byte = kernels.turyn().byte
    both = torch.from_numpy(np.stack([byte, byte ^ 255], axis=1).reshape(128).astype(np.int64))
    bits = both >> torch.arange(8)[:, None] & 1
    weight, numbers = bits.sum(0), torch.arange(8)
    structure = {"bits": bits.float(), "xor": numbers[:, None] ^ numbers}
    structure |= {"signs": 1 - 2 * bits.T.float(), "supports": torch.from_numpy(octad_supports().astype(np.int64))}
    none = torch.zeros(LENGTH, len(structure["supports"]), dtype=torch.float32)
    structure["octads"] = none.scatter(0, structure["supports"].T, 1.0)
    structure |= {f"weight_{w}": (weight == w).float() for w in (2, 4, 8)}
    return {name: tensor.to(device) for name, tensor in structure.items()}


@cache
@torch.inference_mode(False)
def _codebook_on(device: torch.device) -> Tensor:
    return torch.from_numpy(codebook().copy()).to(device)


@contextmanager
def _full_float32(device_type: str) -> Iterator[None]:
    """No TF32 and no autocast: rounded scores would pick a codeword further away."""
    with _PRECISION.held():
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.autocast(device_type, enabled=False):
                yield
        finally:
            torch.set_float32_matmul_precision(precision)


def _on_threads(function: Callable, array: np.ndarray) -> list:
    """function of parts of array, one for each thread, in order; a part is whole blocks of lanes."""
    return in_parts(lambda part: function(array[part]), len(array), kernels.LANES)
