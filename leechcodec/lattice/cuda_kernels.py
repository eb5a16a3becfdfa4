"""The nearest codeword and the log-sum-exp over the codebook as CUDA kernels: kernels.cu, compiled on first use.

They need a torch that can compile kernels, which takes NVRTC and a CUDA toolkit's headers; :func:`available` tries.
torch_kernels.py holds the same in torch operations, for every other device and as the reference.
"""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leechcodec.lattice.structure import turyn

SOURCE = Path(__file__).with_name("kernels.cu")
THREADS = 64
"""A token's: as many as a block has classes."""


@cache
def available(device: torch.device) -> bool:
    """Whether the kernels can be had for tensors of this device. Warns, once, where a CUDA device goes without."""
    if device.type != "cuda":
        return False
    try:
        for name in ("nearest", "log_partition"):
            _kernel(name, device)
    except (AttributeError, OSError, RuntimeError) as error:
        warnings.warn(f"no CUDA kernels for the lattice, torch operations instead: {error}", stacklevel=2)
        return False
    return True


def nearest(z: Tensor) -> Tensor:
    """As maximum.py's: float32 (N, 24) on a CUDA device -> int8 (N, 24). Rows are not checked."""
    z = z.contiguous()
    codes = torch.empty(z.shape, dtype=torch.int8, device=z.device)
    _launch("nearest", z, codes)
    return codes


def log_partition_and_marginals(scores: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """As summation.py's: float32 (N, 24, 9) on a CUDA device -> float64 (N,), float32 (N, 24, 9) where wanted."""
    scores = scores.contiguous()
    values = torch.empty(len(scores), dtype=torch.float64, device=scores.device)
    marginals = torch.empty_like(scores) if wanted else None
    _launch("log_partition", scores, values, scores if marginals is None else marginals, int(wanted))
    return values, marginals


def _launch(name: str, tokens: Tensor, *args: Tensor | int) -> None:
    if len(tokens):
        arguments = [tokens, _tables(tokens.device), *args]
        with torch.cuda.device(tokens.device):
            _kernel(name, tokens.device)(grid=(len(tokens), 1, 1), block=(THREADS, 1, 1), args=arguments)


def tables() -> np.ndarray:
    """kernels.cu's struct Turyn, uint8 (n,)."""
    names = ("halves", "octad_halves", "partners", "partner_classes", "twos", "fours", "byte", "supports")
    bytes_ = np.concatenate([getattr(turyn(), name).astype(np.uint8).ravel() for name in names])
    padded = np.zeros(-(-len(bytes_) // 64) * 64, dtype=np.uint8)
    padded[: len(bytes_)] = bytes_
    return np.concatenate([padded, turyn().groups.astype("<i2").ravel().view(np.uint8)])


@cache
def _tables(device: torch.device) -> Tensor:
    return torch.from_numpy(tables()).to(device)


@cache
def _kernel(name: str, device: torch.device):
    with torch.cuda.device(device):
        return torch.cuda._compile_kernel(SOURCE.read_text(), name)
