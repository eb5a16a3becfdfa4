"""Which number format a machine trains in: measured, because processors without units for bf16 take it too.

Without such units a product in bf16 is up to sixty times slower than in float32 (AVX2), with them up to three times
faster (AVX-512 BF16, AMX, any recent GPU).
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.errors import ConfigError

CHOICES = ("auto", "bf16", "float32")
DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
REPEATS = 8
"""The machine may be busy just then, and the first run of a kind prepares it."""


def check_precision(precision: str) -> None:
    """Raises ConfigError for a name that is none of :data:`CHOICES`."""
    if precision not in CHOICES:
        raise ConfigError(f"precision must be one of {', '.join(CHOICES)}, got {precision!r}")


def choose_precision(precision: str, device: torch.device | str = "cpu") -> str:
    """ "bf16" or "float32": the one named, or for "auto" the faster one on this device by :func:`measure`."""
    check_precision(precision)
    if precision != "auto":
        return precision
    seconds = {name: sum(measure(dtype, device).values()) for name, dtype in DTYPES.items()}
    return min(seconds, key=lambda name: seconds[name])


def measure(dtype: torch.dtype, device: torch.device | str = "cpu") -> dict[str, float]:
    """Seconds of each kind of product that a training step is made of, the fastest of several.

    These are 3 x 3 and 1 x 1 convolutions of small maps, forward and backward, and Muon's batched matrix products: some
    170 million multiplications in all.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    x = draw(8, 64, 16, 16).contiguous(memory_format=torch.channels_last)
    wide, narrow, matrices = draw(64, 64, 3, 3), draw(64, 64, 1, 1), draw(2, 64, 576)

    def convolve(weight: Tensor, padding: int) -> None:
        leaf = weight.detach().requires_grad_()
        F.conv2d(x, leaf, padding=padding).square().mean().backward()

    kinds: dict[str, Callable[[], object]] = {
        "3 x 3 convolution": lambda: convolve(wide, 1),
        "1 x 1 convolution": lambda: convolve(narrow, 0),
        "batched matrices": lambda: matrices @ matrices.mT,
    }
    return {name: min(_seconds(run, device) for _ in range(REPEATS)) for name, run in kinds.items()}


def _seconds(run: Callable[[], object], device: torch.device | str) -> float:
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if on_gpu:
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
