"""encode and decode as work on bytes: what a file becomes, and what there is to tell of it."""

import io
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leechcodec.apps.messages import naming

POOR = 18.0
"""dB; with a tenth of the quality what photographs hardly ever stay below."""
Bar = Callable[[str, int], AbstractContextManager[Any]]
"""A progress bar of what is done and the pixels that it is done to."""


def no_bar(_: str, __: int) -> AbstractContextManager[None]:
    """Nothing is shown."""
    return nullcontext()


@dataclass(frozen=True)
class Facts:
    """What became of a file. bytes: of the .lq file, whichever way. seconds: of the work, reading and writing left
    out. effort, psnr: of a file that was made; psnr in dB, of its colours. remarks: lines for the user. missing: what a
    damaged file no longer holds."""

    width: int
    height: int
    bytes: int
    bpp: float
    quality: float
    seconds: float
    effort: int | None = None
    psnr: float | None = None
    remarks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """A file that is done. warnings: about it, a line each."""

    input: str
    output: str
    facts: Facts
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """Compresses images; quality, options and targets are those of api.compress and compress_to.

    judged: warn of a poor result. (Of an installed model: one that is being trained is no measure.) measure: tell the
    PSNR.
    """

    quality: float
    targets: dict[str, float | None] | None = None
    effort: int = 1
    max_seconds: float | None = None
    metadata: bool = True
    verify: bool = False
    model: str | None = None
    judged: bool = False
    measure: bool = False

    def prepare(self) -> None:
        """Load the model, once for many images. Raises ModelError."""
        from leechcodec.codec.model_store import load_model

        load_model(self.model)

    def make(self, source: bytes | str, name: str, bar: Bar = no_bar) -> tuple[bytes, Facts]:
        """The .lq file of an image. source: bytes, or a path. name: of messages."""
        from leechcodec.codec import api
        from leechcodec.formats.images import load_image

        image = load_image(_stream(source, name) if isinstance(source, bytes) else source)
        started, remarks, psnr, quality = time.perf_counter(), (), [], self.quality
        options: dict[str, Any] = {
            "effort": self.effort, "metadata": self.metadata, "verify": self.verify, "model": self.model,
            "measured": psnr.append if self.judged or self.measure else None,
        }  # fmt: skip
        with naming(name), bar("encoding", image.width * image.height) as progress:
            if self.targets:
                data, found = api.compress_to(image, **self.targets, **options, progress=progress)
                quality = found.quality
                if not found.close:
                    reached = f"{found.value:.2f} dB" if self.targets["psnr"] else f"{found.value:,} bytes"
                    remarks = (f"nearest to the target: {reached} at quality {found.quality:g}",)
            else:
                options["max_seconds"] = self.max_seconds
                data = api.compress(image, quality=quality, **options, progress=progress)
        seconds = round(time.perf_counter() - started, 4)
        if self.judged and psnr[-1] < POOR + quality / 10:
            with naming(name):
                warnings.warn(
                    f"{psnr[-1]:.1f} dB is poor for quality {quality:g}: this picture is unlike photographs; a quality "
                    f"above 90 keeps more of it, PNG or lossless WebP all",
                    stacklevel=1,
                )
        decibels = round(psnr[-1], 3) if psnr else None
        size = image.width, image.height
        facts = Facts(*size, len(data), _bpp(data, size), quality, seconds, self.effort, decibels, remarks)
        return data, facts


@dataclass(frozen=True)
class Decoding:
    """Decompresses .lq files. suffix: names the images' format. partly: what a damaged file still holds."""

    suffix: str
    model: str | None = None
    partly: bool = False
    strip: bool = False

    def prepare(self) -> None:
        """Files name their models."""

    def make(self, source: bytes | str, name: str, bar: Bar = no_bar) -> tuple[bytes, Facts]:
        """The image file of an .lq file. source: bytes, or a path. name: of messages."""
        from leechcodec.codec.dial import dial_quality
        from leechcodec.formats.container import read_header, salvage

        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        with naming(name):
            header, _ = read_header(data)
        from leechcodec.codec import api
        from leechcodec.formats.writing import encode_image, stripped

        started, missing = time.perf_counter(), []
        with naming(name), bar("decoding", header.width * header.height) as progress:
            if self.partly:
                image, missing = api.decompress_partial(data, model=self.model)
            else:
                image = api.decompress(data, model=self.model, progress=progress)
        seconds = round(time.perf_counter() - started, 4)
        with naming(name):
            made = encode_image(stripped(image) if self.strip else image, self.suffix)
        size = image.width, image.height
        quality = dial_quality(header, salvage(data)[1])
        return made, Facts(*size, len(data), _bpp(data, size), quality, seconds, missing=tuple(missing))


def _stream(data: bytes, name: str) -> io.BytesIO:
    """Bytes as a file, with a name for messages."""
    file = io.BytesIO(data)
    if name != "-":
        file.name = name
    return file


def _bpp(data: bytes, size: tuple[int, int]) -> float:
    return round(8 * len(data) / (size[0] * size[1]), 5)
