"""ONNX Runtime's sessions of a model's graphs."""

import contextlib
import ctypes
import os
import weakref
from collections.abc import Callable
from functools import cache, partial
from typing import cast

import numpy as np
import onnxruntime

from leechcodec.concurrency import Lock
from leechcodec.errors import ConfigError
from leechcodec.networks.devices import execution_provider
from leechcodec.threads import threads

_DEFAULT_MEMORY = onnxruntime.OrtMemType.DEFAULT


class Sessions:
    """ONNX Runtime's sessions by name, made when they are first asked for; any thread may ask.

    One belongs to a process and a number of threads: a forked child has none of its parent's threads. Those of the last
    two numbers are kept, and a parent's for ever.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._made: dict[tuple[str, int, int], onnxruntime.InferenceSession] = {}
        self._lock = Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_outlive, weakref.ref(self)))

    def get(self, name: str, graph: Callable[[], bytes]) -> Callable[..., np.ndarray]:
        """A function of the graph's inputs, by name, that gives its output."""
        key = name, threads(), os.getpid()
        session = self._made.get(key)
        if session is None:
            session = self._keep(key, _session(graph(), key[1], self._device))

        def run(**inputs: np.ndarray) -> np.ndarray:
            found = session.run(None, {name: np.ascontiguousarray(x) for name, x in inputs.items()})
            return cast(np.ndarray, found[0])

        return run

    def _immortal(self) -> None:
        for session in self._made.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))

    def _keep(self, key: tuple[str, int, int], made: onnxruntime.InferenceSession) -> onnxruntime.InferenceSession:
        """The session of a key, and no others of this process but those of the last two numbers of threads."""
        with self._lock.held():
            session = self._made.setdefault(key, made)
            numbers = [number for _, number, process in reversed(self._made) if process == key[2]]
            kept = list(dict.fromkeys(numbers))[:2]
            self._made = {each: other for each, other in self._made.items() if each[2] != key[2] or each[1] in kept}
        return session


def _outlive(sessions: "weakref.ref[Sessions]") -> None:
    """In a forked child: the end of a parent's session waits for threads that a child has not, or crashes. So it never
    comes, not even as the interpreter ends."""
    if (found := sessions()) is not None:
        found._immortal()


def _session(graph: bytes, threads: int, device: str) -> onnxruntime.InferenceSession:
    """Raises ConfigError where ONNX Runtime has the device's provider and cannot start it: it would do without."""
    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it would keep a block of memory for each session
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other sessions' threads want the cores
    wanted = execution_provider(device)
    session = onnxruntime.InferenceSession(graph, options, providers=[wanted])
    if session.get_providers()[0] != wanted[0]:
        raise ConfigError(f"device {device!r}: ONNX Runtime's {wanted[0]} does not start on this machine")
    return session


@cache
def _share_memory() -> None:
    """One pool of memory for all sessions of the process, which grows by what is asked for: each would have its own."""
    pool = onnxruntime.OrtArenaCfg(0, 1, -1, -1)
    kind = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, _DEFAULT_MEMORY)
    with contextlib.suppress(Exception):  # the program around it has one already, which then serves
        onnxruntime.create_and_register_allocator(kind, pool)
