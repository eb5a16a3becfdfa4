"""Files found in folders, and files written whole or not at all."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from leechcodec.errors import LqError


class OutputExistsError(LqError):
    """The output is there already and may not be overwritten."""


def files_below(folder: Path, suffixes: Collection[str], recursive: bool) -> Iterator[Path]:
    """Paths below a folder of the files of some suffixes (in lower case), in no order."""
    for path in folder.rglob("*") if recursive else folder.glob("*"):
        if path.suffix.lower() in suffixes and path.is_file():
            yield path.relative_to(folder)


def write_atomic(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    An existing file is replaced with force, refused (OutputExistsError) without; whatever fails, it stays as it was
    and no partial file is left; whatever succeeds, it keeps its permissions. Raises OSError, naming the path, where
    the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not force:
        raise OutputExistsError(f"{path}: exists; -f overwrites it")
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe: nothing to rename
        return
    try:
        _replace(path, data)
    except OSError as error:  # about the path that the caller knows, not the temporary one
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".leechcodec.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _permissions(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _permissions(path: Path) -> int:
    """The mode bits of an existing file, or what a new one would get."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
