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
from leechcodec.formats.container import FRAME_SIZE, Chunk, ChunkKind, payload_of
from leechcodec.formats.images import from_array
from leechcodec.formats.strips import strips
from leechcodec.postfilter.coding import pack, unpack, weights_of
from leechcodec.postfilter.equations import equations
from leechcodec.postfilter.fitting import fit
from leechcodec.postfilter.kernels import filtered
from leechcodec.postfilter.terms import MARGIN, around, levels_of, planes_of
from leechcodec.threads import in_parts

_STRIP_PIXELS = 1 << 16
"""Of a strip that is filtered at once: its planes stay in the cache."""
_PRICE = 4 / 3
"""Of a bit, in those of the trade-off. Along the dial squared error falls faster with the rate than the trade-off says,
since a share of the training loss is for what people see."""


def filter_chunk(
    colours: np.ndarray, decoded: Image.Image, lmbda: float, *, grey: bool = False, frame: int = FRAME_SIZE
) -> Chunk | None:
    """The chunk that pays for itself, None where none does.

    colours: uint8 (H, W, 3), the picture. decoded: what its tokens decode to. lmbda: the trade-off, what a squared
    level of mean error is worth in bits per pixel. grey: the picture is shown without its chroma. frame: bytes of a
    file that the chunk takes beside its payload.
    """
    below = np.asarray(decoded)
    found = equations(colours, below)
    # A pixel's squared error in levels is 3 · 127.5² times that of its planes, and a mean over three channels.
    bit_worth = _PRICE * found.pixels / (below.shape[0] * below.shape[1]) / (lmbda * 127.5**2)
    numbers, e = fit(found, bit_worth, 1 if grey else CHANNELS)
    payload = pack(numbers, e)
    bits = 8 * (frame + len(payload))
    return Chunk(ChunkKind.FILTER, payload) if found.saved(weights_of(numbers, e)) > bits * bit_worth else None


def with_filter(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """The picture after a file's post-filter; as it is where the file has none. Raises CorruptError for a bad chunk."""
    payload = payload_of(chunks, ChunkKind.FILTER)
    if payload is None:
        return decoded
    weights, picture = weights_of(*unpack(payload)), Image.new("RGB", decoded.size)
    for rows, near in strips(decoded, MARGIN):  # no array of a whole large picture
        own = _filtered(np.asarray(near), min(rows.start, MARGIN), rows.stop - rows.start, weights)
        picture.paste(from_array(own), (0, rows.start))
    return picture


def _filtered(near: np.ndarray, first: int, count: int, weights: np.ndarray) -> np.ndarray:
    """Some rows of levels (H, W, 3) after the filter: uint8 (count, W, 3). near: with 4 rows more on either side, where
    the picture has them."""
    found, each = np.empty_like(near[:count]), max(1, _STRIP_PIXELS // near.shape[1])

    def fill(part: slice) -> None:
        for start in range(part.start, part.stop, each):
            stop = min(start + each, part.stop)
            levels = around(near, np.arange(first + start - MARGIN, first + stop + MARGIN))
            found[start:stop] = levels_of(filtered(planes_of(levels), weights))

    in_parts(fill, count, each)
    return found
