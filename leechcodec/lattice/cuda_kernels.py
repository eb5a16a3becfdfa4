"""The log-sum-exp over the codebook as one CUDA kernel: summation.cu, compiled on first use.

It needs a torch that can compile kernels (NVRTC, which torch's CUDA builds bring along); :func:`available` says whether
it does. torch_kernels.py holds the same in torch operations, for every other device and as the reference.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leechcodec.lattice.structure import turyn

SOURCE = Path(__file__).with_name("summation.cu")
THREADS = 64
"""A token's: as many as a block has classes."""


def available(device: torch.device) -> bool:
    """Whether :func:`log_partition_and_marginals` works for tensors of this device."""
    return device.type == "cuda" and torch.version.hip is None and hasattr(torch.cuda, "_compile_kernel")


def log_partition_and_marginals(scores: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """As summation.py's: float32 (N, 24, 9) on a CUDA device -> float64 (N,), float32 (N, 24, 9) where wanted."""
    scores = scores.contiguous()
    values = torch.empty(len(scores), dtype=torch.float64, device=scores.device)
    marginals = torch.empty_like(scores) if wanted else None
    if len(scores):
        _kernel(scores.device)(
            grid=(len(scores), 1, 1),
            block=(THREADS, 1, 1),
            args=[scores, _tables(scores.device), values, scores if marginals is None else marginals, int(wanted)],
        )
    return values, marginals


def tables() -> np.ndarray:
    """summation.cu's struct Turyn, uint8 (n,)."""
    names = ("halves", "octad_halves", "partners", "partner_classes", "twos", "fours")
    return np.concatenate([getattr(turyn(), name).ravel() for name in names])


@cache
def _tables(device: torch.device) -> Tensor:
    return torch.from_numpy(tables()).to(device)


@cache
def _kernel(device: torch.device):
    with torch.cuda.device(device):
        return torch.cuda._compile_kernel(SOURCE.read_text(), "log_partition")
