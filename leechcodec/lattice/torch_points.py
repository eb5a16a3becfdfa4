"""The normaliser over all of the Leech lattice for training: torch tensors in and out, differentiable by the tables."""

import numpy as np
import torch
from torch import Tensor

from leechcodec.lattice import marginals, partition


def log_partition(scores: Tensor, index: Tensor) -> Tensor:
    """:func:`partition.log_partition` of tensors, computed on the CPU in float64, differentiable once by the scores.

    scores: float (S, W); index: integers (N, 24). Returns (N,) in the dtype and on the device of scores. A network that
    has a table for every coordinate gives S = 24·N tables and index = arange(S).reshape(N, 24).
    """
    return _LogPartition.apply(scores, index)


class _LogPartition(torch.autograd.Function):
    """The marginals are computed on the way forward, so that nothing else is kept for the way back."""

    @staticmethod
    def forward(ctx, scores: Tensor, index: Tensor) -> Tensor:
        tables, numbers = _array(scores), index.detach().cpu().numpy()
        if ctx.needs_input_grad[0]:
            values, shares = marginals.log_partition_and_marginals(tables, numbers)
            ctx.save_for_backward(scores, index, torch.from_numpy(shares))
        else:
            values = partition.log_partition(tables, numbers)
        return torch.from_numpy(values).to(scores)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        scores, index, shares = ctx.saved_tensors
        weighted = shares.numpy() * _array(grad)[:, None, None]
        gradient = marginals.table_gradient(_array(scores), index.cpu().numpy(), weighted)
        return torch.from_numpy(gradient).to(scores), None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
