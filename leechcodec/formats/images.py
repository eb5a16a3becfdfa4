"""Photographs in and out, through Pillow, with typed errors."""

import io
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from leechcodec.errors import ImageError, TooLargeError
from leechcodec.formats.container import MAX_PIXELS, check_size

OPAQUE = {"JPEG", "BMP", "PPM"}
"""Formats without transparency: it is laid on white."""
QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 95}
"""Of pictures written in a lossy format: a second loss that is hardly seen."""
SHEET_GAP = 4
"""Pixels between the pictures of a sheet."""


def load_image(
    source: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS, formats: Sequence[str] | None = None
) -> Image.Image:
    """Read an image upright: EXIF orientation applied and its tag removed. Its mode is the file's. Of an animation, or
    of several pages, the first, with a warning.

    formats: Pillow's names of those that are read, None for all. Raises ImageError (missing, unreadable, truncated,
    empty) or TooLargeError (more than max_pixels).
    """
    name = os.fspath(source) if isinstance(source, str | Path) else getattr(source, "name", "standard input")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(source, formats=None if formats is None else tuple(formats))
        check_size(image.width, image.height, max_pixels)
        frames = _frames(image)
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
    if frames > 1:
        warnings.warn(f"{name}: the first of {frames} pictures is taken", stacklevel=2)
    return apply_orientation(image, name)


def _frames(image: Image.Image) -> int:
    """Pictures in a file, but for MPO's, which are a photograph and its previews. What cannot be counted is one."""
    try:
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception:  # damage behind the first picture
        return 1


def apply_orientation(image: Image.Image, name: str | None = None) -> Image.Image:
    """An image with its EXIF orientation applied and the tag removed; itself where there is none.

    Damaged EXIF does not spoil good pixels; there is a warning of it where a file's name is given, once, when it is
    read. Raises ImageError for what is not an image of Pillow's.
    """
    if not isinstance(image, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ImageError(f"an image of Pillow's is needed (PIL.Image.open, fromarray), not {type(image).__name__}")
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:
        if name is not None:
            warnings.warn(f"{name}: damaged EXIF data, orientation ignored", stacklevel=3)
        return image


def is_translucent(alpha: Image.Image) -> bool:
    """Whether a channel of mode L, alpha, is less than 255 anywhere."""
    return sum(alpha.histogram()[:255]) > 0


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, transparency laid on white with a warning.

    Raises ImageError for an empty image and for modes that have no RGB form.
    """
    if not image.width or not image.height:
        raise ImageError(f"an image of {image.width} x {image.height} pixels")
    if image.has_transparency_data:
        rgba = to_rgba(image)
        if is_translucent(rgba.getchannel("A")):
            warnings.warn("transparency is laid on white", stacklevel=2)
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image, dtype=np.float64).clip(0, 65535) / 257
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point images are not supported; convert to 8 bits first")
    return _convert(image, "RGB")


def to_rgba(image: Image.Image) -> Image.Image:
    """An image with transparency as RGBA, colours not multiplied by it.

    Raises ImageError for modes that have no RGBA form.
    """
    return _convert(image, "RGBA")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    try:
        return image.convert(mode)
    except ValueError as error:
        raise ImageError(str(error)) from None


def to_array(image: Image.Image) -> np.ndarray:
    """Pixels as uint8 (height, width, 3)."""
    return np.array(to_rgb(image))


def from_array(pixels: np.ndarray) -> Image.Image:
    """An RGB image of uint8 (height, width, 3)."""
    return Image.fromarray(np.ascontiguousarray(pixels))


def sheet_grid(count: int, width: int, height: int) -> tuple[int, int]:
    """Columns and rows that make a sheet of count pictures of width x height about square."""
    columns = min(math.ceil(math.sqrt(count * height / width)), count)
    return columns, -(-count // columns)


def contact_sheet(pictures: Iterable[Image.Image], count: int, width: int, height: int) -> Image.Image:
    """Pictures of one size side by side, in rows, on white; a single one as it is.

    Raises TooLargeError, before the first picture is asked for, where the sheet would be too large.
    """
    columns, rows = sheet_grid(count, width, height)
    size = columns * (width + SHEET_GAP) - SHEET_GAP, rows * (height + SHEET_GAP) - SHEET_GAP
    check_size(*size)
    sheet = Image.new("RGB", size, "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet.paste(picture, (column * (width + SHEET_GAP), row * (height + SHEET_GAP)))
    return sheet


def image_format(suffix: str) -> str:
    """Pillow's name of the format that a suffix (".png") names. Raises ImageError where it cannot be written."""
    file_format = Image.registered_extensions().get(suffix.lower())
    if file_format is None or file_format not in Image.SAVE:
        raise ImageError(f"cannot write images of type {suffix or '(none)'!r}; use .png")
    return file_format


def _metadata_of(image: Image.Image, copy: Image.Image) -> Image.Image:
    copy.info.update(image.info)
    return copy


def encode_image(image: Image.Image, suffix: str) -> bytes:
    """The bytes of an image file of the format that a suffix names, with the metadata in ``image.info``.

    Raises ImageError where it cannot be written.
    """
    file_format = image_format(suffix)
    buffer = io.BytesIO()
    if image.mode == "RGBA" and file_format in OPAQUE:
        image = _metadata_of(image, to_rgb(image))
    options = {name: image.info[name] for name in ("icc_profile", "exif", "xmp") if name in image.info}
    if file_format in QUALITY:
        options["quality"] = QUALITY[file_format]
    if file_format == "PNG" and "xmp" in options:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode("utf-8", "replace"))
    try:
        image.save(buffer, file_format, **options)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {file_format}: {error}") from None
    return buffer.getvalue()
