"""What a worker does: read an uploaded file, show a picture at a quality, write its file, view an .lq file.

Pictures are RGB pixels and nothing else: colours in sRGB, transparency laid on white, no metadata. So no codec spends
bytes on what another leaves out.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.canvas import padded_pixels
from leechcodec.codec.dial import dial_quality
from leechcodec.codec.drafts import Draft, Drawing
from leechcodec.codec.model_store import load_model
from leechcodec.codec.pipeline import Prepared
from leechcodec.concurrency import own_warnings
from leechcodec.errors import ImageError
from leechcodec.formats.container import MAGIC, read_file
from leechcodec.formats.images import encode_image, load_image
from leechcodec.formats.side_data import SideData, flattened, is_grey
from leechcodec.lab.metrics import psnr

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "MPO", "HEIF", "JXL")
"""What is read: formats that Pillow decodes in memory. (For others it starts programs or writes temporary files.)"""
UNIMPORTANT = ("Not kept: ",)
"""Remarks about metadata, which no file of the page has."""
LQ_TYPE = "application/octet-stream"
Check = Callable[[], None]
"""Raises SupersededError where the work has become pointless."""


@dataclass(frozen=True)
class Part:
    """Some of an answer's bytes, and their media type."""

    data: bytes
    type: str


@dataclass(frozen=True)
class Answer:
    """facts: what JSON can hold. parts: the files they are about."""

    facts: dict
    parts: tuple[Part, ...]


def is_lq(data: bytes) -> bool:
    """Whether an uploaded file is, or means to be, an .lq file."""
    return data.startswith(MAGIC)


def read_photograph(data: bytes, max_pixels: int) -> tuple[Image.Image, Answer]:
    """The picture in an image file, upright, and the answer to its upload: the picture as PNG.

    Raises ImageError or TooLargeError.
    """
    if not data:
        raise ImageError("the file is empty")
    source = io.BytesIO(data)
    source.name = "the file"  # what messages call it
    with own_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        colours = flattened(load_image(source, max_pixels=max_pixels, formats=FORMATS))
    remarks = [_sentence(str(warning.message), source.name) for warning in caught if warning.category is UserWarning]
    remarks = list(dict.fromkeys(remark for remark in remarks if not remark.startswith(UNIMPORTANT)))
    colours.info.clear()
    facts = {"kind": "photograph", "width": colours.width, "height": colours.height, "bytes": len(data)}
    return colours, Answer(facts | {"remarks": remarks}, (Part(fast_png(colours), "image/png"),))


def _sentence(message: str, name: str) -> str:
    """A warning as a sentence of its own."""
    message = message.removeprefix(f"{name}: ")
    return f"{message[:1].upper()}{message[1:]}."


def show(image: Image.Image, quality: float, model: str | None, check: Check) -> tuple[Draft, Answer]:
    """What a picture looks like at a quality, as PNG, and its draft, for :func:`file_of`.

    Files decode to their drafts, so this is the file's picture before there is a file: half the work, and what the eye
    waits for. Raises ConfigError for a quality that is not within 1..100.
    """
    check()
    drawing = _drawing(image, model)
    draft = drawing.draft(quality, progress=lambda *_: check(), shown=True)
    decoded = drawing.prepared.side_data.without_colours(draft.picture or image)
    check()
    facts = {"quality": draft.quality, "psnr": decibels(image, decoded)}
    return draft, Answer(facts, (Part(fast_png(decoded), "image/png"),))


def file_of(image: Image.Image, quality: float, draft: Draft | None, model: str | None, check: Check) -> Answer:
    """The .lq file of a picture at a quality. draft: that of an earlier :func:`show`, used where it fits."""
    check()
    drawing = _drawing(image, model)
    if draft is None or draft.quality != quality:
        draft = drawing.draft(quality, progress=lambda *_: check())
    data = drawing.file(draft, lambda *_: check())
    facts = {"quality": draft.quality, "bytes": len(data), "bpp": bits_per_pixel(data, image)}
    return Answer(facts, (Part(data, LQ_TYPE),))


def _drawing(image: Image.Image, model: str | None) -> Drawing:
    """A picture of the page's with all that it has beside its pixels."""
    prepared = Prepared(padded_pixels(image), (image.height, image.width), SideData(None, {}, is_grey(image)), image)
    return Drawing(load_model(model), prepared)


def view(data: bytes, model: str | None, max_pixels: int) -> Answer:
    """The picture in an .lq file as PNG, with the file's transparency and metadata. Raises LqError kinds."""
    image = api.decompress(data, model=model, max_pixels=max_pixels)
    header, chunks = read_file(data, max_pixels=max_pixels)
    quality = dial_quality(header, chunks)
    facts = {"kind": "lq", "width": image.width, "height": image.height, "quality": quality}
    facts |= {"bytes": len(data), "bpp": bits_per_pixel(data, image), "remarks": []}
    return Answer(facts, (Part(encode_image(image, ".png"), "image/png"),))


def decibels(original: Image.Image, decoded: Image.Image) -> float:
    """PSNR in dB of two RGB pictures."""
    return round(psnr(np.asarray(original), np.asarray(decoded)), 3)


def bits_per_pixel(data: bytes, image: Image.Image) -> float:
    """What a file spends on each of the picture's pixels."""
    return round(8 * len(data) / (image.width * image.height), 5)


def fast_png(image: Image.Image) -> bytes:
    """A PNG that takes little time, for a short way."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
