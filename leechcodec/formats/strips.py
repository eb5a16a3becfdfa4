"""A large image a few rows at a time."""

from collections.abc import Iterator

from PIL import Image

STRIP_PIXELS = 1 << 21
"""Of an image in a strip, about."""


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Rows of an image, from top to bottom: which they are, and an image of them."""
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    if rows >= image.height:
        yield slice(0, image.height), image
        return
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))
