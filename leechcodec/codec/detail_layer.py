"""The detail layer of a file: what the decoded picture lacks, in a chunk of its own (leechcodec/detail).

    picture ─▶ ( − ) ─▶ transform ─▶ ( ÷ ) ─▶ points of the lattice ─▶ chunk ─▶ ( × ) ─▶ transform ─▶ ( + ) ─▶ picture
                 ▲                     ▲                                           ▲                     ▲
                 │                     └───────────────── steps ───────────────────┘                     │
                 └──────────────────────────── the picture that the tokens decode to ────────────────────┘

The decoded picture is rounded to 8 bits first. Machines may differ there by a level in a pixel here and there, and then
differ by as much in the end; the chunk decodes all the same. Large pictures are worked on in strips (detail/strips.py).
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from leechcodec.codec.dial import layer_of, step_at
from leechcodec.config import hundredths
from leechcodec.detail.coding import decode_detail, encode_detail
from leechcodec.detail.head import STEP_UNIT
from leechcodec.detail.steps import of_blocks, relative_steps
from leechcodec.detail.strips import join, split, strips
from leechcodec.detail.transform import SIDE, forward, inverse
from leechcodec.errors import ConfigError
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.formats.images import from_array


def detail_chunk(colours: np.ndarray, decoded: Image.Image, quality: float) -> tuple[Chunk, Image.Image]:
    """The chunk at a quality of the dial above the entry, and the picture with it.

    colours: uint8 (H, W, 3), the picture. decoded: what its tokens decode to.
    Raises ConfigError for a quality that has no layer.
    """
    below = np.asarray(decoded)
    rows = strips(*below.shape[:2])
    squares = sum(float(np.square(_missing(colours, below, own)).sum()) for own in rows)
    step = step_at(quality, math.sqrt(squares / below.size))
    if step is None:
        raise ConfigError(f"no detail layer at quality {quality:g}")
    units, blocks = round(step / STEP_UNIT), of_blocks(below)
    picture, parts = np.empty_like(below), list[bytes]()
    for own in rows:
        steps = _steps(blocks, own)
        data, points = encode_detail(forward(_missing(colours, below, own)) / steps, units, hundredths(quality))
        parts.append(data)
        picture[own] = added(below[own], points * (units * STEP_UNIT) * steps)
    return Chunk(ChunkKind.DETAIL, join(parts)), from_array(picture)


def with_detail(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """The picture with a file's detail layer; as it is where the file has none.

    Raises CorruptError for a bad chunk, TooLargeError for one in one piece of more than 2^24 pixels.
    """
    payload = layer_of(chunks)
    if payload is None:
        return decoded
    below = np.asarray(decoded)
    parts, blocks, picture = split(payload, *below.shape[:2]), of_blocks(below), np.empty_like(below)
    for own, data in parts:
        coefficients = decode_detail(data, below[own].shape[:2])
        picture[own] = added(below[own], coefficients * _steps(blocks, own))
    return from_array(picture)


def added(below: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), with a layer's coefficients, float64 (3, 64, h, w) in pixel levels."""
    levels = below + inverse(coefficients, below.shape[:2])
    return levels.round().clip(0, 255).astype(np.uint8)


def _missing(colours: np.ndarray, below: np.ndarray, rows: slice) -> np.ndarray:
    """What a strip lacks: float64 (h, W, 3)."""
    return colours[rows].astype(np.float64) - below[rows]


def _steps(blocks: np.ndarray, rows: slice) -> np.ndarray:
    """A strip's relative steps, float64 (64, rows, columns). blocks: of the whole picture."""
    return relative_steps(blocks[rows.start // SIDE : -(-rows.stop // SIDE)])
