"""The networks' floating-point part, as the codec knows it: one interface, two libraries that compute it.

    pixels ─▶ encode ─▶ codes ─▶ decode ─▶ x̂            Transforms ◀── torch_transforms.py: torch
                                                                   ◀── onnx_transforms.py: ONNX Runtime

The tokens of a file depend on the integer prior alone: every runtime decodes the same ones, and pixels differ by a
level here and there. An encoder asks in floating point, and may choose another token here and there.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from leechcodec.errors import TORCH_COMMAND, ConfigError, MissingPackageError

RUNTIMES = {"torch": "torch", "onnx": "onnxruntime"}
"""Names, and the package that each needs."""
VARIABLE = "LEECHCODEC_RUNTIME"
"""Names the runtime for a process and those that it starts."""


Show = Callable[[np.ndarray], None]
"""Is given a picture's rows from top to bottom: float32 (1, 3, n, W), about -1..1, which it may overwrite."""


class Transforms(ABC):
    """Analysis and synthesis transform of one model, for one image at a time. Any number of threads may call it."""

    @abstractmethod
    def encode(self, pixels: np.ndarray, quality: float, show: Show | None = None) -> list[np.ndarray]:
        """Codes of an image, coarse to fine: int8 (h, w, dim) for each stage that this quality sends.

        pixels: uint8 (1, 3, H, W), H and W multiples of 64.
        show: is given what :meth:`decode` makes of the codes, from the same pass of the synthesis.
        """

    @abstractmethod
    def decode(self, codes: Sequence[np.ndarray], height: int, width: int, quality: float, show: Show) -> None:
        """Show the picture of height x width pixels from the codes of its stages."""


def use_runtime(name: str | None) -> None:
    """Compute with "torch" or "onnx" from now on, in this process and those that it starts; None: the default.

    Raises ConfigError for another name, MissingPackageError where its package is not installed.
    """
    if name is None:
        os.environ.pop(VARIABLE, None)
    else:
        _check(name)
        os.environ[VARIABLE] = name


def runtime() -> str:
    """The runtime in use: that of :func:`use_runtime`, else ONNX Runtime, which computes as fast and is there in a
    tenth of a second.

    Raises what :func:`use_runtime` raises.
    """
    return _check(os.environ.get(VARIABLE) or "onnx")


def is_chosen() -> bool:
    """Whether :func:`use_runtime` was told a name."""
    return bool(os.environ.get(VARIABLE))


def has_torch() -> bool:
    """Whether torch is installed."""
    return find_spec("torch") is not None


def check_torch(what: str) -> None:
    """Raises MissingPackageError, with the command that installs it, where torch is not there. what: needs it."""
    if not has_torch():
        raise MissingPackageError(f"{what} needs torch: {TORCH_COMMAND}")


def _check(name: str) -> str:
    if name not in RUNTIMES:
        raise ConfigError(f"unknown runtime {name!r}: there are {' and '.join(RUNTIMES)}")
    if not find_spec(RUNTIMES[name]):
        command = TORCH_COMMAND if name == "torch" else "pip install onnxruntime"
        raise MissingPackageError(f"the runtime {name} needs {RUNTIMES[name]}: {command}")
    return name
