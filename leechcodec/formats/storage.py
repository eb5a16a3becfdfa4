"""Folders of files, on this machine or at a URL (s3://, gs://, memory://, …), which fsspec reads (extra "remote").

Paths are strings. Each file is written whole or not at all, and folders are made where they are missing.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from leechcodec.errors import LqError
from leechcodec.formats.files import Refused, folders_below, write_atomic
from leechcodec.formats.packages import require

URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
MARK = ".leechcodec-batch."
"""How temporary names of a :class:`Storage` begin."""
ATOMIC = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory")
"""Protocols where an upload is there as a whole or not at all; for others a temporary name is used."""
COARSE = 2.0
"""Seconds that a file system's times may be off."""
Times = Callable[[str], float | None]
"""Of a name in a folder: when the file was written, seconds since 1970; None where it is not there. Raises OSError
where that cannot be told."""


class Storage(ABC):
    """Files at one kind of place."""

    @abstractmethod
    def is_folder(self, path: str) -> bool: ...

    @abstractmethod
    def folders(
        self, path: str, suffixes: Collection[str], recursive: bool, refused: Refused | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        """(path below this folder, names), folder by folder: files of some suffixes, sorted. Empty folders left out.

        What is held is one folder's names. refused: as of :func:`~leechcodec.formats.files.folders_below`; at a URL
        whatever cannot be listed raises OSError."""

    @abstractmethod
    def times(self, folder: str) -> Times: ...

    @abstractmethod
    def read(self, path: str) -> bytes: ...

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Whole or not at all, over what is there."""

    @abstractmethod
    def sweep(self, folder: str) -> None:
        """Remove what killed writers left in a folder, and may be removed. One that is at work there fails, with an
        OSError."""


def is_newer(made: float, written: float | None) -> bool:
    """Whether an output is at least as new as its input, by the times of both; None where there is none."""
    return written is None or made >= written - COARSE


def is_url(path: str) -> bool:
    """Whether a path is a URL. (file:// is one too.)"""
    return URL.match(path) is not None


def join(folder: str, *names: str) -> str:
    """A path below a folder, or below a URL."""
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *(name for name in names if name)])
    return os.path.join(folder, *names) if any(names) else folder


def local_path(path: str) -> str:
    """The path of this machine that a path, or a URL of the protocol file, is; another URL with its protocol in small
    letters."""
    if not is_url(path):
        return path
    path = _lowered(path)
    if not path.startswith("file://"):
        return path
    return str(require("fsspec.implementations.local", "remote").LocalFileSystem._strip_protocol(path))


def storage_of(path: str) -> Storage:
    """What reads and writes a path. Raises MissingPackageError without the packages that a URL needs, LqError for a
    protocol that nobody knows."""
    return _remote(_root(path)) if is_url(path) else _LOCAL


def _root(url: str) -> str:
    """A URL up to its host, or what stands there, the protocol in small letters: one connection each."""
    protocol, _, rest = _lowered(url).partition("://")
    return f"{protocol}://{rest.partition('/')[0]}"


def _lowered(url: str) -> str:
    """A URL with its protocol in small letters."""
    protocol, mark, rest = url.partition("://")
    return protocol.lower() + mark + rest


class _Local(Storage):
    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def folders(
        self, path: str, suffixes: Collection[str], recursive: bool, refused: Refused | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        return folders_below(Path(path), suffixes, recursive, refused)

    def times(self, folder: str) -> Times:
        def when(name: str) -> float | None:
            try:
                found = os.stat(path := os.path.join(folder, name))
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, "is a folder", path)
            return found.st_mtime

        return when

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(Path(path), data, force=True, mark=MARK)

    def sweep(self, folder: str) -> None:
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.startswith(MARK):
                    with contextlib.suppress(OSError):  # of somebody else, perhaps
                        os.unlink(entry.path)


class _Remote(Storage):
    """Paths are whole URLs."""

    def __init__(self, root: str) -> None:
        """root: of :func:`_root`."""
        url_to_fs = require("fsspec.core", "remote").url_to_fs
        protocol = root.partition("://")[0]
        self._atomic = protocol in ATOMIC
        try:
            self._files: Any = url_to_fs(root, use_listings_cache=False)[0]  # others write there too
        except ImportError as error:  # fsspec's own says which package
            raise LqError(f"{protocol}://: {error}; pip install 'leechcodec[remote]'") from None
        except (ValueError, TypeError) as error:
            raise LqError(f"{protocol}://: {error}") from None

    def _path(self, url: str) -> str:
        return self._files._strip_protocol(_lowered(url))

    def is_folder(self, path: str) -> bool:
        with _told(path):
            return self._files.isdir(self._path(path))

    def folders(
        self, path: str, suffixes: Collection[str], recursive: bool, refused: Refused | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        below = [""]
        while below:
            folder = below.pop()
            entries = self._listed(join(path, folder))
            names = sorted(name for name, entry in entries.items() if entry["type"] == "file")
            if found := [name for name in names if os.path.splitext(name)[1].lower() in suffixes]:
                yield folder, found
            if recursive:
                inner = sorted((name for name, entry in entries.items() if entry["type"] == "directory"), reverse=True)
                below += [f"{folder}/{name}" if folder else name for name in inner]

    def _listed(self, url: str) -> dict[str, dict[str, Any]]:
        """Entries of a folder by name; none where it is missing."""
        path = self._path(url)
        with _told(url):
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(path, detail=True)
            except FileNotFoundError:
                return {}
        named = {entry["name"].rstrip("/").rpartition("/")[2]: entry for entry in entries}
        return {name: entry for name, entry in named.items() if name and entry["name"].rstrip("/") != path.rstrip("/")}

    def times(self, folder: str) -> Times:
        found = {name: _seconds(entry) for name, entry in self._listed(folder).items() if entry["type"] == "file"}
        return found.get

    def read(self, path: str) -> bytes:
        with _told(path):
            return self._files.cat_file(self._path(path))

    def write(self, path: str, data: bytes) -> None:
        whole = self._path(path)
        with _told(path):
            if self._atomic:
                self._files.pipe_file(whole, data)
                return
            folder = whole.rpartition("/")[0]
            self._files.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/{MARK}{secrets.token_hex(6)}"
            try:
                self._files.pipe_file(temporary, data)
                self._files.mv(temporary, whole)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._files.rm_file(temporary)
                raise

    def sweep(self, folder: str) -> None:
        if not self._atomic:
            for name in [name for name in self._listed(folder) if name.startswith(MARK)]:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._path(folder)}/{name}")


@contextlib.contextmanager
def _told(url: str) -> Generator[None]:
    """Whatever a network's library raises becomes an OSError, which may pass, with the URL."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from None
    except Exception as error:
        number = getattr(error, "errno", None) or errno.EIO
        raise OSError(number, getattr(error, "strerror", None) or f"{type(error).__name__}: {error}", url) from error


_WHEN = ("LastModified", "last_modified", "mtime", "updated", "created")
"""What S3, Azure, most others, Google Storage and memory call it."""


def _seconds(entry: dict[str, Any]) -> float:
    """When a file of a listing was written; 0 where that is not known."""
    when: Any = next(filter(None, map(entry.get, _WHEN)), 0)
    return when.timestamp() if hasattr(when, "timestamp") else float(when)


_LOCAL = _Local()
_remote = cache(_Remote)
