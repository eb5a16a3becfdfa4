"""The transforms computed by torch (runtime.py), and torch's networks from the tensors of a model's file."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from leechcodec.config import ModelConfig
from leechcodec.errors import ModelError
from leechcodec.networks.integer_prior_weights import float_weights
from leechcodec.networks.model import CodecModel
from leechcodec.networks.runtime import Show, Transforms


class TorchTransforms(Transforms):
    """The transforms of a model in evaluation mode, whose parameters lie on a device. Arrays go there and come back."""

    def __init__(self, model: CodecModel, device: str = "cpu") -> None:
        self.model, self.device = model.to(device), device

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, quality: float, show: Show | None = None) -> list[np.ndarray]:
        with _full_precision(self.device):
            batch = as_batch(pixels).to(self.device)
            if show is None:
                return as_arrays(self.model.encode(batch, quality))
            codes, x_hat = self.model.encode_and_decode(batch, quality)
            show(x_hat.cpu().numpy())
            return as_arrays(codes)

    @torch.inference_mode()
    def decode(self, codes: Sequence[np.ndarray], height: int, width: int, quality: float, show: Show) -> None:
        with _full_precision(self.device):
            tensors = [code.to(self.device) for code in as_tensors(codes)]
            show(self.model.decode(tensors, height, width, quality).cpu().numpy())


def _full_precision(device: str) -> AbstractContextManager[None]:
    """CUDA's convolutions in float32, as on the processor; by default they round to 10 bits, which moves pixels."""
    if not device.startswith("cuda"):
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def as_batch(pixels: np.ndarray) -> Tensor:
    """With torch's own strides: numpy's of a batch of one differ, and torch, which goes by them, rounds otherwise."""
    return torch.from_numpy(pixels[0].transpose(1, 2, 0)).permute(2, 0, 1)[None]


def as_arrays(codes: Sequence[Tensor]) -> list[np.ndarray]:
    """Codes of the networks, (1, dim, h, w) per stage, as arrays (h, w, dim)."""
    return [code[0].permute(1, 2, 0).contiguous().cpu().numpy() for code in codes]


def as_tensors(codes: Sequence[np.ndarray]) -> list[Tensor]:
    """The inverse of :func:`as_arrays`."""
    return [torch.from_numpy(np.array(code)).permute(2, 0, 1)[None] for code in codes]


def torch_model(config: ModelConfig, tensors: Mapping[str, np.ndarray]) -> CodecModel:
    """Networks in evaluation mode, without gradients, from the tensors of a model's file.

    Raises ModelError where they do not fit the config.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):  # no step of the caller's random numbers
        return _torch_model(config, tensors)


def _torch_model(config: ModelConfig, tensors: Mapping[str, np.ndarray]) -> CodecModel:
    model = CodecModel(config)
    integers, codebook, state = {}, {}, {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if part == "prior":
            integers[rest] = value
        elif part == "quantizer":
            codebook[rest] = value
        else:
            state[name] = torch.from_numpy(value.astype(np.float32))
    model.quantizer.load_frozen(codebook)
    state |= {f"quantizer.{name}": value for name, value in model.quantizer.state_dict().items()}
    state |= {f"prior.{name}": torch.from_numpy(value) for name, value in float_weights(integers).items()}
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(f"weights do not fit the config ({str(error).splitlines()[0]})") from error
    # A layer norm reads the channels of a position side by side: 7 % of a decoding, a tenth of a refinement's step.
    model.to(memory_format=torch.channels_last)  # pyright: ignore (torch's types know no memory format here)
    return model.eval().requires_grad_(False)
