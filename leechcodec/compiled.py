"""numba's compiler with a cache that cannot stop the program: where none can be written, or one is damaged.

Compiled code is kept beside the package, else in the user's cache folder, as numba does; else in a folder of this user
alone among the temporary files; else not at all. A cache file that cannot be read is compiled and written again.
"""

import contextlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import FunctionCache

_LOCK = threading.Lock()
_elsewhere: set[str | None] = set()
"""Where code is kept that numba found no place for: a folder, or None for nowhere."""


def njit(**options: Any) -> Callable[[Callable], Any]:
    """``numba.njit`` with options; ``cache=True`` asks for the cache described above."""
    cached = options.pop("cache", False)

    def decorate(function: Callable) -> Any:
        dispatcher: Any = numba.njit(**options)(function)
        if cached and hasattr(dispatcher, "_cache"):  # plain Python where the compiler is switched off
            with contextlib.suppress(OSError):
                dispatcher._cache = _cache_of(function)
        return dispatcher

    return decorate


def remark() -> str | None:
    """What to tell the user of where compiled code is kept, None where nothing is unusual."""
    if not _elsewhere:
        return None
    folders = sorted(folder for folder in _elsewhere if folder)
    where = f"kept in {', '.join(folders)}" if folders else "not kept, and compiled again by every process"
    return f"compiled code is {where}: neither the package's folder nor the cache folder can be written"


class _Cache(FunctionCache):
    """numba's cache of a function; whatever is wrong with its files, the function is compiled."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # cut or damaged: pickle raises whatever it trips over
            with contextlib.suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(Exception):  # a full or read-only disk
            try:
                super().save_overload(sig, data)
            except Exception:
                self.flush()
                super().save_overload(sig, data)


def _cache_of(function: Callable) -> Any:
    with contextlib.suppress(RuntimeError):
        return _Cache(function)
    with _LOCK:
        # numba makes its options at run time
        before, folder = config.CACHE_DIR, _temporary()  # pyright: ignore[reportAttributeAccessIssue]
        try:
            config.CACHE_DIR = folder or before  # pyright: ignore[reportAttributeAccessIssue]
            cache = _Cache(function)
        except RuntimeError:
            cache, folder = _no_cache(), None
        finally:
            config.CACHE_DIR = before  # pyright: ignore[reportAttributeAccessIssue]
    _elsewhere.add(folder)
    return cache


def _no_cache() -> Any:
    from numba.core.caching import NullCache

    return NullCache()


def _temporary() -> str | None:
    """A folder of this user's, that nobody else can write: what is in it will be executed."""
    if not hasattr(os, "getuid"):
        return None
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"leechcodec-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(folder)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return str(folder)
    return None
