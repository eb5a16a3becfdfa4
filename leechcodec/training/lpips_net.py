"""LPIPS v0.1 (AlexNet) by the lpips package, with the backbone from a file, so that nothing is downloaded.

The file holds torchvision's AlexNet convolutions, ``features.N.weight`` and ``features.N.bias`` for N = 0, 3, 6, 8,
10: a .safetensors file (``leechcodec data lpips`` makes one), or torchvision's own ``alexnet-owt-7be5be79.pth``.
The linear layers come with the package.
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from leechcodec.errors import ModelError
from leechcodec.formats.packages import require

FILE_NAME = "alexnet_features.safetensors"
SMALLEST_SIDE = 31
"""Pixels: AlexNet's strides leave nothing of a shorter side."""
CONVOLUTIONS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Layer number -> output channels, input channels, side of the kernel."""
SLICES = ((0,), (3,), (6,), (8,), (10,))
"""Convolutions of each of the package's five slices of the backbone."""


class Lpips:
    """LPIPS of pairs of images.

    weights: the backbone's file, or a folder with a file named ``alexnet_features.safetensors``. Raises ModelError
    where it is missing or of another network, MissingPackageError where lpips is not installed.
    """

    def __init__(self, weights: str | Path):
        backbone = read_backbone(find_weights(weights))
        with _torchvision(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision by names that it deprecates
            package = require("lpips")
            self.net = package.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        state = {
            f"net.slice{1 + number}.{layer}.{part}": backbone[f"features.{layer}.{part}"]
            for number, layers in enumerate(SLICES)
            for layer in layers
            for part in ("weight", "bias")
        }
        unexpected = self.net.load_state_dict(state, strict=False).unexpected_keys
        if unexpected:
            raise ModelError(f"this version of lpips has no layer {unexpected[0]}")
        self.net.eval().requires_grad_(False)

    @torch.inference_mode()
    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        """LPIPS of two uint8 (height, width, 3) arrays of one shape, sides of at least 31 pixels."""
        return self.net(_tensor(a), _tensor(b)).item()


def find_weights(weights: str | Path) -> Path:
    """The backbone's file, from its path or its folder's. Raises ModelError where there is none."""
    path = Path(weights)
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise ModelError(f"{path}: no LPIPS backbone there; leechcodec data lpips gets it")
    return path


def read_backbone(path: Path) -> dict[str, Tensor]:
    """AlexNet's convolutions, float32, names as torchvision's. Raises ModelError for anything else."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"{path}: {str(error).splitlines()[0]}") from None
    except Exception as error:  # the unpickler's own error, whose module moved between releases
        raise ModelError(f"{path}: not a file of weights ({type(error).__name__})") from None
    wanted = {}
    for layer, (outputs, inputs, side) in CONVOLUTIONS.items():
        for part, shape in (("weight", (outputs, inputs, side, side)), ("bias", (outputs,))):
            name = f"features.{layer}.{part}"
            tensor = tensors.get(name) if isinstance(tensors, dict) else None
            if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
                raise ModelError(f"{path}: no tensor {name} of shape {shape}: not torchvision's AlexNet")
            wanted[name] = tensor.float()
    return wanted


@contextlib.contextmanager
def _torchvision() -> Iterator[None]:
    """Let the lpips package load where torchvision does not.

    lpips asks torchvision for one thing that is used here, the layer list of AlexNet. Where torchvision is missing,
    or was built for another torch and fails to load, a stand-in has that list while lpips is imported.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError, AttributeError):
        stand_in = ModuleType("torchvision")
        vars(stand_in)["models"] = SimpleNamespace(alexnet=_alexnet)
        sys.modules["torchvision"] = stand_in
        try:
            yield
        finally:
            sys.modules.pop("torchvision", None)
    else:
        yield


def _alexnet(pretrained: bool = False) -> SimpleNamespace:
    """The feature layers of torchvision's AlexNet, numbered alike, untrained."""
    layers: list[nn.Module] = []
    for number, (outputs, inputs, side) in CONVOLUTIONS.items():
        stride, padding = (4, 2) if number == 0 else (1, side // 2)
        layers += [nn.Conv2d(inputs, outputs, side, stride, padding), nn.ReLU()]
        if number in (0, 3, 10):
            layers.append(nn.MaxPool2d(3, 2))
    return SimpleNamespace(features=nn.Sequential(*layers))


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
