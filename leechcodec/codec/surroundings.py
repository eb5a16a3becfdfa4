"""What a caller has set in torch, and does not reach the codec: default dtype and device, autocast, random numbers.

A file must not depend on the program around it, and a model is loaded once for all that come later. A program that has
not imported torch has set nothing in it.
"""

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from leechcodec.concurrency import IMPORTED_IN, Lock

if TYPE_CHECKING:
    import torch

P = ParamSpec("P")
R = TypeVar("R")
_AUTOCAST = ("cpu", "cuda", "mps")
"""The kinds of device that the codec computes on with torch, each with an autocast of its own."""
_LOCK = Lock()
_inside = 0
"""Calls at work in all threads: torch's default dtype is one for all of them."""
_before: "torch.dtype | None" = None
_alone = threading.local()
"""Of a forked child: `told`, whether torch was told to use one thread. Every thread has a number of its own."""


def sheltered(function: Callable[P, R]) -> Callable[P, R]:
    """A function that computes as in a fresh process: float32, on the CPU, without autocast."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with shelter():
            return function(*args, **kwargs)

    return inner


@contextlib.contextmanager
def shelter() -> Generator[None]:
    """The context of :func:`sheltered`. It may be nested, and entered by many threads."""
    if sys.modules.get("torch") is None:
        yield
        return
    import torch

    _after_fork(torch.set_num_threads)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_float32())
        stack.enter_context(_cpu())
        for kind in _AUTOCAST:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextlib.contextmanager
def _float32() -> Generator[None]:
    import torch

    global _inside, _before
    with _LOCK.held():
        if not _inside:
            _before = torch.get_default_dtype()
            if _before != torch.float32:
                torch.set_default_dtype(torch.float32)
        _inside += 1
    try:
        yield
    finally:
        with _LOCK.held():
            _inside -= 1
            if not _inside and _before is not None and _before != torch.float32:
                torch.set_default_dtype(_before)


def _cpu() -> contextlib.AbstractContextManager[object]:
    """torch.device("cpu") as a context where another device is the default: it slows every call a little."""
    import torch

    elsewhere = torch.empty(0).device.type != "cpu"
    return torch.device("cpu") if elsewhere else contextlib.nullcontext()


def _after_fork(set_threads: Callable[[int], None]) -> None:
    """A forked child has none of its parent's OpenMP threads and would wait for them for ever: it computes alone."""
    if os.getpid() != IMPORTED_IN and not getattr(_alone, "told", False):
        _alone.told = True
        set_threads(1)
