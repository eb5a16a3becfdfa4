"""A run's averaged weights in 5 bits each: small enough to be kept beside the code, good enough to go on from.

A row of a matrix is stored in units of its root mean square, by a Huffman code alone (RFC 1951). Errors do not matter
alike: at equal units a weight of the synthesis transform costs four times as much of the score as one of the analysis
transform, and forty times as much as one of the prior. Where all bits are worth the same, units are as below
(docs/experiments.md). Vectors, and all else that is small, are float16.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from leechcodec.errors import ModelError

UNITS = {"analysis": 9, "synthesis": 18, "prior": 3}
"""Of a root mean square, by the part of the model."""
OTHER_UNITS = 8
LARGEST = 127
"""Units are larger where a row's largest weight would not fit: one weight that is cut off costs more than all that are
rounded."""
SMALL = 4096
"""Values that are kept as they are."""


def pack(checkpoint: Path, path: Path, units: Mapping[str, float] = UNITS) -> None:
    """Write the averaged weights of a checkpoint.

    units: of a root mean square, by the part of the model. Finer ones cost little where weights lie near what an
        earlier file could hold, as they do some hundred steps after a start from it at low rates.
    Raises ModelError for what is no checkpoint.
    """
    metadata, tensors = averages(checkpoint)
    kept: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    levels: list[bytes] = []
    for name, value in sorted(tensors.items()):
        if value.dim() < 2 or value.numel() < SMALL:
            kept[name] = value.half()
            continue
        rows = value.float().flatten(1)
        finer = units.get(name.partition(".")[0], OTHER_UNITS)
        spread = torch.maximum(rows.square().mean(1).sqrt() / finer, rows.abs().amax(1) / LARGEST)
        kept[f"units.{name}"] = steps = spread.clamp(min=2.0**-24).half()
        shapes[name] = list(value.shape)
        integers = (rows / steps.float()[:, None]).round().clamp(-LARGEST, LARGEST)
        levels.append(integers.numpy().astype(np.int8).tobytes())
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    packed = deflate.compress(b"".join(levels)) + deflate.flush()
    kept["levels"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
    save_file(kept, path, {**metadata, "shapes": json.dumps(shapes)})


def averages(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata (step, seconds, config) and averaged weights of a checkpoint, packed or not; of a learned quantizer its
    buffers too.

    Raises ModelError for what is none.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            names = list(file.keys())
            if "shapes" in metadata:
                return metadata, _unpacked({name: file.get_tensor(name) for name in names}, metadata.pop("shapes"))
            found: dict[str, Tensor] = {}
            for name in sorted(names):  # "ema." before "model.": an average where there is one, else a buffer
                if name.startswith(("ema.", "model.quantizer.")):
                    found.setdefault(name.partition(".")[2], file.get_tensor(name))
            return {name: metadata[name] for name in ("step", "seconds", "config")}, found
    except (OSError, KeyError, ValueError, RuntimeError, zlib.error, SafetensorError) as error:
        raise ModelError(f"{path}: not a training checkpoint ({error})") from error


def save_averages(path: Path, metadata: dict[str, str], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`averages`: a file for `leechcodec train --init`, or to be packed."""
    save_file({f"ema.{name}": value.contiguous() for name, value in tensors.items()}, path, metadata)


def _unpacked(tensors: dict[str, Tensor], written: str) -> dict[str, Tensor]:
    shapes: dict[str, list[int]] = json.loads(written)
    count = sum(map(math.prod, shapes.values()))
    levels = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(tensors.pop("levels").numpy().tobytes(), count)
    rest = torch.from_numpy(np.frombuffer(levels, dtype=np.int8).copy())
    found: dict[str, Tensor] = {}
    for name, shape in sorted(shapes.items()):
        own, rest = rest[: math.prod(shape)], rest[math.prod(shape) :]
        units = tensors.pop(f"units.{name}").float()
        found[name] = (own.reshape(len(units), -1) * units[:, None]).reshape(shape)
    return found | {name: value.float() for name, value in tensors.items()}
