"""Pillow's modes: any of them as opaque colours and an alpha channel, each 8 bits a channel."""

import io
import warnings
from typing import cast

import numpy as np
from PIL import Image, ImageChops, PngImagePlugin

from leechcodec.errors import ImageError
from leechcodec.formats import png
from leechcodec.formats.strips import strips

ALPHA_MODES = ("LA", "RGBA", "PA", "La", "RGBa")
"""Modes whose last channel is opacity: a transparent colour beside it is left over from before."""


def split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """An image's colours, opaque, and its alpha channel (mode L), None where no pixel is transparent.

    Colours keep their mode where there is no transparency; else they are L, I;16 or RGB. Raises ImageError for an empty
    image and for modes that have no such form.
    """
    check_not_empty(image)
    if not image.has_transparency_data:
        return image, None
    colours, alpha = _parts(image)
    return colours, alpha if alpha is not None and cast("float", alpha.getextrema()[0]) < 255 else None


def _parts(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    key = image.info.get("transparency")
    if image.mode in ALPHA_MODES:
        if key is not None:
            image = image.copy()
            del image.info["transparency"]
        if image.mode in ("LA", "La"):
            image = converted(image, "LA")
            return image.getchannel("L"), image.getchannel("A")
        rgba = converted(image, "RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    opaque = image.copy()
    opaque.info.pop("transparency", None)
    if image.mode in ("I", "L") or image.mode.startswith("I;16"):
        return opaque, None if not isinstance(key, int) else _where(np.asarray(image) == _level(image, key))
    try:
        rgba = image.convert("RGBA")
    except (ValueError, TypeError, OverflowError):
        warnings.warn("a transparent colour that does not fit the image is ignored", stacklevel=4)
        return opaque, None
    return rgba.convert("RGB"), rgba.getchannel("A")


def _where(transparent: np.ndarray) -> Image.Image:
    return Image.fromarray(np.where(transparent, np.uint8(0), np.uint8(255)))


def _level(image: Image.Image, key: int) -> int:
    """The value of the transparent grey among the image's: Pillow scales grey of 2 and 4 bits, but not the key."""
    if image.mode != "L":
        return key
    present = np.flatnonzero(image.histogram())
    if key not in present:
        for step, top in ((85, 3), (17, 15)):
            if key <= top and key * step in present and not (present % step).any():
                return key * step
    return key & 255


def png_transparency(image: Image.Image, data: bytes) -> Image.Image | None:
    """A PNG whose transparent colour Pillow does not find: with it, or None where Pillow's is right.

    image: of the file, loaded. data: the file. Colours of 16 bits are compared with all of them (PNG, 11.3.1.1).
    """
    header, key = png.first(data, b"IHDR"), png.first(data, b"tRNS")
    if header is None or key is None or len(header) < 10 or "transparency" not in image.info:
        return None
    depth, kind = header[8], header[9]
    if kind == 0 and depth in (2, 4) and image.mode == "L" and len(key) >= 2:
        image = image.copy()
        image.info["transparency"] = (int.from_bytes(key[:2], "big") & (2**depth - 1)) * (255 // (2**depth - 1))
        return image
    if kind == 0 and depth == 8 and image.mode == "L" and not image.histogram()[key[-1]]:
        image = image.copy()
        del image.info["transparency"]  # no pixel has it: not one of 2 or 4 bits, as :func:`_level` would guess
        return image
    if kind == 2 and depth == 16 and image.mode == "RGB" and len(key) >= 6:
        high, low = _decoded(data, "RGB;16B"), _decoded(data, "RGB;16L")
        if high is None or low is None or not np.array_equal(high, np.asarray(image)):
            return None  # another file by now
        wanted = np.frombuffer(key[:6], np.uint8).reshape(3, 2)
        found = image.copy()
        del found.info["transparency"]
        found.putalpha(_where(((high == wanted[:, 0]) & (low == wanted[:, 1])).all(-1)))
        return found
    return None


def _decoded(data: bytes, raw: str) -> np.ndarray | None:
    """Pixels of a PNG of 16-bit colours, one of the two bytes of each."""
    try:
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            image.tile = [tile._replace(args=raw) for tile in image.tile]
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, AttributeError):
        return None


def opaque_rgb(image: Image.Image) -> Image.Image:
    """An image without transparency as RGB. Raises ImageError for an empty image and for modes without that form."""
    check_not_empty(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        return _of_16_bits(image).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point images are not supported; convert to 8 bits first")
    return converted(image, "RGB")


def check_not_empty(image: Image.Image) -> None:
    """Raises ImageError for an image without pixels."""
    if not image.width or not image.height:
        raise ImageError(f"an image of {image.width} x {image.height} pixels")


def _of_16_bits(image: Image.Image) -> Image.Image:
    """Integers 0..65,535 as 8 bits, mode L, some rows at a time."""
    if image.mode == "I":
        _check_range(*cast("tuple[int, int]", image.getextrema()))
    found = np.empty((image.height, image.width), dtype=np.uint8)
    for rows, strip in strips(image):
        found[rows] = (np.asarray(strip, dtype=np.uint32) + 128) // 257
    return Image.fromarray(found)


def _check_range(low: int, high: int) -> None:
    """Of integers of 32 bits, those of 16 are meant (PGM), and anything else has no known white."""
    if low < 0 or high > 65535:
        raise ImageError(
            f"integers of 32 bits, {low:,} to {high:,}, are not supported; scale them to 16 bits, 0 to 65,535, first"
        )
    if high < 256:
        warnings.warn(f"integers of 32 bits, none above {high}, are taken for 16 bits: nearly black", stacklevel=4)


def converted(image: Image.Image, mode: str) -> Image.Image:
    """Pillow's convert. Raises ImageError where it cannot."""
    try:
        return image.convert(mode)
    except ValueError as error:
        raise ImageError(str(error)) from None


def is_grey(image: Image.Image) -> bool:
    """Whether all channels of an opaque image are alike."""
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode != "RGB":
        return image.mode in ("1", "L") or image.mode.startswith("I")
    return all(_is_grey(strip) for _, strip in strips(image))


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return not any(ImageChops.difference(red, other).getbbox() for other in (green, blue))
