"""Photographs in and out, through Pillow, with typed errors."""

import io
import math
import os
import stat
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from leechcodec.concurrency import own_warnings
from leechcodec.errors import ImageError, LqError, TooLargeError
from leechcodec.formats import beside, exif, metadata, plugins, png, xmp
from leechcodec.formats.boxes import jxl_size
from leechcodec.formats.container import MAGIC, MAX_PIXELS, check_size
from leechcodec.formats.modes import png_transparency
from leechcodec.formats.writing import encode_image, image_format, on_white

__all__ = [
    "apply_orientation",
    "contact_sheet",
    "encode_image",
    "from_array",
    "image_format",
    "load_image",
    "settled",
    "sheet_grid",
    "to_array",
    "to_rgb",
]
SHEET_GAP = 4
"""Pixels between the pictures of a sheet."""
_SCANNED = ("PNG", "JPEG", "MPO", "AVIF", "HEIF", "JXL")
"""Formats whose file holds what Pillow does not tell."""
_SECOND_PART = "the second part of the XMP"
_FILE = "_leechcodec_file"
"""Attribute of images opened from a stream: the bytes of their file."""
_PREPARED = "_leechcodec_prepared"
"""Attribute of images that have been looked at, warnings and all."""


def load_image(
    source: str | Path | IO[bytes],
    *,
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] | None = None,
    lq: bool = False,
) -> Image.Image:
    """Read an image upright: its orientation applied, and 1 in what is kept. Its mode is the file's. Of an animation,
    or of several pages, the first, with a warning; there is a warning of everything that an .lq file would not hold.

    formats: Pillow's names of those that are read, None for all. lq: read .lq files too, where Pillow knows them.
    Raises ImageError (missing, unreadable, truncated, empty, PostScript, an .lq file) or TooLargeError (more than
    max_pixels).
    """
    name = os.fspath(source) if isinstance(source, str | Path) else getattr(source, "name", "standard input")
    head = b""
    try:
        source, head = _beginning(source)
        if not (lq and head.startswith(MAGIC)):
            plugins.prepare(head)
            if plugins.kind_of(head) == "JXL":
                source = _jxl_within(source, max_pixels)
        image, remarks = _opened(source, head, max_pixels, formats)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {'not an image that can be read' if head else 'the file is empty'}") from None
    except (Image.DecompressionBombError, TooLargeError) as error:
        raise TooLargeError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers trip over
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{name}: {reason}") from None
    for remark in remarks:
        warnings.warn(f"{name}: {remark}", stacklevel=2)
    return apply_orientation(image, name)


def _beginning(source: str | Path | IO[bytes]) -> tuple[str | Path | IO[bytes], bytes]:
    """Something that can be read from its start, and its first bytes."""
    if isinstance(source, str | Path):
        if not stat.S_ISREG(os.stat(source).st_mode):  # a pipe is read once
            with open(source, "rb") as file:
                source = io.BytesIO(file.read())
        else:
            with open(source, "rb") as file:
                return source, file.read(plugins.HEAD)
    else:
        try:
            source.seek(0)
        except (AttributeError, io.UnsupportedOperation):
            source = io.BytesIO(source.read())
    head = source.read(plugins.HEAD)
    source.seek(0)
    return source, head


def _opened(
    source: str | Path | IO[bytes], head: bytes, max_pixels: int, formats: Sequence[str] | None
) -> tuple[Image.Image, list[str]]:
    """The image, loaded, and remarks about it."""
    known = None
    if formats is not None:
        Image.init()
        known = [name for name in formats if name in Image.OPEN]
    try:
        return _loaded(source, max_pixels, known)
    except (TooLargeError, Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:
        if not head.startswith(png.SIGNATURE):
            raise
        mended = png.mended(_all_of(source))
        if mended.broken:
            raise ImageError(f"a damaged PNG: {mended.broken}") from None
        try:
            image, remarks = _loaded(io.BytesIO(mended.data), max_pixels, known)
        except Exception:
            raise error from None
        if mended.profile:
            image.info["icc_profile"] = mended.profile
        if mended.lost:
            remarks.append(f"damaged or too large, and left out: {', '.join(mended.lost)}")
        return image, remarks


def _jxl_within(source: str | Path | IO[bytes], max_pixels: int) -> IO[bytes]:
    """A JPEG XL file, read once. Raises TooLargeError for too many pixels: to open it is to decode it."""
    data = _all_of(source)
    if (size := jxl_size(data)) is None:
        raise ImageError("a damaged JPEG XL file")
    check_size(*size, max_pixels)
    return io.BytesIO(data)


def _all_of(source: str | Path | IO[bytes]) -> bytes:
    if isinstance(source, str | Path):
        return Path(source).read_bytes()
    source.seek(0)
    return source.read()


def _loaded(
    source: str | Path | IO[bytes], max_pixels: int, formats: list[str] | None
) -> tuple[Image.Image, list[str]]:
    with own_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(source, formats=formats)
    check_size(image.width, image.height, max_pixels)
    several = _several(image)
    data = _file_of(image)
    result, remarks = _prepared(image, data)
    if several and result is image:
        result = image.copy()
        setattr(result, _PREPARED, True)
    if result is not image:
        image.close()  # of several pictures Pillow would hold the file
    return result, [*(["the first of several pictures is taken"] if several else []), *remarks]


def _several(image: Image.Image) -> bool:
    """Whether a file holds more than one picture, but for MPO's, which are looked at one by one.

    They are not counted: for TIFF that takes Pillow time in the square of their number.
    """
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # damage behind the first picture
        return False


def apply_orientation(image: Image.Image, name: str | None = None) -> Image.Image:
    """An image ready for coding: what :func:`settled` gives, and upright.

    The orientation of EXIF or XMP is applied wherever it can be read, whatever else is damaged, and 1 in what is kept.
    The image itself where nothing is to be done. name: of the file, for the warnings. Raises what :func:`settled` does.
    """
    return _turned(settled(image, name))


def settled(image: Image.Image, name: str | None = None) -> Image.Image:
    """An image with its pixels loaded and ICC profile, EXIF and XMP in ``info`` as bytes, as its file has them.

    What an .lq file cannot keep is warned of, once. Raises ImageError for what is not an image of Pillow's, or is
    closed, truncated or damaged.
    """
    if not isinstance(image, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ImageError(f"an image of Pillow's is needed (PIL.Image.open, fromarray), not {type(image).__name__}")
    if getattr(image, _PREPARED, False):
        return image
    try:
        image, remarks = _prepared(image, _file_of(image))
    except (LqError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"the image cannot be read: {error or type(error).__name__}") from None
    for remark in remarks:
        warnings.warn(remark if name is None else f"{name}: {remark}", stacklevel=3)
    return image


def _file_of(image: Image.Image) -> bytes | None:
    """The bytes of the file that an image was opened from, or None. Nothing that another thread reads is moved.

    Once its pixels are loaded, Pillow forgets where an image came from; it is to be the same picture the next time.
    """
    if image.format not in _SCANNED or (data := getattr(image, _FILE, None)) is not None:
        return getattr(image, _FILE, None)
    try:
        filename = cast("ImageFile.ImageFile", image).filename  # an AttributeError where it is none
        if filename and os.path.isfile(filename):
            return Path(os.fsdecode(filename)).read_bytes()
        stream = getattr(image, "fp", None)
        if isinstance(stream, io.BytesIO):
            data = stream.getvalue()
        elif stream is not None and _is_plain(stream) and hasattr(os, "pread"):
            data = _whole(stream.fileno())
    except (AttributeError, OSError, ValueError):
        pass
    if data is not None:
        setattr(image, _FILE, data)
    return getattr(image, _FILE, None)


def _is_plain(stream: Any) -> bool:
    """Whether a stream's bytes are those of its descriptor. (One that unpacks has the packed file's.)"""
    stream = getattr(stream, "file", stream)  # tempfile's
    return isinstance(getattr(stream, "raw", stream), io.FileIO)


def _whole(descriptor: int) -> bytes:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError("not a file")
    parts: list[bytes] = []
    place = 0
    while part := os.pread(descriptor, 1 << 24, place):
        parts.append(part)
        place += len(part)
    return b"".join(parts)


def _prepared(image: Image.Image, data: bytes | None) -> tuple[Image.Image, list[str]]:
    """The image, loaded, with its metadata in order, and remarks. A copy where anything had to be changed."""
    if image.format == "EPS" and getattr(image, "tile", None):
        raise ImageError("PostScript (EPS) is not read: another program would have to be started")
    image.load()
    remarks: list[str] = []
    texts = _texts(image)
    kept = metadata.collect(image, data, texts, remarks)
    lost = beside.lost(image.format, data, image.info, texts)
    if packet := kept["xmp"]:
        kept["xmp"] = xmp.without_companions(xmp.without_extension(packet))
        if xmp.has_extension(packet) and _SECOND_PART not in lost:
            lost.append(_SECOND_PART)
        if kept["xmp"] != packet and not lost:
            lost.append("what the XMP says of other pictures in the file")
    if _stands(image):
        kept["exif"] = exif.upright(kept["exif"]) if kept["exif"] else None
        kept["xmp"] = xmp.upright(kept["xmp"]) if kept["xmp"] else None
    if lost:
        remarks.append(f"not kept: {', '.join(lost)}")
    info = _info(image.info, kept)
    found = png_transparency(image, data) if data is not None and image.format == "PNG" else None
    if found is None and not remarks and info == image.info:
        return image, remarks
    result = image.copy() if found is None else found
    transparency = {"transparency": result.info["transparency"]} if "transparency" in result.info else {}
    result.info = {name: value for name, value in info.items() if name != "transparency"} | transparency
    setattr(result, _PREPARED, True)
    return result, remarks


def _stands(image: Image.Image) -> bool:
    """Whether a loaded picture is upright, whatever its metadata say: Pillow turns those of TIFF. JPEG XL has an
    orientation of its own, which its plugin applies but to what was a JPEG."""
    return image.format == "TIFF" or (image.format == "JXL" and not getattr(image, "jpeg", False))


def _texts(image: Image.Image) -> dict[str, Any]:
    """Keywords and values of a PNG's text."""
    if image.format != "PNG" and not any(str(name).lower().startswith("raw profile") for name in image.info):
        return {}
    text = getattr(image, "text", None)
    named = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
    return named if not isinstance(text, dict) else {**named, **text}


def _info(info: beside.Info, kept: dict[str, bytes | None]) -> dict[str | tuple[int, int], Any]:
    """info with the metadata as they are to be kept, and nothing that says the same in another way."""
    result = {name: value for name, value in info.items() if not str(name).lower().startswith("raw profile type ")}
    for name, value in kept.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    if kept["icc_profile"] and not info.get("icc_profile"):
        result.pop("gamma", None)
        result.pop("chromaticity", None)
    if kept["xmp"]:
        result.pop("XML:com.adobe.xmp", None)
    return result


def _turned(image: Image.Image) -> Image.Image:
    """The image with its orientation applied, and 1 in its EXIF and XMP; itself where there is nothing to do."""
    data, packet = image.info.get("exif"), image.info.get("xmp")
    if isinstance(data, bytes):  # by the reader that will change it: Pillow's takes a fraction for a number, too
        value = exif.orientation(data)
    else:
        try:
            value = image.getexif().get(exif.ORIENTATION)
        except Exception:
            value = None
    if value is None and isinstance(packet, bytes):
        value = xmp.orientation(packet)
    info = dict(image.info)
    if isinstance(data, bytes):
        info["exif"] = exif.upright(data)
    if isinstance(packet, bytes):
        info["xmp"] = xmp.upright(packet)
    method = None if value is None else _TRANSPOSITIONS.get(value)
    if method is None and info == image.info:
        return image
    result = image.copy() if method is None else image.transpose(method)
    result.info = info
    setattr(result, _PREPARED, True)
    return result


_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of an orientation upright (EXIF 2.32, tag 0x0112)."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, transparency laid on white with a warning; profiles are not looked at.

    Raises ImageError for an empty image and for modes that have no RGB form.
    """
    return on_white(image)


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
