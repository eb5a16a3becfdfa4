"""How many threads a computation may use: torch's number where torch is loaded, else one of our own.

The numba kernels, torch and ONNX Runtime follow the same number, so a program sets it once.
"""

import os
import sys

_own: list[int] = []
"""What :func:`set_threads` was told, where torch is not loaded; empty before."""


def threads() -> int:
    """torch's number of threads; without torch what was set, or OMP_NUM_THREADS, or one per core."""
    if torch := sys.modules.get("torch"):
        return torch.get_num_threads()
    if _own:
        return _own[0]
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else _cores()


def set_threads(count: int) -> None:
    """Use so many threads from now on, at least 1."""
    _own[:] = [count]
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
