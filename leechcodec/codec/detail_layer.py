"""The detail layer of a file: what the decoded picture lacks, in a chunk of its own (leechcodec/detail).

    picture ─▶ ( − ) ─▶ transform ─▶ ( ÷ ) ─▶ points of the lattice ─▶ chunk ─▶ ( × ) ─▶ transform ─▶ ( + ) ─▶ picture
                 ▲                     ▲                                           ▲                     ▲
                 │                     └───────────────── steps ───────────────────┘                     │
                 └──────────────────────────── the picture that the tokens decode to ────────────────────┘

The decoded picture is rounded to 8 bits first. Machines may differ there by a level in a pixel here and there, and then
differ by as much in the end; the chunk decodes all the same.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from leechcodec.codec.dial import layer_of, step_at
from leechcodec.config import hundredths
from leechcodec.detail.coding import decode_detail, encode_detail
from leechcodec.detail.head import STEP_UNIT
from leechcodec.detail.steps import relative_steps
from leechcodec.detail.transform import forward, inverse
from leechcodec.errors import ConfigError, TooLargeError
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.formats.images import from_array

MAX_DETAIL_PIXELS = 1 << 24
"""Of a picture with a layer: its coefficients are in memory together, some 150 bytes a pixel."""


def detail_chunk(colours: np.ndarray, decoded: Image.Image, quality: float) -> tuple[Chunk, Image.Image]:
    """The chunk at a quality of the dial above the entry, and the picture with it.

    colours: uint8 (H, W, 3), the picture. decoded: what its tokens decode to.
    Raises TooLargeError for a picture of more than 2^24 pixels, ConfigError for a quality that has no layer.
    """
    _check_pixels(decoded)
    residual = colours.astype(np.float64) - np.asarray(decoded)
    step = step_at(quality, float(np.sqrt(np.square(residual).mean())))
    if step is None:
        raise ConfigError(f"no detail layer at quality {quality:g}")
    units = round(step / STEP_UNIT)
    steps = relative_steps(np.asarray(decoded))
    payload, points = encode_detail(forward(residual) / steps, units, hundredths(quality))
    return Chunk(ChunkKind.DETAIL, payload), added(decoded, points * (units * STEP_UNIT) * steps)


def with_detail(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """The picture with a file's detail layer; as it is where the file has none.

    Raises CorruptError for a bad chunk, TooLargeError for a picture of more than 2^24 pixels.
    """
    payload = layer_of(chunks)
    if payload is None:
        return decoded
    _check_pixels(decoded)
    coefficients = decode_detail(payload, (decoded.height, decoded.width))
    return added(decoded, coefficients * relative_steps(np.asarray(decoded)))


def added(decoded: Image.Image, coefficients: np.ndarray) -> Image.Image:
    """The picture with a layer's coefficients, float64 (3, 64, h, w) in pixel levels."""
    levels = np.asarray(decoded) + inverse(coefficients, (decoded.height, decoded.width))
    return from_array(levels.round().clip(0, 255).astype(np.uint8))


def _check_pixels(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_DETAIL_PIXELS:
        raise TooLargeError(f"{picture.width} x {picture.height} pixels, too many for a detail layer (2^24)")
