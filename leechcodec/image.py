"""Photographs in and out, through Pillow, with typed errors."""

import io
import os
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from leechcodec.bitstream import MAX_PIXELS, check_size
from leechcodec.errors import ImageError, TooLargeError


def load_image(source: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image as RGB, EXIF orientation applied.

    Grey, palette, CMYK and 16-bit grey images are converted; transparent ones are laid on white, with a warning.
    Raises ImageError (missing, unreadable, truncated, empty) or TooLargeError (more than max_pixels).
    """
    name = os.fspath(source) if isinstance(source, str | Path) else getattr(source, "name", "standard input")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(source)
        check_size(image.width, image.height, max_pixels)
        image.load()
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read") from None
    except (Image.DecompressionBombError, TooLargeError) as error:
        raise TooLargeError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers trip over
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{name}: {reason}") from None
    return to_rgb(_upright(image, name), name)


def _upright(image: Image.Image, name: str) -> Image.Image:
    """The image with its EXIF orientation applied; damaged EXIF does not spoil good pixels."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:
        warnings.warn(f"{name}: damaged EXIF data, orientation ignored", stacklevel=3)
        return image


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """Any Pillow mode to RGB; raises ImageError for an empty image and for modes that have no RGB form."""
    if not image.width or not image.height:
        raise ImageError(f"{name}: {image.width} x {image.height} pixels")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image, dtype=np.float64).clip(0, 65535) / 257
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point images are not supported; convert to 8 bits first")
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        rgba = image.convert("RGBA")
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None
    if rgba.getchannel("A").getextrema()[0] < 255:
        warnings.warn(f"{name}: transparency is laid on white", stacklevel=2)
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def to_array(image: Image.Image) -> np.ndarray:
    """Pixels as uint8 (height, width, 3)."""
    return np.array(to_rgb(image))


def from_array(pixels: np.ndarray) -> Image.Image:
    """An RGB image of uint8 (height, width, 3)."""
    return Image.fromarray(np.ascontiguousarray(pixels))


def image_format(suffix: str) -> str:
    """Pillow's name of the format that a suffix (".png") names. Raises ImageError where it cannot be written."""
    file_format = Image.registered_extensions().get(suffix.lower())
    if file_format is None or file_format not in Image.SAVE:
        raise ImageError(f"cannot write images of type {suffix or '(none)'!r}; use .png")
    return file_format


def encode_image(image: Image.Image, suffix: str) -> bytes:
    """The bytes of an image file of the format that a suffix names. Raises ImageError where it cannot be written."""
    file_format = image_format(suffix)
    buffer = io.BytesIO()
    try:
        image.save(buffer, file_format)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {file_format}: {error}") from None
    return buffer.getvalue()
