"""How many threads a computation may use: torch's number where torch is loaded, else one of our own.

The numba kernels, torch and ONNX Runtime follow the same number, so a program sets it once.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import TypeVar

from leechcodec.concurrency import Lock

MAX_THREADS = 4096
"""More than any machine has: the libraries take no larger number."""
Result = TypeVar("Result")
_own: list[int] = []
"""What :func:`set_threads` was told; empty before."""
_loading = Lock()


def threads() -> int:
    """torch's number of threads; without torch what was set, or OMP_NUM_THREADS, or one per core."""
    if torch := _torch():
        return torch.get_num_threads()
    if _own:
        return _own[0]
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(wanted), MAX_THREADS) if wanted.isdecimal() and int(wanted) else _cores()


def set_threads(count: int) -> None:
    """Use so many threads from now on, at least 1."""
    _own[:] = [count]
    if torch := _torch():
        torch.set_num_threads(count)


def in_parts(function: Callable[[slice], Result], count: int, block: int = 1) -> list[Result]:
    """What function makes of parts of 0..count, one for each thread, in order; a part is whole blocks of so many."""
    blocks = -(-count // block)
    parts = max(1, min(threads(), blocks))
    if parts == 1:
        return [function(slice(0, count))]
    step = -(-blocks // parts) * block
    slices = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    return list(_pool(os.getpid()).map(function, slices))


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Of a process: a fork has none of its parent's threads."""
    return ThreadPoolExecutor(os.cpu_count())


def load_torch() -> None:
    """Import torch, whatever thread comes first. It takes over the number that was set before it was there."""
    if _torch():
        return
    with _loading.held():
        new = _torch() is None
        import torch

        if new and _own:
            torch.set_num_threads(_own[0])


def _torch() -> ModuleType | None:
    """torch where it is loaded: whole, and not being loaded by another thread."""
    torch = sys.modules.get("torch")
    initializing = getattr(getattr(torch, "__spec__", None), "_initializing", False)
    return None if initializing else torch


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
