"""From object code to an address, by llvmlite alone."""

import hashlib
import importlib.util
import os
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from leechcodec.compiled.cache import MachineCode

FORMAT = 1
"""Of the files in the cache and of what this package expects of their code."""
_linked: list[llvm.ExecutionEngine] = []
"""Engines own the memory that code lies in."""


@cache
def machine() -> tuple[str, ...]:
    """What decides machine code beside the kernel: the processor, the compiler and its settings."""
    names = sorted(name for name in os.environ if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR")
    settings = [f"{name}={os.environ[name]}" for name in names]
    features = llvm.get_host_cpu_features().flatten()
    return (
        str(FORMAT), llvm.get_process_triple(), llvm.get_host_cpu_name(), features, _numba(), llvmlite.__version__,
        *settings,
    )  # fmt: skip


def _numba() -> str:
    """numba's version without numba: a hash of the file that says it."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.origin is None:
        return "none"
    return hashlib.sha256(Path(spec.origin).with_name("_version.py").read_bytes()).hexdigest()


class LinkError(Exception):
    """Object code that llvmlite cannot link on this machine."""


def link(code: MachineCode) -> int:
    """The address of a kernel, for as long as the process lives. One thread at a time. Raises LinkError."""
    _ready()
    target = llvm.Target.from_default_triple()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.object_code))
    engine.finalize_object()
    if not (address := engine.get_function_address(code.symbol)):
        raise LinkError(f"no {code.symbol} in its object code")
    _linked.append(engine)
    return address


@cache
def _ready() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
