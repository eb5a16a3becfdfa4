"""JPEG, WebP and AVIF at the size of a file of ours: bisection on their own dial."""

import math
from collections.abc import Callable

from PIL import Image

from leechcodec.apps.serve.work import Answer, Check, Part, bits_per_pixel, decibels
from leechcodec.errors import LqError
from leechcodec.lab.peers.base import Setting
from leechcodec.lab.peers.pillow import Avif, Jpeg, PillowPeer, WebP

LOWEST, HIGHEST = 1, 100
NEAR = 0.005
"""A file that close in size, as a share, ends the search."""


class QuickAvif(Avif):
    """AV1 intra, 4:4:4, at the speed that its own tools choose, on one thread: the dial may move at any time."""

    description = "AVIF by Pillow (libavif), 4:4:4, speed 6"

    def save_options(self, setting: Setting) -> dict:
        return super().save_options(setting) | {"speed": 6, "max_threads": 1}


def installed() -> dict[str, PillowPeer]:
    """The codecs that this Pillow has, by key."""
    return {peer.key: peer for peer in (Jpeg(), WebP(), QuickAvif()) if peer.available() is None}


def at_size(image: Image.Image, peer: PillowPeer, size: int, sizes: dict[int, int], check: Check) -> Answer:
    """A codec's file of the picture that comes nearest to a size in bytes, and what it measures.

    sizes: quality -> bytes of files made before; added to. check: called before each encoding, to raise where
    the work has become pointless.
    """

    def encode(quality: int) -> bytes:
        check()
        try:
            data = peer.encode(image, peer.setting(quality))
        except (OSError, RuntimeError, ValueError) as error:  # WebP, say, ends at 16,383 pixels a side, AVIF at 65,536
            raise LqError(f"{peer.name}: {error}") from None
        sizes[quality], files[quality] = len(data), data
        return data

    files: dict[int, bytes] = {}
    quality = nearest_quality(lambda quality: len(encode(quality)), size, sizes)
    data = files.get(quality) or encode(quality)
    facts = {
        "codec": peer.key,
        "name": peer.name,
        "quality": quality,
        "bytes": len(data),
        "bpp": bits_per_pixel(data, image),
        "psnr": decibels(image, peer.decode(data)),
        "gap": round(100 * (len(data) / size - 1), 2),
    }
    return Answer(facts, (Part(data, Image.MIME[peer.file_format]),))


def nearest_quality(size_of: Callable[[int], int], target: int, sizes: dict[int, int]) -> int:
    """The quality 1..100 whose file comes nearest to a size, by ratio.

    sizes: what is known already, quality -> bytes; size_of, which adds to it, is asked for the rest.
    """
    low = max((quality for quality, size in sizes.items() if size <= target), default=LOWEST - 1)
    high = min((quality for quality, size in sizes.items() if size > target and quality > low), default=HIGHEST + 1)

    def distance(quality: int) -> float:
        return abs(math.log(sizes[quality] / target))

    while high - low > 1:
        near = min(sizes, key=distance, default=None)
        if near is not None and distance(near) <= NEAR:
            return near
        middle = (low + high) // 2
        if size_of(middle) <= target:
            low = middle
        else:
            high = middle
    return min((quality for quality in (low, high) if quality in sizes), key=distance)
