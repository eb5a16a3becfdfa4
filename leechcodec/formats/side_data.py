"""What travels beside the pixels: transparency and metadata, each in a chunk of its own (docs/FORMAT.md).

Transparency is kept losslessly, as a grey PNG. ICC profile, EXIF and XMP are kept as the bytes Pillow hands over. That
a picture has no colours is kept too: the networks know only coloured ones, and give each channel errors of its own.
"""

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, PngImagePlugin

from leechcodec.concurrency import own_warnings
from leechcodec.errors import CorruptError
from leechcodec.formats.colour import in_srgb, space_of
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.formats.images import apply_orientation, to_rgb
from leechcodec.formats.metadata import as_bytes
from leechcodec.formats.modes import is_grey, opaque_rgb, split
from leechcodec.formats.png import bare

DEPTH_PLACE = 24
"""Of the bits a channel in a PNG."""
METADATA = {"icc_profile": ChunkKind.ICC, "exif": ChunkKind.EXIF, "xmp": ChunkKind.XMP}
"""Pillow's names in ``Image.info``, and the chunks they live in."""


@dataclass(frozen=True)
class SideData:
    """alpha: the bytes of a grey PNG, or None for an opaque image. metadata: bytes by Pillow's name. grey: whether all
    channels are to be alike."""

    alpha: bytes | None
    metadata: dict[str, bytes]
    grey: bool = False

    @classmethod
    def of_chunks(cls, chunks: Iterable[Chunk]) -> "SideData":
        """What a file's chunks hold. Raises CorruptError for a grey chunk that is not empty."""
        found = {chunk.kind: chunk.payload for chunk in chunks}
        metadata = {name: found[kind] for name, kind in METADATA.items() if kind in found}
        if found.get(ChunkKind.GREY):
            raise CorruptError("the grey chunk is not empty")
        return cls(found.get(ChunkKind.ALPHA), metadata, ChunkKind.GREY in found)

    def chunks(self) -> list[Chunk]:
        """The chunks of a file, in ascending order of kind."""
        alpha = [] if self.alpha is None else [Chunk(ChunkKind.ALPHA, self.alpha)]
        metadata = [Chunk(kind, self.metadata[name]) for name, kind in METADATA.items() if name in self.metadata]
        return alpha + metadata + ([Chunk(ChunkKind.GREY, b"")] if self.grey else [])

    def add_to(self, image: Image.Image) -> Image.Image:
        """An RGB image with its transparency (then RGBA) and its metadata in ``info``; still RGB where it is grey.

        Raises CorruptError where the alpha chunk is not a grey PNG of the image's size.
        """
        image = self.without_colours(image)
        if self.alpha is not None:
            image.putalpha(_read_alpha(self.alpha, image.size))
        image.info.update(self.metadata)
        return image

    def without_colours(self, image: Image.Image) -> Image.Image:
        """An RGB image, every channel the mean of the three where it is to be grey."""
        if not self.grey:
            return image
        mean = np.asarray(image).sum(-1, dtype=np.uint16)
        return Image.fromarray(((mean + 1) // 3).astype(np.uint8)).convert("RGB")


def separate(image: Image.Image, *, metadata: bool = True) -> tuple[Image.Image, SideData]:
    """An image's colours, without transparency and with an RGB profile or none, and what travels beside them.

    The colours' ``info`` is empty. metadata: keep ICC profile, EXIF and XMP. A profile that cannot go with RGB (CMYK's,
    grey's), and every profile that is not kept, is used up: colours are converted to sRGB, before and apart from their
    transparency. Raises ImageError for metadata that are not bytes.
    """
    values = {name: as_bytes(image.info.get(name), name) for name in METADATA}
    profile = values["icc_profile"]
    colours, channel = split(image)
    if profile and (not metadata or space_of(profile) != b"RGB "):
        colours, values["icc_profile"] = in_srgb(colours, profile), None
    if colours is image or colours.info:
        colours = colours.copy()
        colours.info = {}
    alpha = None if channel is None else _write_alpha(channel)
    kept = {name: value for name, value in values.items() if metadata and value}
    return colours, SideData(alpha, kept, is_grey(colours))


def as_coded(image: Image.Image) -> Image.Image:
    """An image as the pixels that are coded, RGB in its own RGB profile or sRGB, on white with a warning where it is
    transparent: what a decoded picture is to be compared with. The profile kept is in ``info``."""
    colours, extras = separate(apply_orientation(image))
    return _laid_on_white(colours, extras, image)


def comparable(
    original: Image.Image, other: Image.Image, coded: Image.Image | None = None
) -> tuple[Image.Image, Image.Image]:
    """Two pictures as RGB in one colour space: their own, where they share it, else sRGB.

    Transparency is laid on white, with a warning. coded: what :func:`as_coded` makes of the original, where it is there
    already. Raises what :func:`separate` raises.
    """
    first, second = as_coded(original) if coded is None else coded, as_coded(other)
    if first.info.get("icc_profile") == second.info.get("icc_profile"):
        return first, second
    with own_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told by now
        return flattened(original), flattened(other)


def flattened(image: Image.Image) -> Image.Image:
    """An image as what tokens alone can hold: RGB, transparency laid on white with a warning, profiles used up."""
    colours, extras = separate(apply_orientation(image), metadata=False)
    return _laid_on_white(colours, extras, image)


def _laid_on_white(colours: Image.Image, extras: SideData, image: Image.Image) -> Image.Image:
    colours = opaque_rgb(colours)
    if extras.alpha is not None:
        colours = colours.copy()
        colours.putalpha(_read_alpha(extras.alpha, colours.size))
        colours = to_rgb(colours)
    elif colours is image:
        colours = colours.copy()
    colours.info = {name: value for name, value in extras.metadata.items() if name == "icc_profile"}
    return colours


def _write_alpha(channel: Image.Image) -> bytes:
    buffer = io.BytesIO()
    channel = channel.copy()
    channel.info = {}  # Pillow would write the picture's profile into it
    channel.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _read_alpha(data: bytes, size: tuple[int, int]) -> Image.Image:
    try:
        alpha = PngImagePlugin.PngImageFile(io.BytesIO(bare(data)))  # Image.open has a limit of pixels of its own
        if alpha.size != size or alpha.mode != "L" or data[DEPTH_PLACE] != 8:
            raise CorruptError(f"the alpha chunk is {alpha.mode} {alpha.width} x {alpha.height}, not 8-bit grey {size}")
        alpha.load()
    except (CorruptError, MemoryError):
        raise
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise CorruptError(f"the alpha chunk is not a PNG image: {error}") from None
    return alpha
