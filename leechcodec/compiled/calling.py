"""How machine code made by numba is called: the kinds of arguments, and their order in registers and on the stack.

numba passes numbers as they are; an array as two pointers that are nothing here, its size, its item size, its data, its
shape and its strides; a tuple as its members, one behind the other. A function returns a status, 0 where all is well,
and puts its result where its first argument points to.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Kind = Any
"""Of an argument: a string, or a tuple of a tuple's type and its members' kinds. Equal kinds run the same code."""
RESULTS: dict[str, Any] = {"none": None, "int64": ctypes.c_int64, "float64": ctypes.c_double}
"""What a kernel may return, by numba's name of it."""
_NUMBERS: dict[type, Any] = {
    bool: ctypes.c_uint8, int: ctypes.c_int64, float: ctypes.c_double, np.int64: ctypes.c_int64,
    np.uint64: ctypes.c_uint64, np.float64: ctypes.c_double, np.float32: ctypes.c_float,
}  # fmt: skip


class CallError(Exception):
    """An argument that machine code cannot be given."""


def kind_of(argument: Any) -> Kind:
    """Raises CallError for what no kernel takes."""
    if isinstance(argument, np.ndarray):
        flags = argument.flags
        layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        fixed = "" if flags.writeable else "r"
        return f"{argument.dtype.str}{argument.ndim}{layout}{fixed}{'' if flags.aligned else 'u'}"
    if isinstance(argument, tuple):
        return type(argument).__name__, *map(kind_of, argument)
    if type(argument) in _NUMBERS:
        return type(argument).__name__
    raise CallError(f"a kernel takes arrays, numbers and tuples of them, not {type(argument).__name__}")


def caller(address: int, arguments: tuple, result: str) -> Callable[[tuple], Any]:
    """A function that calls the code at an address with arguments of the same kinds as those given.

    result: a key of RESULTS. Raises RuntimeError, when called, for a status that is not 0. Threads may call it side by
    side: Python's lock is let go.
    """
    kinds = [ctypes.c_void_p, ctypes.c_void_p, *_types(arguments)]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address)
    made = RESULTS[result]

    def call(arguments: tuple) -> Any:
        found, raised = (made or ctypes.c_void_p)(), ctypes.c_void_p()
        status = function(ctypes.addressof(found), ctypes.addressof(raised), *_flat(arguments))
        if status:
            raise RuntimeError(f"a kernel ended with status {status}")
        return found.value if made else None

    return call


def _types(arguments: tuple) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            yield from (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
            yield from 2 * argument.ndim * [ctypes.c_int64]
        elif isinstance(argument, tuple):
            yield from _types(argument)
        else:
            yield _NUMBERS[type(argument)]


def _flat(arguments: tuple) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            data = argument.__array_interface__["data"][0]
            yield from (None, None, argument.size, argument.itemsize, data, *argument.shape, *argument.strides)
        elif isinstance(argument, tuple):
            yield from _flat(argument)
        else:
            yield argument
