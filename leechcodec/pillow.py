"""Pillow plugin: ``import leechcodec.pillow`` and .lq files open and save like any other.

    import leechcodec.pillow
    from PIL import Image

    image = Image.open("photo.lq")        # header and metadata only; pixels are decoded when they are first needed
    image.save("smaller.lq", quality=30)  # or size=, bpp=, psnr=; effort, metadata, icc_profile, exif, xmp, model

Opening reads size, mode and metadata and verifies every checksum; torch is imported when pixels are decoded or saved.
Importing this module registers the format; :func:`register_lq_opener` does it for those who import it without wanting
to rely on that.
"""

from typing import IO, cast

from PIL import Image, ImageFile

from leechcodec.errors import LqError
from leechcodec.formats.container import MAGIC, ChunkKind, read_file
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
        self._data = cast("IO[bytes]", self.fp).read()
        try:
            header, chunks = read_file(self._data)
        except LqError as error:
            # Image.open takes a SyntaxError for "not this format"; what has the magic is ours, and broken.
            raise (OSError if _accept(self._data) else SyntaxError)(str(error)) from error
        self._size = (header.width, header.height)
        self._mode = "RGBA" if any(chunk.kind == ChunkKind.ALPHA for chunk in chunks) else "RGB"
        self.info.update(SideData.of_chunks(chunks).metadata)
        self.info["quality"] = header.quality / 100

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
    source = image.copy()
    for name in METADATA:
        value = options.get(name, image.info.get(name))
        value = value.tobytes() if isinstance(value, Image.Exif) else value
        if value:
            source.info[name] = value
        else:
            source.info.pop(name, None)
    how = {name: options[name] for name in ("effort", "metadata", "model") if name in options}
    quality, targets = options.get("quality"), {name: options.get(name) for name in ("size", "bpp", "psnr")}
    try:
        if any(value is not None for value in targets.values()):
            data, _ = api.compress_to(source, **targets, **how)
        else:
            data = api.compress(source, quality=50.0 if quality is None else quality, **how)
    except LqError as error:
        raise OSError(str(error)) from error
    file.write(data)


def register_lq_opener() -> None:
    """Teach Pillow the .lq format. Calling it again changes nothing."""
    Image.register_open(FORMAT, LqImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)


register_lq_opener()
