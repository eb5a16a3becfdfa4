"""What travels beside the pixels: transparency and metadata, each in a chunk of its own (docs/FORMAT.md).

Transparency is kept losslessly, as a grey PNG. ICC profile, EXIF and XMP are kept as the bytes Pillow hands over. That
a picture has no colours is kept too: the networks know only coloured ones, and give each channel errors of its own.
"""

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image, ImageChops

from leechcodec.errors import CorruptError
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.formats.images import is_translucent, to_rgb, to_rgba

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
        """What a file's chunks hold."""
        found = {chunk.kind: chunk.payload for chunk in chunks}
        metadata = {name: found[kind] for name, kind in METADATA.items() if kind in found}
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

    metadata: keep ICC profile, EXIF and XMP. A profile that cannot go with RGB (CMYK's, grey's), and every profile
    that is not kept, is used up: colours are converted to sRGB.
    """
    info, profile = image.info, image.info.get("icc_profile")
    alpha = None
    if image.has_transparency_data:
        image = to_rgba(image)
        channel = image.getchannel("A")
        alpha = _write_alpha(channel) if is_translucent(channel) else None
        image = image.convert("RGB")
    if profile and (not metadata or profile[16:20] != b"RGB "):
        image, profile = _to_srgb(image, profile), None
    grey = is_grey(image)
    kept = {"icc_profile": profile, "exif": info.get("exif"), "xmp": info.get("xmp")} if metadata else {}
    blobs = {name: bytes(value) for name, value in kept.items() if isinstance(value, bytes) and value}
    return image, SideData(alpha, blobs, grey)


def is_grey(image: Image.Image) -> bool:
    """Whether all channels of an opaque image are alike."""
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode != "RGB":
        return image.mode in ("1", "L") or image.mode.startswith("I")
    red, green, blue = image.split()
    return not any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def flattened(image: Image.Image) -> Image.Image:
    """An image as what tokens alone can hold: RGB, transparency laid on white with a warning, profiles used up."""
    if image.has_transparency_data:
        profile = image.info.get("icc_profile")
        image = to_rgb(image)
        if profile:
            image.info["icc_profile"] = profile
    return to_rgb(separate(image, metadata=False)[0])


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    from PIL import ImageCms  # seldom needed

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = cast(ImageCms.ImageCmsProfile, ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        return image if converted is None else converted
    except (ImageCms.PyCMSError, OSError, ValueError):
        warnings.warn("the colour profile does not fit the image and is ignored", stacklevel=3)
        return image


def _write_alpha(channel: Image.Image) -> bytes:
    buffer = io.BytesIO()
    channel.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _read_alpha(data: bytes, size: tuple[int, int]) -> Image.Image:
    try:
        alpha = Image.open(io.BytesIO(data), formats=["PNG"])
        if alpha.size != size or alpha.mode != "L":
            raise CorruptError(f"the alpha chunk is {alpha.mode} {alpha.width} x {alpha.height}, not grey {size}")
        alpha.load()
    except (CorruptError, MemoryError):
        raise
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise CorruptError(f"the alpha chunk is not a PNG image: {error}") from None
    return alpha
