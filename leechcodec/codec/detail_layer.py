"""The detail layer of a file: what the decoded picture lacks, in a chunk of its own (leechcodec/detail).

    picture ─▶ ( − ) ─▶ transform ─▶ points of the lattice ─▶ chunk ─▶ transform ─▶ ( + ) ─▶ picture
                 ▲                                                                    ▲
                 └──────────── the picture that the tokens decode to ─────────────────┘

The decoded picture is rounded to 8 bits first. Machines may differ there by a level in a pixel here and there, and then
differ by as much in the end; the chunk decodes all the same.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from leechcodec.detail.coding import STEP_UNIT, decode_detail, encode_detail
from leechcodec.detail.transform import forward, inverse
from leechcodec.errors import ConfigError, TooLargeError
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.formats.images import from_array

BASE_QUALITY = 85.0
"""Of the tokens below a layer that a target asks for."""
MAX_DETAIL_PIXELS = 1 << 24
"""Of a picture with a layer: its coefficients are in memory together, some 150 bytes a pixel."""
COARSEST, FINEST = 60.0, 0.25
"""Steps, in levels, between which a target is looked for."""


def step_at(place: float) -> float:
    """The step at a place from 1 (coarsest) to 100 (finest), even in its logarithm."""
    return COARSEST * (FINEST / COARSEST) ** ((place - 1) / 99)


def detail_chunk(colours: np.ndarray, decoded: Image.Image, step: float) -> tuple[Chunk, Image.Image]:
    """The chunk for a picture and what its tokens decode to, and the picture with it.

    colours: uint8 (H, W, 3). step: what an integer unit of the lattice stands for, in levels, 1/1024 to 63.
    Raises ConfigError for another step, TooLargeError for a picture of more than 2^24 pixels.
    """
    units = round(step / STEP_UNIT) if 0 < step < 64 else 0
    if not 0 < units < 2**16:
        raise ConfigError(f"a step of the detail layer lies within 1/1024 and 63 levels, got {step}")
    _check_pixels(decoded)
    residual = colours.astype(np.float64) - np.asarray(decoded)
    payload, points = encode_detail(forward(residual), units)
    return Chunk(ChunkKind.DETAIL, payload), _added(decoded, points * (units * STEP_UNIT))


def with_detail(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """The picture with a file's detail layer; as it is where the file has none.

    Raises CorruptError for a bad chunk, TooLargeError for a picture of more than 2^24 pixels.
    """
    payload = next((chunk.payload for chunk in chunks if chunk.kind == ChunkKind.DETAIL), None)
    if payload is None:
        return decoded
    _check_pixels(decoded)
    return _added(decoded, decode_detail(payload, (decoded.height, decoded.width)))


def _added(decoded: Image.Image, coefficients: np.ndarray) -> Image.Image:
    levels = np.asarray(decoded) + inverse(coefficients, (decoded.height, decoded.width))
    return from_array(levels.round().clip(0, 255).astype(np.uint8))


def _check_pixels(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_DETAIL_PIXELS:
        raise TooLargeError(f"{picture.width} x {picture.height} pixels, too many for a detail layer (2^24)")
