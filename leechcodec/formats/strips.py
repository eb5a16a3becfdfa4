"""A large image a few rows at a time."""

from collections.abc import Iterator

from PIL import Image

STRIP_PIXELS = 1 << 21
"""Of an image in a strip, about."""


def strips(image: Image.Image, margin: int = 0) -> Iterator[tuple[slice, Image.Image]]:
    """Rows of an image, from top to bottom: which they are, and an image of them.

    margin: of so many rows more on either side, where the image has them.
    """
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    if rows >= image.height:
        yield slice(0, image.height), image
        return
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        box = (0, max(0, top - margin), image.width, min(bottom + margin, image.height))
        yield slice(top, bottom), image.crop(box)
