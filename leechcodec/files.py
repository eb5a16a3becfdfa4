"""Files written whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from leechcodec.errors import LqError


class OutputExistsError(LqError):
    """The output is there already and may not be overwritten."""


def write_atomic(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    An existing file is replaced with force, refused (OutputExistsError) without; whatever fails, it stays as it was
    and no partial file is left. Raises OSError where the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not force:
        raise OutputExistsError(f"{path}: exists; -f overwrites it")
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe: nothing to rename
        return
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
