"""Decoded pictures as files of other formats, with as much of their metadata as these can hold."""

import io
import warnings
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from leechcodec.errors import ImageError
from leechcodec.formats import colour, exif
from leechcodec.formats.metadata import TITLES, as_bytes, exif_directory
from leechcodec.formats.modes import opaque_rgb, split
from leechcodec.formats.plugins import register_suffix

OPAQUE = {"JPEG", "MPO", "BMP", "PPM", "PDF", "EPS", "PCX"}
"""Formats without transparency: it is laid on white."""
QUALITY = {"JPEG": 95, "MPO": 95, "WEBP": 95, "AVIF": 95, "HEIF": 95}
"""Of pictures written in a lossy format: a second loss that is hardly seen."""
PNG_LEVEL = 3
"""Of compression: a third of the time of level 6, and no larger a file for a photograph."""
HOLDS: dict[str, frozenset[str]] = dict.fromkeys(
    ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL", "TIFF"), frozenset(TITLES)
)
"""Which metadata a format holds; of others none is known to be written."""
LONGEST = {"JPEG": 65_500, "MPO": 65_500, "PDF": 65_500, "WEBP": 16_383, "GIF": 65_535}
"""Pixels of a side that a format can hold."""
ICONS = ("ICO", "ICNS")
"""Formats of a few fixed sizes, whose writers shrink a picture in silence."""
DOTS = ("PNG", "JPEG", "MPO", "BMP")
"""Formats that have a resolution beside EXIF."""
MOST_DOTS = 65_535
"""Pixels per inch that all of them can hold."""
_STRUCTURAL = (
    frozenset((0x00FE, 0x00FF, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x011C, 0x0140, 0x0152, 0x0153, 0x015B))
    | frozenset((*range(0x0100, 0x0107), *range(0x0142, 0x014B), *range(0x0200, 0x0215)))
    | {0x013D, 0x02BC, 0x83BB, 0x8649, 0x8773}
)
"""Tags that say how a TIFF is laid out: another file's do not fit."""
_XMP_TAG = 700


def image_format(suffix: str) -> str:
    """Pillow's name of the format that a suffix (".png") names. Raises ImageError where it cannot be written."""
    register_suffix(suffix)
    file_format = Image.registered_extensions().get(suffix.lower())
    if file_format is None or file_format not in Image.SAVE or file_format in ("LQ", *ICONS):
        raise ImageError(f"cannot write images of type {suffix or '(none)'!r}; use .png")
    return file_format


def encode_image(image: Image.Image, suffix: str) -> bytes:
    """The bytes of an image file of the format that a suffix names, with the metadata in ``image.info``.

    What the format cannot hold, or its writer refuses, is left out, with a warning; in a format without profiles
    colours become sRGB. Raises ImageError where the picture itself cannot be written.
    """
    file_format = image_format(suffix)
    if max(image.size) > LONGEST.get(file_format, max(image.size)):
        size = f"{image.width:,} x {image.height:,} pixels"
        raise ImageError(f"cannot write {file_format}: {size}, more than its limit of {LONGEST[file_format]:,} a side")
    values = {name: as_bytes(image.info.get(name), name) for name in TITLES}
    values = {name: value for name, value in values.items() if value}
    image = _fitting(image, file_format, values)
    able = HOLDS.get(file_format, frozenset())
    dots = exif.resolution(values["exif"]) if file_format in DOTS and "exif" in values else None
    dots = dots if dots and max(dots) <= MOST_DOTS else None
    lost = [name for name in values if name not in able and name != "icc_profile"]
    if dots and lost == ["exif"] and exif.is_resolution_alone(values["exif"]):
        lost = []
    if lost:
        warnings.warn(f"{file_format} holds no {_titles(lost)}: left out", stacklevel=2)
    values = {name: value for name, value in values.items() if name in able}
    if "exif" in values and exif.is_damaged(values["exif"]):
        if exif.Directories(values["exif"]).readable:
            warnings.warn("damaged EXIF data", stacklevel=2)
        else:
            warnings.warn("damaged EXIF data are left out", stacklevel=2)
            del values["exif"]
    problem: Exception | None = None
    for left_out in _subsets(values):
        kept = {name: value for name, value in values.items() if name not in left_out}
        try:
            data = _written(image, file_format, kept, dots)
        except MemoryError:
            raise
        except Exception as error:  # writers raise whatever their parsers of metadata trip over
            problem = problem or error
            continue
        if left_out:
            why = f"{file_format} cannot hold it ({problem})"
            warnings.warn(f"left out: {_titles(left_out)}, because {why}", stacklevel=2)
        return data
    raise ImageError(f"cannot write {file_format}: {problem}") from None


def stripped(image: Image.Image) -> Image.Image:
    """The picture without metadata, its colours in sRGB."""
    profile = image.info.get("icc_profile")
    image = _in_srgb(image, profile) if profile else image.copy()
    image.info = {}
    return image


def _titles(names: Any) -> str:
    return ", ".join(TITLES[name] for name in TITLES if name in names)


def _subsets(values: dict[str, bytes]) -> Iterator[tuple[str, ...]]:
    """What to leave out, the least first."""
    for count in range(len(values) + 1):
        yield from combinations([name for name in ("exif", "xmp", "icc_profile") if name in values], count)


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    colours, alpha = split(image)
    converted = colour.in_srgb(colours, profile)
    if converted is colours or alpha is not None:
        converted = converted.copy()
    if alpha is not None:
        converted.putalpha(alpha)
    elif image.mode == "RGBA":
        converted.putalpha(255)
    converted.info = {name: value for name, value in image.info.items() if name != "icc_profile"}
    return converted


def _fitting(image: Image.Image, file_format: str, values: dict[str, bytes]) -> Image.Image:
    """The image as the format can hold it: without profile, opaque, as large as it must be."""
    info = image.info
    if "icc_profile" in values and "icc_profile" not in HOLDS.get(file_format, ()):
        image = _in_srgb(image, values["icc_profile"])
    if image.mode == "RGBA" and file_format in OPAQUE:
        image = on_white(image)
    image = image.copy()
    image.info = {name: value for name, value in info.items() if name not in TITLES}
    return image


def on_white(image: Image.Image) -> Image.Image:
    """Any image as opaque RGB, transparency laid on white with a warning. Raises what :func:`opaque_rgb` raises."""
    colours, alpha = split(image)
    colours = opaque_rgb(colours)
    if alpha is None:
        return colours
    warnings.warn("transparency is laid on white", stacklevel=3)
    rgba = colours.convert("RGBA")
    rgba.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _written(image: Image.Image, file_format: str, values: dict[str, bytes], dots: tuple[float, float] | None) -> bytes:
    options: dict[str, Any] = dict(values)
    if file_format in QUALITY:
        options["quality"] = QUALITY[file_format]
    if dots:
        options["dpi"] = dots
    if file_format == "PNG":
        options["compress_level"] = PNG_LEVEL
    if file_format == "PNG" and "xmp" in options:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
    if file_format in ("JPEG", "MPO") and "exif" in options and not options["exif"].startswith(exif.PREFIX):
        options["exif"] = exif.PREFIX + options["exif"]  # WebP's has none, and Pillow writes what it is given
    if file_format == "TIFF" and ("exif" in options or "xmp" in options):
        options["exif"] = _tiff_tags(options.pop("exif", b""), options.pop("xmp", None))
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _tiff_tags(data: bytes, packet: bytes | None) -> Image.Exif:
    """EXIF and XMP as tags of a TIFF."""
    tags = Image.Exif()
    if data:
        tags.load(data)
    for tag in [tag for tag in tags if tag in _STRUCTURAL]:
        del tags[tag]
    exif_directory(tags)
    if packet:
        tags[_XMP_TAG] = packet
    return tags
