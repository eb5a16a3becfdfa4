"""Dion: orthonormalised updates by one step of power iteration, with error feedback, of any rank.

B = M + G ─▶ P = orth(B Q) ─▶ R = Bᵀ P ─┬─▶ M ← B - (1 - μ) P Rᵀ          what was not used stays
                                        └─▶ Q ← R, columns normalised ─▶ W ← W - lr · size · P Qᵀ

Ahn et al., "Dion: Distributed Orthonormalized Updates", arXiv 2504.05295, algorithm 1. Where Muon iterates on the whole
matrix at every step, Dion carries the right factor Q from step to step, and the buffer changes little in between: one
iteration a step is enough. P Qᵀ has the squared norm r, the rank. At full rank P Rᵀ = B, so the buffer is ordinary
momentum, M ← μ B, and the cosine between P Qᵀ and B's polar factor (Muon's direction) is at least 2√κ / (κ + 1), κ the
ratio of B's extreme singular values; it tends to 1 as P turns to B's singular vectors.

The update's size and the weight decay are those of muon.py, and not the paper's √(rows / columns), so that one learning
rate serves both; singular values are then the same at every rank, and the update's norm falls with √(rank).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from leechcodec.training.muon import by_shape, move

NOISE = 1e-5
"""A column of R that is shorter than the longest by this factor is rounding error: normalised it would be a random
direction of full size. It is left out, and its column of Q waits."""


def power_step(buffer: Tensor, basis: Tensor, momentum: float) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of matrices' update directions, what is left in their buffers, and the next bases.

    buffer: B, float32 (N, rows, columns); rows <= columns is the cheaper way round, since the QR decomposition is of
    (rows, rank). basis: Q, (N, columns, rank). momentum: μ. Returns (P Qᵀ (N, rows, columns), B - (1 - μ) P Rᵀ, Q); the
    direction of a zero buffer is zero.
    """
    left = torch.linalg.qr(buffer @ basis).Q
    right = buffer.mT @ left
    rest = torch.baddbmm(buffer, left, right.mT, alpha=momentum - 1)
    lengths = right.norm(dim=-2, keepdim=True)
    present = lengths > NOISE * lengths.amax(-1, keepdim=True)
    columns = torch.where(present, right / lengths, 0.0)
    return left @ columns.mT, rest, torch.where(present, columns, basis)


class Dion(Optimizer):
    """Dion for tensors of two and more dimensions; convolutions are flattened to (out, in · k · k).

    lr, momentum, weight_decay: as for Muon. rank: of the updates, as a share of the smaller side, above 0 and up to 1.
    """

    def __init__(
        self, params: Iterable, lr: float = 2e-3, momentum: float = 0.95, weight_decay: float = 0.0, rank: float = 1.0
    ) -> None:
        if not 0 < rank <= 1:
            raise ValueError(f"rank is a share, above 0 and up to 1, got {rank}")
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, rank=rank))

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for (rows, columns), items in by_shape(group["params"]).items():
                tall, rank = rows > columns, math.ceil(group["rank"] * min(rows, columns))
                buffers, bases = [], []
                for p, grad in items:
                    state = self.state[p]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(grad)
                    if "basis" not in state or state["basis"].shape[1] != rank:
                        state["basis"] = first_basis(max(rows, columns), rank).to(grad)
                    buffer = state["momentum"] + grad
                    buffers.append(buffer.mT if tall else buffer)
                    bases.append(state["basis"])
                directions, rests, bases = power_step(torch.stack(buffers), torch.stack(bases), group["momentum"])
                for (p, _), rest, basis in zip(items, rests, bases):
                    self.state[p]["momentum"].copy_(rest.mT if tall else rest)
                    self.state[p]["basis"].copy_(basis)
                move([p for p, _ in items], directions.mT if tall else directions, group)


def first_basis(columns: int, rank: int) -> Tensor:
    """Q to start from, float32 (columns, rank): any generic one does; this leaves the global random state alone."""
    return torch.randn(columns, rank, generator=torch.Generator().manual_seed(0))
