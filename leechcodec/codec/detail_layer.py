"""The detail layer of a file: what the decoded picture lacks, in a chunk of its own (leechcodec/detail).

The decoded picture is rounded to 8 bits first. Machines may differ there by a level in a pixel here and there, and then
differ by as much in the end; the chunk decodes all the same.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from leechcodec.detail.coding import STEP_UNIT, decode_detail, encode_detail
from leechcodec.detail.transform import forward, inverse
from leechcodec.errors import ConfigError
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.formats.images import from_array


def detail_chunk(colours: np.ndarray, decoded: Image.Image, step: float) -> Chunk:
    """The chunk for a picture and what its tokens decode to.

    colours: uint8 (H, W, 3). step: what an integer unit of the lattice stands for, in levels, 1/1024 to 63.
    Raises ConfigError for another step.
    """
    units = round(step / STEP_UNIT) if 0 < step < 64 else 0
    if not 0 < units < 2**16:
        raise ConfigError(f"a step of the detail layer lies within 1/1024 and 63 levels, got {step}")
    residual = colours.astype(np.float64) - np.asarray(decoded)
    return Chunk(ChunkKind.DETAIL, encode_detail(forward(residual), units)[0])


def with_detail(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """The picture with a file's detail layer; as it is where the file has none. Raises CorruptError for a bad chunk."""
    payload = next((chunk.payload for chunk in chunks if chunk.kind == ChunkKind.DETAIL), None)
    if payload is None:
        return decoded
    size = (decoded.height, decoded.width)
    levels = np.asarray(decoded) + inverse(decode_detail(payload, size), size)
    return from_array(levels.round().clip(0, 255).astype(np.uint8))
