"""Files found in folders, and files written whole or not at all."""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from leechcodec.errors import LqError

Name = TypeVar("Name", bound=Hashable)
_DESCRIPTORS = r"/dev/fd|/proc/(?:self|thread-self|%d)(?:/task/\d+)?/fd"
MARK = ".leechcodec."
"""How temporary names begin."""
Refused = Callable[[str, OSError], None]
"""Told of a folder inside another that cannot be listed: its path below that, and why."""
MAX_LINKS = 40
"""Symbolic links in a row, as Linux counts them."""


class OutputExistsError(LqError):
    """The output is there already and may not be overwritten."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: exists; -f overwrites it")


def folders_below(
    folder: Path, suffixes: Collection[str], recursive: bool, refused: Refused | None = None
) -> Iterator[tuple[str, list[str]]]:
    """(path below a folder, names), folder by folder: files of some suffixes (in lower case), sorted.

    Folders without any are left out. Links to folders are not followed. refused: told of each folder inside that
    cannot be listed; without it, and for the folder itself, the OSError is raised.
    """
    below = [""]
    while below:
        place = below.pop()
        try:
            names, inner = _listed(folder / place, suffixes)
        except OSError as error:
            if not place or refused is None:
                raise
            refused(place, error)
            continue
        if names:
            yield place, sorted(names)
        if recursive:
            below += (os.path.join(place, name) for name in sorted(inner, reverse=True))


def _listed(folder: Path, suffixes: Collection[str]) -> tuple[list[str], list[str]]:
    """Names in a folder: of the files of some suffixes, and of folders."""
    names: list[str] = []
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in suffixes and _is_file(entry):
                names.append(entry.name)
    return names, inner


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file, or leads to one."""
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


def files_below(folder: Path, suffixes: Collection[str], recursive: bool) -> Iterator[Path]:
    """Paths below a folder of the files of some suffixes (in lower case)."""
    for place, names in folders_below(folder, suffixes, recursive):
        yield from (Path(place, name) for name in names)


def descriptor_of(path: str | Path) -> int | None:
    """N of /dev/fd/N, /dev/stdout and whatever links to them: a descriptor of this process, not a file of that name."""
    step = os.path.abspath(path)
    for _ in range(MAX_LINKS):
        folder, name = os.path.split(step)
        with contextlib.suppress(OSError):
            folder = os.path.realpath(folder)
        if name.isdecimal() and re.fullmatch(_DESCRIPTORS % os.getpid(), folder):
            return int(name)
        try:
            step = os.path.normpath(os.path.join(folder, os.readlink(step)))
        except OSError:
            return None
    return None


def is_stream(path: str | Path) -> bool:
    """Whether a path is a device, a pipe or a descriptor: written to where it is, and never replaced."""
    if descriptor_of(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_atomic(path: Path, data: bytes, *, force: bool = False, mark: str = MARK) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    An existing file is replaced with force, refused (OutputExistsError) without; whatever fails, it stays as it was
    and no partial file is left; whatever succeeds, it keeps its permissions. Of a symbolic link the target is written.
    A device, a pipe or a descriptor (:func:`is_stream`) is written to. mark: how the temporary name begins. Raises
    OSError, naming the path, where it cannot be written.
    """
    path = Path(path)
    try:
        if is_stream(path):
            _write_to(path, data)
            return
        if path.exists() and not force:
            raise OutputExistsError(path)
        _replace(Path(os.path.realpath(path)), data, force, mark)
    except OSError as error:  # about the path that the caller knows, not the temporary one
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _write_to(path: Path, data: bytes) -> None:
    descriptor = descriptor_of(path)
    opened = os.open(path, os.O_WRONLY) if descriptor is None else os.dup(descriptor)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(opened, rest) :]
    finally:
        os.close(opened)


def _replace(path: Path, data: bytes, force: bool, mark: str) -> None:
    if path.is_symlink():  # realpath leaves those that lead in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    descriptor, temporary = _new_file(path.parent, mark)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        if force or not _linked(temporary, path):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _linked(temporary: str, path: Path) -> bool:
    """Give a file a name that nobody has taken meanwhile; False where the file system has no second names.

    Raises OutputExistsError where somebody has.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise OutputExistsError(path) from None
    except (OSError, NotImplementedError, AttributeError):
        return False
    os.unlink(temporary)
    return True


def _new_file(folder: Path, mark: str) -> tuple[int, str]:
    """Descriptor and name of a new file with the permissions of any new file: the system applies the umask."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        temporary = os.path.join(folder, f"{mark}{secrets.token_hex(6)}")
        with contextlib.suppress(FileExistsError):
            return os.open(temporary, flags, 0o666), temporary


def told_apart(short: Sequence[Name], full: Sequence[Name]) -> list[Name]:
    """Short names, or full ones where two would be equal, until nothing more can be told apart by that."""
    names = list(short)
    while True:
        counts = Counter(names)
        again = [i for i, name in enumerate(names) if counts[name] > 1 and name != full[i]]
        if not again:
            return names
        for i in again:
            names[i] = full[i]
