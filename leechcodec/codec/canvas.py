"""Pictures between Pillow's images and the networks' numbers, in strips of rows: no second copy of a large one.

image ─▶ padded_pixels ─▶ uint8 (1, 3, H, W)            float32 rows ─▶ Canvas ─▶ image
"""

import numpy as np
from PIL import Image

from leechcodec.config import ALIGNMENT
from leechcodec.formats.container import check_size
from leechcodec.formats.images import from_array, to_rgb
from leechcodec.formats.strips import strips


def padded_pixels(image: Image.Image) -> np.ndarray:
    """An image as the networks take it: uint8 (1, 3, H, W), sides padded to multiples of 64 by repeating the last row
    and column. Raises ImageError for an empty image or a mode without colours, TooLargeError."""
    check_size(image.width, image.height)
    image = to_rgb(image)
    height, width = image.height, image.width
    pixels = np.empty((height + -height % ALIGNMENT, width + -width % ALIGNMENT, 3), dtype=np.uint8)
    for rows, strip in strips(image):
        pixels[rows, :width] = np.asarray(strip)
    pixels[:height, width:] = pixels[:height, width - 1 : width]
    pixels[height:] = pixels[height - 1]
    return pixels.transpose(2, 0, 1)[None]


class Canvas:
    """An RGB image of 8 bits that the networks draw, rows from top to bottom. size: (height, width) in pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size, self._row = size, 0
        self._image: Image.Image | None = None

    def draw(self, x_hat: np.ndarray) -> None:
        """The next rows, float32 (1, 3, n, W), values about -1..1, which are overwritten. Padding is left out."""
        height, width = self._size
        levels = x_hat[0, :, : height - self._row, :width]
        levels += 1
        levels *= 127.5
        np.rint(levels, out=levels)
        np.clip(levels, 0, 255, out=levels)
        rows = from_array(np.ascontiguousarray(levels.transpose(1, 2, 0), dtype=np.uint8)) if levels.size else None
        if self._row == 0 and levels.shape[1] == height:
            self._image = rows
        elif rows is not None:
            if self._image is None:
                self._image = Image.new("RGB", (width, height))
            self._image.paste(rows, (0, self._row))
        self._row += levels.shape[1]

    @property
    def image(self) -> Image.Image:
        """The image, once it is drawn."""
        if self._image is None or self._row < self._size[0]:
            raise RuntimeError(f"{self._row} of {self._size[0]} rows are drawn")
        return self._image
