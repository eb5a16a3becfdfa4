"""What the decorators make of functions: kernels that are called from Python, and the functions these are made of.

numba is imported when something has to be compiled, and not before. To it every object here looks like the numba object
that it stands for (``_numba_type_``).
"""

import os
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from leechcodec.compiled import cache
from leechcodec.compiled.calling import Kind, caller, kind_of
from leechcodec.compiled.identity import digest, source_of
from leechcodec.concurrency import Lock

_LOCK = Lock(threading.RLock)


def entry(**options: Any) -> Callable[[Callable], Any]:
    """A decorator: the function becomes a kernel, called from Python.

    options: numba's, beside those that all have: fastmath. The function takes arrays, numbers and tuples of them, no
    two arrays overlap, it returns an integer, a float or nothing, and it allocates nothing.
    """
    return lambda function: function if _is_off() else Kernel(function, options)


def inner(**options: Any) -> Callable[[Callable], Any]:
    """A decorator: the function becomes part of the kernels that call it. options: as of :func:`entry`."""
    return lambda function: function if _is_off() else Part(function, options)


def numba_object(make: Callable[[], Any], plain: Callable, *modules: str) -> Any:
    """An object that kernels call and only numba can make: an intrinsic, a function with overloads.

    make: makes it; a function that may import numba. plain: the same in Python. modules: that it is made in.
    """
    return plain if _is_off() else NumbaObject(make, plain, modules)


def _is_off() -> bool:
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


class _Compiled:
    """A function and how it is compiled."""

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        self.function, self.options = function, options
        self.__doc__, self.__name__, self.__module__ = function.__doc__, function.__name__, function.__module__

    def parts(self) -> Iterator[Any]:
        """What decides the machine code beside the kinds of arguments."""
        yield from (self.function, sorted(self.options.items()))


class Kernel(_Compiled):
    """A function of arrays. Raises CallError for arguments that no kernel takes."""

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        super().__init__(function, options)
        self.compiled = 0
        """How often numba was needed."""
        self._calls: dict[Kind, Callable[[tuple], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        kind = kind_of(arguments)
        call = self._calls.get(kind)
        if call is None:
            with _LOCK.held():
                call = self._calls.get(kind) or self._ready(kind, arguments)
                self._calls[kind] = call
        return call(arguments)

    def _ready(self, kind: Kind, arguments: tuple) -> Callable[[tuple], Any]:
        from leechcodec.compiled import linking

        source = Path(self.function.__code__.co_filename)
        name = f"{self.__module__}.{self.__name__}-{digest(self, linking.machine(), kind)}.code"
        if (code := cache.load(source, name)) is None:
            from leechcodec.compiled.compiling import compile_kernel

            code = compile_kernel(self.function, self.options, arguments)
            self.compiled += 1
            cache.save(source, name, code)
        try:
            return caller(linking.link(code), arguments, code.result)
        except linking.LinkError:  # numba links by itself, in every process
            from leechcodec.compiled.compiling import dispatcher

            function = dispatcher(self.function, self.options, from_python=True)
            return lambda arguments: function(*arguments)


class Part(_Compiled):
    """A function that kernels call."""

    @cached_property
    def _dispatcher(self) -> Any:
        from leechcodec.compiled.compiling import dispatcher

        return dispatcher(self.function, self.options)

    @property
    def _numba_type_(self) -> Any:
        return self._dispatcher._numba_type_


class NumbaObject:
    """Something of numba's that is made when a kernel with it is compiled."""

    def __init__(self, make: Callable[[], Any], plain: Callable, modules: tuple[str, ...]) -> None:
        self.make, self.plain, self.modules = make, plain, modules

    def __call__(self, *arguments: Any) -> Any:
        return self.plain(*arguments)

    def parts(self) -> Iterator[Any]:
        yield self.make
        yield from map(source_of, self.modules)

    @cached_property
    def _numba_type_(self) -> Any:
        from leechcodec.compiled.compiling import type_of

        return type_of(self.make())
