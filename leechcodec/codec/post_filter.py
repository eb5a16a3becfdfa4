"""The post-filter of a file: a chunk of some 20 to 70 bytes that brings the decoded picture nearer to the original
(leechcodec/postfilter).

    original, picture that the tokens decode to ─▶ terms, weights worth their bits ─▶ chunk ─▶ picture + Σ weight · term

The decoded picture is rounded to 8 bits first. Machines may differ there by a level in a pixel here and there, and then
differ by as much in the end. A detail layer lies on the filtered picture.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from leechcodec.detail.transform import CHANNELS
from leechcodec.formats.container import FRAME_SIZE, Chunk, ChunkKind
from leechcodec.formats.images import from_array
from leechcodec.postfilter.coding import pack, unpack, weights_of
from leechcodec.postfilter.fitting import equations, fit, saved
from leechcodec.postfilter.kernels import filtered
from leechcodec.postfilter.terms import MARGIN, around, levels_of, planes_of
from leechcodec.threads import in_parts

_STRIP_PIXELS = 1 << 16
"""Of a strip that is filtered at once: its planes stay in the cache."""
_PRICE = 4 / 3
"""Of a bit, in those of the trade-off. Along the dial squared error falls faster with the rate than the trade-off says,
since a share of the training loss is for what people see."""


def filter_chunk(colours: np.ndarray, decoded: Image.Image, lmbda: float, grey: bool = False) -> Chunk | None:
    """The chunk that pays for itself, None where none does.

    colours: uint8 (H, W, 3), the picture. decoded: what its tokens decode to. lmbda: the trade-off, what a squared
    level of mean error is worth in bits per pixel. grey: the picture is shown without its chroma.
    """
    below = np.asarray(decoded)
    found = equations(colours, below)
    # A pixel's squared error in levels is 3 · 127.5² times that of its planes, and a mean over three channels.
    bit_worth = _PRICE * found.pixels / (below.shape[0] * below.shape[1]) / (lmbda * 127.5**2)
    numbers, e = fit(found, bit_worth, 1 if grey else CHANNELS)
    payload = pack(numbers, e)
    bits = 8 * (FRAME_SIZE + len(payload))
    return Chunk(ChunkKind.FILTER, payload) if saved(found, weights_of(numbers, e)) > bits * bit_worth else None


def with_filter(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """The picture after a file's post-filter; as it is where the file has none. Raises CorruptError for a bad chunk."""
    payload = next((chunk.payload for chunk in chunks if chunk.kind == ChunkKind.FILTER), None)
    if payload is None:
        return decoded
    weights, below = weights_of(*unpack(payload)), np.asarray(decoded)
    picture, rows = np.empty_like(below), max(1, _STRIP_PIXELS // below.shape[1])

    def fill(part: slice) -> None:
        for top in range(part.start, part.stop, rows):
            bottom = min(top + rows, part.stop)
            near = around(below, np.arange(top - MARGIN, bottom + MARGIN))
            picture[top:bottom] = levels_of(filtered(planes_of(near), weights))

    in_parts(fill, len(below), rows)
    return from_array(picture)
