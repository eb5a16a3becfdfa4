"""Pillow plugin: ``import leechcodec.pillow`` and .lq files open and save like any other.

    import leechcodec.pillow
    from PIL import Image

    image = Image.open("photo.lq")        # header and metadata only; pixels are decoded when they are first needed
    image.save("smaller.lq", quality=30)  # or size=, bpp=, psnr=; effort, metadata, icc_profile, exif, xmp, model

Opening reads size, mode and metadata and verifies every checksum; the model is loaded when pixels are decoded or saved.
Importing this module registers the format; :func:`register_lq_opener` does it for those who import it without wanting
to rely on that.
"""

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from PIL import Image, ImageFile

from leechcodec.codec.dial import dial_quality
from leechcodec.errors import LqError
from leechcodec.formats.container import MAGIC, ChunkKind, read_file
from leechcodec.formats.files import write_atomic
from leechcodec.formats.images import settled
from leechcodec.formats.metadata import as_bytes
from leechcodec.formats.side_data import METADATA, SideData

FORMAT = "LQ"
EXTENSION = ".lq"
MIME = "image/x-lq"


class LqImageFile(ImageFile.ImageFile):
    """An .lq file opened by Pillow. Bad data raises SyntaxError or OSError, as Pillow's own plugins do."""

    format = FORMAT
    format_description = "leechcodec image"
    _data: bytes | None = None
    """The file, until its pixels are decoded."""
    _shrink = 1

    def _open(self) -> None:
        file = cast("IO[bytes]", self.fp)
        self._data = file.read()
        try:
            header, chunks = read_file(self._data)
            side_data = SideData.of_chunks(chunks)
        except LqError as error:
            # Image.open takes a SyntaxError for "not this format"; what has the magic is ours, and broken.
            raise (OSError if _accept(self._data) else SyntaxError)(str(error)) from error
        self._size = (header.width, header.height)
        self._mode = "RGBA" if any(chunk.kind == ChunkKind.ALPHA for chunk in chunks) else "RGB"
        self.info.update(side_data.metadata)
        self.info["quality"] = dial_quality(header, chunks)
        if self.filename:  # Pillow opened the file for this image alone, and all of it has been read
            file.close()
            self.fp = None

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Ask for a smaller image before it is decoded, as :meth:`PIL.Image.Image.thumbnail` does: half, a quarter, an
        eighth or a sixteenth, not below size. From a quarter on it takes less time, because the finest tokens are left
        out. The mode stays as it is."""
        if self._data is None or size is None or self._shrink > 1:
            return None
        width, height = self.size
        scale = min(width // max(1, size[0]), height // max(1, size[1]))
        self._shrink = max(shrink for shrink in (1, 2, 4, 8, 16) if shrink <= max(1, scale))
        self._size = (-(-width // self._shrink), -(-height // self._shrink))
        return self.mode, (0, 0, width / self._shrink, height / self._shrink)

    def load(self) -> "Image.core.PixelAccess | None":
        """Decode the pixels, once. Raises OSError where the tokens are damaged, or their model is not installed."""
        data = self._data  # another thread may take it away while this one decodes
        if data is not None:
            from leechcodec.codec import api

            try:
                decoded = api.decompress(data, shrink=self._shrink)
            except LqError as error:
                raise OSError(str(error)) from error
            self.im, self._data, self.tile = decoded.im, None, []
            if self._exclusive_fp and self._close_exclusive_fp_after_loading and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Every checksum was verified when the file was opened; the pixels cannot be used afterwards."""
        if self._exclusive_fp and self.fp:
            self.fp.close()
        self.fp = None


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    from leechcodec.codec import api

    options = dict(image.encoderinfo)
    how = {name: options[name] for name in ("effort", "metadata", "verify", "model") if name in options}
    quality, targets = options.get("quality"), {name: options.get(name) for name in ("size", "bpp", "psnr")}
    try:
        source = settled(image)
        source = image.copy() if source is image else source
        for name in METADATA:
            if value := as_bytes(options.get(name, source.info.get(name)), name):
                source.info[name] = value
            else:
                source.info.pop(name, None)
        if any(value is not None for value in targets.values()):
            data, _ = api.compress_to(source, **targets, **how)
        else:
            data = api.compress(source, quality=50.0 if quality is None else quality, **how)
    except (LqError, TypeError, ValueError) as error:
        raise OSError(str(error)) from error
    file.write(data)


def _whole_or_not_at_all(save: Callable) -> Callable:
    """Pillow's ``Image.save``, which closes the file that an image comes from, and empties the one that is to be
    written, before it asks a plugin; of .lq files the first is read and the second made before."""

    @functools.wraps(save)
    def inner(self, fp, format=None, **params) -> None:
        named = isinstance(fp, str | bytes | os.PathLike)
        if not _is_lq(fp if named else "", format):
            save(self, fp, format, **params)
            return
        try:
            source = settled(self)
        except LqError as error:
            raise OSError(str(error)) from error
        buffer = io.BytesIO()
        save(source, buffer, FORMAT, **params)
        if named:
            write_atomic(Path(os.fsdecode(fp)), buffer.getvalue(), force=True)
        else:
            getattr(fp, "buffer", fp).write(buffer.getvalue())  # of sys.stdout, as Pillow does

    inner.of_leechcodec = True  # pyright: ignore[reportAttributeAccessIssue]
    return inner


def _is_lq(path: str | bytes | os.PathLike, file_format: str | None) -> bool:
    if file_format is not None:
        return str(file_format).upper() == FORMAT
    return os.path.splitext(os.fsdecode(path))[1].lower() == EXTENSION


def register_lq_opener() -> None:
    """Teach Pillow the .lq format. Calling it again changes nothing."""
    Image.register_open(FORMAT, LqImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)
    if not getattr(Image.Image.save, "of_leechcodec", False):
        Image.Image.save = _whole_or_not_at_all(Image.Image.save)


register_lq_opener()
