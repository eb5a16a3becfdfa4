"""When two kernels are the same: a digest of all that decides their machine code.

A function is its bytecode, its constants, and what the global names in it stand for: other functions, numbers, arrays.
So a cache never gives the code of an older version, wherever in the package something changed.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np


def digest(*parts: Any) -> str:
    """32 hexadecimal digits."""
    found = hashlib.sha256()
    for piece in _pieces(parts, set()):
        found.update(len(piece).to_bytes(8, "little") + piece)
    return found.hexdigest()[:32]


def _pieces(value: Any, seen: set[int]) -> Iterator[bytes]:
    if isinstance(value, FunctionType):
        if id(value) not in seen:
            seen.add(id(value))
            yield from _pieces([value.__code__, value.__defaults__], seen)
            yield from _pieces([value.__globals__[name] for name in _names(value)], seen)
    elif isinstance(value, CodeType):
        yield value.co_code
        yield " ".join(value.co_names).encode()
        yield from _pieces(value.co_consts, seen)
    elif isinstance(value, tuple | list):
        yield f"{type(value).__name__} {len(value)}".encode()
        for member in value:
            yield from _pieces(member, seen)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype.str} {value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, bool | int | float | str | bytes | np.generic | None):
        yield f"{type(value).__name__} {value!r}".encode()
    elif isinstance(value, set | frozenset):
        yield " ".join(sorted(map(repr, value))).encode()
    elif isinstance(value, ModuleType):
        yield value.__name__.encode()
    elif isinstance(value, type) or (callable(value) and not hasattr(value, "parts")):
        yield f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}".encode()
    elif hasattr(value, "parts"):
        if id(value) not in seen:
            seen.add(id(value))
            for part in value.parts():
                yield from _pieces(part, seen)
    else:
        raise TypeError(f"a kernel's global of type {type(value).__name__}")


def _names(function: FunctionType) -> list[str]:
    """The global names that a function, or one within it, uses; in order."""
    codes, found = [function.__code__], set()
    while codes:
        code = codes.pop()
        found |= set(code.co_names)
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    return sorted(found & set(function.__globals__))


@cache
def source_of(name: str) -> bytes:
    """A module's text, by its name."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).read_bytes() if spec and spec.origin else b""
