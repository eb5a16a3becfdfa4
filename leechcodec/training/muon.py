"""Muon with same-shaped matrices orthonormalised together, in bf16 where the machine has units for it.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024 (momentum, Nesterov, five
Newton-Schulz steps); the update's size as in Liu et al., arXiv 2502.16982 (0.2 · sqrt(max(rows, columns))), so that
learning rate and weight decay mean what they mean for AdamW. torch.optim.Muon takes one matrix at a time and no
convolutions; batching same-shaped matrices is what makes it affordable on a CPU.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from leechcodec.training.processes import Processes

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthonormalize(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly (singular values within 0.7..1.2): dtype (N, rows, columns)."""
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    transposed = x.shape[-2] > x.shape[-1]
    if transposed:
        x = x.mT.contiguous()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    other = torch.empty_like(x)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)  # a · x within the product: x need not be copied for it
        x, other = torch.bmm(polynomial, x, out=other), x
    return x.mT if transposed else x


class Muon(Optimizer):
    """Muon for tensors of two and more dimensions; convolutions are flattened to (out, in · k · k)."""

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        dtype: torch.dtype = torch.bfloat16,
        processes: Processes | None = None,
    ) -> None:
        """processes: that have the same gradients and share the work; None: this one alone."""
        self.processes = processes or Processes()
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, steps=steps, dtype=dtype))

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for items in by_shape(group["params"]).values():
                momenta, grads = [self._momentum(p, grad) for p, grad in items], [grad for _, grad in items]
                torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
                directions = self.processes.shared(list(zip(grads, momenta)), partial(_directions, group))
                move([p for p, _ in items], directions, group)

    def _momentum(self, p: nn.Parameter, grad: Tensor) -> Tensor:
        if not self.state[p]:
            self.state[p]["momentum"] = torch.zeros_like(grad)
        return self.state[p]["momentum"]


def _directions(group: dict, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Of gradients and momenta of one shape, (rows, columns) each: dtype (N, rows, columns)."""
    grads, momenta = zip(*pairs, strict=True)
    updates = torch._foreach_lerp(grads, momenta, group["momentum"])  # Nesterov's
    matrices = updates[0].new_empty(len(updates), *updates[0].shape, dtype=group["dtype"])
    return orthonormalize(torch.stack(updates, out=matrices), group["steps"], group["dtype"])


def by_shape(params: Iterable[nn.Parameter]) -> dict[torch.Size, list[tuple[nn.Parameter, Tensor]]]:
    """Parameters that have a gradient, each with it as a matrix, grouped by the matrix's shape."""
    shapes = defaultdict(list)
    for p in params:
        if p.grad is not None:
            matrix = p.grad.reshape(p.shape[0], -1)
            shapes[matrix.shape].append((p, matrix))
    return shapes


def move(params: list[nn.Parameter], directions: Tensor, group: dict) -> None:
    """Weight decay, then a step against directions (N, rows, columns) whose singular values are about 1."""
    steps = directions.to(params[0].dtype, copy=True).mul_(group["lr"] * (0.2 * max(directions.shape[1:]) ** 0.5))
    tensors: list[Tensor] = [*params]
    torch._foreach_mul_(tensors, 1 - group["lr"] * group["weight_decay"])
    torch._foreach_sub_(tensors, [step.reshape(p.shape) for p, step in zip(params, steps)])
