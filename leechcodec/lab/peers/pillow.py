"""JPEG, JPEG 2000, WebP and AVIF by Pillow."""

import io
from typing import ClassVar

import PIL
from PIL import Image, features

from leechcodec.lab.peers.base import Peer, Setting


class PillowPeer(Peer):
    """A format that Pillow writes and reads."""

    file_format: ClassVar[str]
    feature: ClassVar[str]
    """Pillow's name for the library behind it."""

    def available(self) -> str | None:
        return None if features.check(self.feature) else f"this Pillow was built without {self.name}"

    def save_options(self, setting: Setting) -> dict:
        """Arguments of Image.save."""
        return {"quality": round(setting.value)}

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, self.file_format, **self.save_options(setting))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data), formats=[self.file_format]).convert("RGB")

    def versions(self) -> dict[str, str]:
        return {"pillow": PIL.__version__, self.feature: str(features.version(self.feature))}


class Jpeg(PillowPeer):
    """4:2:0, optimized Huffman tables."""

    key, name, extension = "jpeg", "JPEG 4:2:0", ".jpg"
    description = "JPEG by Pillow, 4:2:0, optimized Huffman tables"
    file_format, feature = "JPEG", "jpg"
    values = (2, 5, 10, 20, 35, 55, 75, 90)

    def save_options(self, setting: Setting) -> dict:
        return {"quality": round(setting.value), "subsampling": "4:2:0", "optimize": True}


class Jpeg2000(PillowPeer):
    """Irreversible 9/7 wavelet and colour transform. The dial is the wanted rate in bpp."""

    key, name, extension = "jpeg2000", "JPEG 2000", ".jp2"
    description = "JPEG 2000 by Pillow (OpenJPEG), 9/7 wavelet, 4:4:4, one quality layer at the wanted rate"
    file_format, feature = "JPEG2000", "jpg_2000"
    unit, values, limits = "b", (0.03, 0.06, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2), (0.001, 24)
    whole = False

    def save_options(self, setting: Setting) -> dict:
        ratio = 24 / setting.value
        return {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1}


class WebP(PillowPeer):
    """Lossy WebP: 4:2:0 by its definition."""

    key, name, extension = "webp", "WebP", ".webp"
    description = "WebP by Pillow (libwebp), 4:2:0, method 6"
    file_format, feature = "WEBP", "webp"
    values = (0, 8, 20, 40, 60, 80, 92)

    def save_options(self, setting: Setting) -> dict:
        return {"quality": round(setting.value), "method": 6}


class Avif(PillowPeer):
    """AV1 intra, 4:4:4."""

    key, name, extension = "avif", "AVIF 4:4:4", ".avif"
    description = "AVIF by Pillow (libavif), 4:4:4, speed 4"
    file_format, feature = "AVIF", "avif"
    values = (2, 8, 16, 24, 32, 40, 50, 62)

    def save_options(self, setting: Setting) -> dict:
        return {"quality": round(setting.value), "subsampling": "4:4:4", "speed": 4}


class Avif420(Avif):
    """AV1 intra as people use it: less colour, more time."""

    key, name = "avif-420", "AVIF 4:2:0"
    description = "AVIF by Pillow (libavif), 4:2:0, speed 2"
    values = (2, 10, 20, 42, 66)

    def save_options(self, setting: Setting) -> dict:
        return {"quality": round(setting.value), "subsampling": "4:2:0", "speed": 2}
