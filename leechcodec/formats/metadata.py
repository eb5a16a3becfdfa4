"""ICC profile, EXIF and XMP of an opened image, from wherever its format keeps them, as the bytes that a file holds.

What Pillow leaves elsewhere is looked up here: hexadecimal text in PNG, tags of TIFF, numbers that name a colour space,
a resolution. What is broken is named and kept byte for byte, or left out.
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from PIL import Image

from leechcodec.errors import ImageError
from leechcodec.formats import colour, exif, png
from leechcodec.formats.beside import Info, nclx

NAMES = ("icc_profile", "exif", "xmp")
"""Pillow's, in ``Image.info``."""
TITLES = {"icc_profile": "colour profile", "exif": "EXIF", "xmp": "XMP"}
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_RAW = "raw profile type "
_DESCRIPTIVE = (
    0x010E,
    0x010F,
    0x0110,
    0x0131,
    0x0132,
    0x013B,
    0x013C,
    0x4746,
    0x4749,
    0x8298,
    0x882A,
    0xC614,
    *range(0x9C9B, 0x9CA0),
)
"""Tags of a TIFF's first directory that describe the photograph; the others describe the file."""
_RESOLUTION = (0x011A, 0x011B, 0x0128)
_SCREENS = (72.0, 96.0)
"""Pixels per inch that programs write where they know none."""


def collect(
    image: Image.Image, data: bytes | None, texts: Mapping[str, Any], remarks: list[str]
) -> dict[str, bytes | None]:
    """What is to be kept of an image's metadata, None for nothing.

    image: loaded. data: its file, where it is to be had. texts: of a PNG. remarks: lines for the user are added. Raises
    ImageError where something in ``info`` is not bytes.
    """
    info = image.info
    found = {name: None if name in texts else as_bytes(info.get(name), name) for name in NAMES}
    found["xmp"] = found["xmp"] or as_bytes(info.get("XML:com.adobe.xmp"), "xmp")
    _from_text(found, texts)
    if hasattr(image, "tag_v2"):
        _from_tiff(found, image)
    found["icc_profile"] = _colour_space(image, data, found["icc_profile"], remarks)
    if found["exif"] and exif.is_damaged(found["exif"]):
        remarks.append("damaged EXIF data, kept as they are")
    _add_resolution(found, info)
    return found


def as_bytes(value: object, name: str) -> bytes | None:
    """Metadata as bytes: text as UTF-8, Pillow's objects as what they write. Raises ImageError, naming it, for others
    and for EXIF or a profile that is text."""
    if value is None:
        return None
    if isinstance(value, (tuple, list)):
        items = cast("Sequence[object]", value)
        value = items[0] if len(items) == 1 else items
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast("bytes | bytearray | memoryview[int]", value)) or None
    if isinstance(value, str) and (name == "xmp" or not value):
        return value.encode("utf-8", "surrogateescape") or None
    write: Any = getattr(value, "tobytes", None)
    if callable(write):
        try:
            return bytes(cast("bytes", write())) or None
        except Exception as error:
            raise ImageError(f"{name} cannot be written as bytes ({error})") from None
    raise ImageError(f"{name} must be bytes, not {type(value).__name__}")


def _from_text(found: dict[str, bytes | None], texts: Mapping[str, Any]) -> None:
    """What ImageMagick keeps in PNG text: "Raw profile type exif", APP1, xmp, icc."""
    for name, text in texts.items():
        if not name.lower().startswith(_RAW) or (data := _unhex(text)) is None:
            continue
        kind = name.lower().removeprefix(_RAW)
        if kind == "app1" and data.startswith(XMP_PREFIX):
            kind, data = "xmp", data.removeprefix(XMP_PREFIX)
        slot = {"exif": "exif", "app1": "exif", "xmp": "xmp", "icc": "icc_profile", "icm": "icc_profile"}.get(kind)
        if slot and not found[slot]:
            found[slot] = data or None


def _unhex(text: object) -> bytes | None:
    """The bytes in "\\nexif\\n     214\\n45786966…"."""
    parts = str(text).split(None, 2)
    if len(parts) < 3 or not parts[1].isdecimal():
        return None
    try:
        return binascii.unhexlify(re.sub(r"\s+", "", parts[2]))[: int(parts[1])]
    except (binascii.Error, ValueError):
        return None


def _from_tiff(found: dict[str, bytes | None], image: Image.Image) -> None:
    """EXIF of the tags of a TIFF, which has no EXIF data as such."""
    if found["exif"]:
        return
    try:
        tags, made = image.getexif(), Image.Exif()
        for tag in _DESCRIPTIVE:
            if tag in tags:
                made[tag] = tags[tag]
        for directory in (0x8769, 0x8825):
            if values := tags.get_ifd(directory):
                made.get_ifd(directory).update(values)
                made[directory] = values
        if not made:
            return
        for tag in _RESOLUTION:
            if tag in tags:
                made[tag] = tags[tag]
        found["exif"] = made.tobytes()
    except Exception:  # tags that Pillow reads and cannot write
        found["exif"] = None


def _add_resolution(found: dict[str, bytes | None], info: Info) -> None:
    """A resolution that is not a screen's, in EXIF, where only the format itself has it."""
    try:
        dots = tuple(float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return
    if len(dots) != 2 or not all(2 < value < 1e5 for value in dots):
        return
    if any(all(abs(value - usual) < 0.6 for value in dots) for usual in _SCREENS):
        return
    across, down = (round(value) if abs(value - round(value)) < 0.02 else value for value in dots)
    found["exif"] = exif.with_resolution(found["exif"] or b"", (across, down))


def _colour_space(image: Image.Image, data: bytes | None, profile: bytes | None, remarks: list[str]) -> bytes | None:
    """The profile that goes with the pixels: of cICP before ICC, of gAMA and cHRM where there is nothing better."""
    cicp = png.first(data, b"cICP") if data is not None and image.format == "PNG" else None
    if cicp is not None and len(cicp) == 4:
        if not cicp[3]:
            remarks.append("its colours are of narrow range (cICP) and taken for full range")
        return _of_cicp(cicp[0], cicp[1], profile, remarks)
    if profile:
        if colour.is_damaged(profile) and colour.space_of(profile) == b"RGB ":
            remarks.append("a damaged colour profile, kept as it is")
        return profile
    if image.format in ("AVIF", "HEIF") and data is not None and (points := nclx(data)):
        return _of_cicp(*points, None, remarks)
    if "srgb" in image.info or not ({"gamma", "chromaticity"} & set(image.info)):
        return None
    try:
        return colour.of_gamma_and_chromaticities(image.info.get("gamma"), image.info.get("chromaticity"))
    except (ValueError, TypeError, ArithmeticError) as error:
        remarks.append(f"its gAMA and cHRM are ignored, its colours taken for sRGB ({error})")
        return None


def _of_cicp(primaries: int, transfer: int, profile: bytes | None, remarks: list[str]) -> bytes | None:
    try:
        made = colour.of_cicp(primaries, transfer)
    except ValueError as error:
        remarks.append(f"its colour space is not known ({error})" + ("" if profile else " and taken for sRGB"))
        return profile
    if transfer in colour.HDR:
        remarks.append(f"HDR colours ({colour.HDR[transfer]}) are kept in 8 bits a channel; a profile names them")
    return made
