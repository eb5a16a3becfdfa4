"""JPEG XL by pillow-jxl-plugin, HEIC by pillow-heif, JPEG by jpegli: optional packages, asked for only here."""

import io
from importlib import metadata
from typing import ClassVar

import numpy as np
import PIL
from PIL import Image

from leechcodec.errors import MissingPackageError
from leechcodec.formats.packages import require
from leechcodec.lab.peers.base import Peer, Setting


class JpegXl(Peer):
    """Lossy VarDCT JPEG XL. pillow-jxl-plugin is under the GPL, so it is never more than an optional extra."""

    key, name, extension = "jxl", "JPEG XL", ".jxl"
    description = "JPEG XL by pillow-jxl-plugin (libjxl), VarDCT, effort 9"
    values = (0, 10, 25, 40, 55, 68, 78, 88)
    effort: ClassVar[int] = 9

    def available(self) -> str | None:
        return _missing("pillow_jxl", "peers")

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        require("pillow_jxl", "peers")  # registers the format with Pillow
        buffer = io.BytesIO()
        image.save(buffer, "JXL", quality=round(setting.value), lossless=False, effort=self.effort)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        require("pillow_jxl", "peers")
        return Image.open(io.BytesIO(data), formats=["JXL"]).convert("RGB")

    def versions(self) -> dict[str, str]:
        return {"pillow": PIL.__version__, "pillow-jxl-plugin": metadata.version("pillow-jxl-plugin")}


class JpegXl7(JpegXl):
    """JPEG XL at its default effort."""

    key, name = "jxl-7", "JPEG XL, effort 7"
    description = "JPEG XL by pillow-jxl-plugin (libjxl), VarDCT, effort 7"
    effort = 7


class Heic(Peer):
    """HEVC intra, 4:4:4."""

    key, name, extension = "heic", "HEIC 4:4:4", ".heic"
    description = "HEVC intra by pillow-heif (x265), 4:4:4"
    values = (0, 5, 12, 20, 27, 34, 42, 50)

    def available(self) -> str | None:
        missing = _missing("pillow_heif", "peers")
        if missing:
            return missing
        return None if require("pillow_heif").libheif_info()["HEIF"] else "this pillow-heif has no HEVC encoder"

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        buffer = io.BytesIO()
        heif = require("pillow_heif", "peers").from_pillow(image)
        heif.save(buffer, quality=round(setting.value), chroma=444)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        return require("pillow_heif", "peers").open_heif(io.BytesIO(data)).to_pillow().convert("RGB")

    def versions(self) -> dict[str, str]:
        package = require("pillow_heif", "peers")
        info = package.libheif_info()
        return {"pillow-heif": package.__version__, "libheif": info["libheif"], "encoder": info["HEIF"]}


class Jpegli(Peer):
    """JPEG by Google's encoder, which aims at the eye. pyjpegli writes 4:2:0 only; every JPEG decoder reads it."""

    key, name, extension = "jpegli", "JPEG 4:2:0, jpegli", ".jpg"
    description = "JPEG by pyjpegli (jpegli), 4:2:0, sequential; decoded by Pillow"
    values = (1, 10, 20, 35, 50, 65, 80, 90)
    limits = (1, 100)

    def available(self) -> str | None:
        return _missing("pyjpegli", "peers")

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        pixels = np.ascontiguousarray(image)
        return require("pyjpegli", "peers").encode(pixels, image.width, image.height, quality=round(setting.value))

    def decode(self, data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB")

    def versions(self) -> dict[str, str]:
        return {"pillow": PIL.__version__, "pyjpegli": metadata.version("pyjpegli")}


def _missing(module: str, extra: str) -> str | None:
    try:
        require(module, extra)
    except MissingPackageError as error:
        return str(error)
    return None
