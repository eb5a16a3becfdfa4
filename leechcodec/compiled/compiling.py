"""From a function to object code, by numba. Imported when something has to be compiled."""

from collections.abc import Callable
from typing import Any, cast

import numba
from numba.core.compiler import Compiler
from numba.core.registry import cpu_target

from leechcodec.compiled.cache import MachineCode
from leechcodec.compiled.calling import RESULTS

FROM_OUTSIDE = {"memset", "memcpy", "memmove", "log", "log2", "exp"}
"""Of the C library, which every process has. A kernel that needs more cannot be linked: the process would end."""


class NoAlias(Compiler):
    """Tells LLVM that a function's array arguments do not overlap, without which it vectorises few of the loops."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state.flags.noalias = True


def dispatcher(function: Callable, options: dict[str, Any], *, from_python: bool = False) -> Any:
    """numba's object for a function. from_python: with what calls from Python need."""
    compiler: Any = numba.njit  # its types know not all options
    return compiler(
        nogil=True, error_model="numpy", pipeline_class=NoAlias, no_cpython_wrapper=not from_python,
        no_cfunc_wrapper=True, _nrt=False, **options,
    )(function)  # fmt: skip


def type_of(value: Any) -> Any:
    """The type by which kernels know an intrinsic, or a function with overloads."""
    context: Any = cpu_target.typing_context
    context.refresh()
    return context.resolve_value_type(value)


def compile_kernel(function: Callable, options: dict[str, Any], arguments: tuple) -> MachineCode:
    """Machine code for arguments of these types.

    Raises TypeError for a kernel that returns what none may, RuntimeError for one that needs more than machine code.
    """
    made = dispatcher(function, options)
    types = tuple(numba.typeof(argument) for argument in arguments)
    made.compile(types)
    found = made.overloads[types]
    result = str(numba.types.unliteral(found.signature.return_type))
    if result not in RESULTS:
        raise TypeError(f"{function.__qualname__} returns {result}, a kernel {', '.join(RESULTS)}")
    library = found.library
    needed = {each.name for each in library._final_module.functions if each.is_declaration}
    needed = {name for name in needed if not name.startswith("llvm.")} - FROM_OUTSIDE
    if needed:
        raise RuntimeError(f"{function.__qualname__} needs {', '.join(sorted(needed))}")
    _, _, (object_code, _) = library.serialize_using_object_code()
    return MachineCode(cast(str, found.fndesc.mangled_name), result, object_code)
