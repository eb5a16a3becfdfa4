"""Where the networks' floating-point part is computed: a processor, or an accelerator.

A device changes how pixels round, and here and there which token an encoder asks for. What a file's tokens are does not
depend on it: the integer prior stays on the processor.
"""

import os
import re
from typing import Any

from leechcodec.errors import ConfigError, MissingPackageError
from leechcodec.networks.runtime import has_torch, is_chosen, runtime
from leechcodec.threads import load_torch

VARIABLE = "LEECHCODEC_DEVICE"
"""Names the device for a process and those that it starts."""
AUTO, CPU = "auto", "cpu"
NAME = re.compile(r"auto|cpu|mps|(cuda|openvino|directml)(:\d+)?")
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "mps": ("CoreMLExecutionProvider", "onnxruntime on macOS"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
}
"""Kind of device -> ONNX Runtime's execution provider, and the package that has it."""
LONGEST_REASON = 120
"""Of torch's words, which may go on for a page."""
TORCHS = ("cpu", "cuda", "mps")


def use_device(name: str | None) -> None:
    """Compute on a device from now on, in this process and those that it starts; None: the default, "cpu".

    name: "cpu", "cuda", "cuda:1", "mps", "auto" (a GPU of CUDA where the runtime has one, else the processor); with
        ONNX Runtime also "openvino" and "directml".

    Raises ConfigError for another name. Whether the device is there is seen when a model is loaded.
    """
    if name is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = _checked(name)


def device(name: str | None = None, how: str | None = None) -> str:
    """The device that a name stands for, "auto" decided. name: None for what :func:`use_device` was told. how: the
    runtime, None for the one in use; ONNX Runtime needs no torch for this.

    Raises ConfigError for a name that is none, or a device that the runtime does not have; MissingPackageError where a
    package would bring it.
    """
    name, how = _named(name), how or runtime()
    if name == CPU:
        return name
    return _of_torch(name) if how == "torch" else _of_onnx(name)


def place(name: str | None = None, how: str | None = None) -> tuple[str | None, str]:
    """Runtime and device. name, how: as for :func:`device`; where no runtime was named either, it is None, unless the
    device decides: torch has some that ONNX Runtime, as it is installed, has not.

    Raises what :func:`device` raises.
    """
    how = how or (runtime() if is_chosen() else None)
    if how is not None:
        return how, device(name, how)
    try:
        return None, device(name, "onnx")
    except MissingPackageError:
        kind = _named(name)
        if kind.partition(":")[0] not in TORCHS or not has_torch():
            raise
        return "torch", _of_torch(kind)


def _named(name: str | None) -> str:
    return _checked(name or os.environ.get(VARIABLE) or CPU)


def _checked(name: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"unknown device {name!r}: there are cpu, cuda, cuda:N, mps, openvino, directml and auto")
    return name


def _of_torch(name: str) -> str:
    load_torch()
    import torch

    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in TORCHS:
        raise ConfigError(f"device {name!r} is for ONNX Runtime: --runtime onnx")
    check_device(name)
    return name


def check_device(name: str) -> None:
    """Raises ConfigError for a device that this machine, or this torch, does not have."""
    import torch

    try:
        torch.zeros(1, device=name)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ConfigError(f"device {name!r} is not there: {reason[:LONGEST_REASON]}") from error


def _of_onnx(name: str) -> str:
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if name == AUTO:
        return "cuda" if PROVIDERS["cuda"][0] in there else "cpu"
    provider, package = PROVIDERS[name.partition(":")[0]]
    if provider not in there:
        raise MissingPackageError(f"device {name!r} needs ONNX Runtime's {provider}: pip install {package}")
    return name


def execution_provider(name: str) -> tuple[str, dict[str, Any]]:
    """ONNX Runtime's provider for a device, and its options."""
    kind, _, number = name.partition(":")
    return PROVIDERS[kind][0], {"device_id": int(number)} if number else {}
