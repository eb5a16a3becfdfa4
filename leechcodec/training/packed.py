"""A run's averaged weights in 5 bits each: small enough to be kept beside the code, good enough to go on from.

Matrices are kept in levels (codec/weight_storage.py). Errors do not matter alike: at equal units a weight of the
synthesis transform costs four times as much of the score as one of the analysis transform, and forty times as much as
one of the prior. Where all bits are worth the same, units are as below (docs/experiments.md). Vectors, and all else
that is small, are float16.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from torch import Tensor

from leechcodec.codec.weight_storage import TENSORS, restored, stored
from leechcodec.errors import ModelError

UNITS = {"analysis": 9, "synthesis": 18, "prior": 3}
"""Of a root mean square, by the part of the model."""


def pack(checkpoint: Path, path: Path, units: Mapping[str, float] = UNITS) -> None:
    """Write the averaged weights of a checkpoint.

    units: of a root mean square, by the part of the model. Finer ones cost little where weights lie near what an
        earlier file could hold, as they do some hundred steps after a start from it at low rates.
    Raises ModelError for what is no checkpoint.
    """
    metadata, tensors = averages(checkpoint)
    kept, about = stored({name: value.float().numpy() for name, value in tensors.items()}, units)
    halves = {name: value.astype(np.float16) if value.dtype == np.float32 else value for name, value in kept.items()}
    save_file(halves, path, {**metadata, **about})


def averages(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata (step, seconds, config) and averaged weights of a checkpoint, packed or not; of a learned quantizer its
    buffers too.

    Raises ModelError for what is none.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            names = list(file.keys())
            if TENSORS in metadata:
                whole = restored({name: file.get_tensor(name).numpy() for name in names}, metadata)
                del metadata[TENSORS]
                return metadata, {name: torch.from_numpy(value.copy()).float() for name, value in whole.items()}
            found: dict[str, Tensor] = {}
            for name in sorted(names):  # "ema." before "model.": an average where there is one, else a buffer
                if name.startswith(("ema.", "model.quantizer.")):
                    found.setdefault(name.partition(".")[2], file.get_tensor(name))
            return {name: metadata[name] for name in ("step", "seconds", "config")}, found
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path}: not a training checkpoint ({error})") from error


def save_averages(path: Path, metadata: dict[str, str], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`averages`: a file for `leechcodec train --init`, or to be packed."""
    save_torch_file({f"ema.{name}": value.contiguous() for name, value in tensors.items()}, path, metadata)
