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
from leechcodec.formats.boxes import boxes

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
_RESOLUTION = (exif.X_RESOLUTION, exif.Y_RESOLUTION, exif.RESOLUTION_UNIT)
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
    found = {name: _own(image, name, data, texts, remarks) for name in NAMES}
    found["xmp"] = found["xmp"] or as_bytes(info.get("XML:com.adobe.xmp"), "xmp")
    _from_text(found, texts)
    if image.format == "JXL" and data is not None and not found["xmp"]:
        found["xmp"] = next((body for kind, body in boxes(data) if kind == b"xml " and body), None)
    if hasattr(image, "tag_v2"):
        _from_tiff(found, image, remarks)
    found["icc_profile"] = _colour_space(image, data, found["icc_profile"], remarks)
    if found["exif"] and exif.is_damaged(found["exif"]):
        remarks.append("damaged EXIF data, kept as they are")
    _add_resolution(found, info)
    return found


def _own(
    image: Image.Image, name: str, data: bytes | None, texts: Mapping[str, Any], remarks: list[str]
) -> bytes | None:
    """What stands under Pillow's name for it. A PNG's text of that keyword is put there too, over what is meant."""
    value = image.info.get(name)
    if name in texts and not (isinstance(value, bytes) and (name != "exif" or value.startswith(exif.PREFIX))):
        chunk = png.first(data, b"eXIf") if name == "exif" and data is not None else None
        return None if chunk is None else exif.PREFIX + chunk
    try:
        return as_bytes(value, name)
    except ImageError:
        if not hasattr(image, "tag_v2"):
            raise
        remarks.append(f"a {TITLES[name]} that is none, left out")  # a tag of another type
        return None


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


def _from_tiff(found: dict[str, bytes | None], image: Image.Image, remarks: list[str]) -> None:
    """EXIF of the tags of a TIFF, which has no EXIF data as such. What Pillow reads and cannot write is left out."""
    if found["exif"]:
        return
    lost: list[int] = []
    try:
        tags, made = image.getexif(), Image.Exif()
        made.update(_writable({tag: tags[tag] for tag in _DESCRIPTIVE if tag in tags}, lost))
        for directory, held in ((exif.EXIF, exif_directory(tags)), (exif.GPS, tags.get_ifd(exif.GPS))):
            if values := _writable(held, lost):
                made.get_ifd(directory).update(values)
                made[directory] = values
        if made:
            made.update(_writable({tag: tags[tag] for tag in _RESOLUTION if tag in tags}, lost))
            found["exif"] = made.tobytes()
    except Exception:  # Pillow's parser raises whatever it trips over
        found["exif"] = None
        lost.append(0)
    if lost:
        remarks.append("damaged EXIF tags, left out")


def _writable(values: Mapping[int, Any], lost: list[int]) -> dict[int, Any]:
    """Those that Pillow can write; the tags of the others are added to lost."""
    kept: dict[int, Any] = {}
    for tag, value in values.items():
        alone = Image.Exif()
        alone[tag] = value
        try:
            alone.tobytes()
            kept[tag] = value
        except Exception:
            lost.append(tag)
    return kept


def exif_directory(tags: Image.Exif) -> dict[int, Any]:
    """The Exif directory of tags, with that of interoperability inside: of it Pillow has the place in the old file."""
    values: dict[int, Any] = tags.get_ifd(exif.EXIF)
    if exif.INTEROPERABILITY in values:
        inside = dict(tags.get_ifd(exif.INTEROPERABILITY))
        del values[exif.INTEROPERABILITY]
        if inside:
            values[exif.INTEROPERABILITY] = inside
    return values


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
