"""What all threads of a process share: locks that a fork leaves open, and the filters of its warnings."""

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

IMPORTED_IN = os.getpid()
"""The process that imported leechcodec first: one of another number is a forked child."""


class Lock:
    """A lock that a forked child finds open: the thread that held it in the parent is none of the child's.

    make: threading.Lock, or threading.RLock for one that a thread may take again.
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = self._make()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The context in which no other thread holds it."""
        with self._lock:
            yield


_FILTERS = Lock(threading.RLock)


@contextlib.contextmanager
def own_warnings(record: bool = False) -> Iterator[list[warnings.WarningMessage]]:
    """``warnings.catch_warnings``, by one thread at a time; the list is empty without record.

    Filters are the process's. Of two contexts that overlap, the one that ends last would put back the other's for good.
    """
    with _FILTERS.held(), warnings.catch_warnings(record=record) as caught:
        yield [] if caught is None else caught
