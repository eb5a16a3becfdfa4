"""Tar archives read to their end, which tarfile does not look at: it takes a damaged header for it."""

import tarfile
from collections.abc import Iterator


def whole(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every member of an archive open for reading, in its order.

    Raises tarfile.ReadError after the last one where zeros do not follow up to the end of the file: a header is bad, or
    the archive is cut off.
    """
    yield from archive
    archive.fileobj.seek(archive.offset)
    rest = 0
    while part := archive.fileobj.read(tarfile.RECORDSIZE):
        if part.strip(b"\0"):
            raise tarfile.ReadError("a bad header, or something behind the end")
        rest += len(part)
    if rest < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("cut off")
