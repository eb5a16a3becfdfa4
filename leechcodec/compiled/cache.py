"""Where machine code is kept, so that it is made once: files that cannot stop the program.

Beside the kernel's module, else in the user's cache folder, else in a folder of this user alone among the temporary
files, else nowhere. NUMBA_CACHE_DIR comes before them all. What is found damaged is made and written again.

A file: one line of JSON (name, result, SHA-256 of all else), then object code.
"""

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_elsewhere: set[str | None] = set()
"""Where code was written that had no usual place: a folder, or None for nowhere."""


@dataclass(frozen=True)
class MachineCode:
    """symbol: the function's name in the object code. result: what it returns, a key of ``calling.RESULTS``."""

    symbol: str
    result: str
    object_code: bytes

    def to_bytes(self) -> bytes:
        head = json.dumps({"symbol": self.symbol, "result": self.result, "sha256": self._digest()})
        return head.encode() + b"\n" + self.object_code

    @classmethod
    def from_bytes(cls, data: bytes) -> "MachineCode":
        """Raises ValueError or KeyError for what :meth:`to_bytes` did not write."""
        line, _, object_code = data.partition(b"\n")
        head = json.loads(line)
        code = cls(str(head["symbol"]), str(head["result"]), object_code)
        if code._digest() != head["sha256"]:
            raise ValueError("machine code is damaged")
        return code

    def _digest(self) -> str:
        return hashlib.sha256(f"{self.symbol}\n{self.result}\n".encode() + self.object_code).hexdigest()


def load(source: Path, name: str) -> MachineCode | None:
    """The code kept under a name, if it is there and whole. source: of the kernel."""
    for folder in _folders(source):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return MachineCode.from_bytes((folder / name).read_bytes())
    return None


def save(source: Path, name: str, code: MachineCode) -> None:
    """Keep code under a name in the first folder that takes it. A full or read-only disk is no error."""
    for folder in _folders(source, make=True):
        temporary = folder / f"{name}.{os.getpid()}"
        try:
            temporary.write_bytes(code.to_bytes())
            os.replace(temporary, folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            continue
        if folder == _temporary_path():
            _elsewhere.add(str(folder))
        return
    _elsewhere.add(None)


def remark() -> str | None:
    """What to tell the user of where compiled code is kept, None where nothing is unusual."""
    if not _elsewhere:
        return None
    folders = sorted(folder for folder in _elsewhere if folder)
    where = f"kept in {', '.join(folders)}" if folders else "not kept, and compiled again by every process"
    return f"compiled code is {where}: neither the package's folder nor the cache folder can be written"


def _folders(source: Path, make: bool = False) -> Iterator[Path]:
    """Those that are there, the first choice first. make: make those that are not."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        usual = [Path(chosen) / "leechcodec"]
    else:
        usual = [source.parent / "__pycache__", _user_cache()] if source.is_file() else [_user_cache()]
    for folder in usual:
        if make:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            yield folder
    if (temporary := _temporary(make)) is not None:
        yield temporary


def _user_cache() -> Path:
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local") / "leechcodec"
    if sys.platform == "darwin":
        return home / "Library/Caches/leechcodec"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "leechcodec"


def _temporary_path() -> Path | None:
    return Path(tempfile.gettempdir()) / f"leechcodec-{os.getuid()}" if hasattr(os, "getuid") else None


def _temporary(make: bool) -> Path | None:
    """A folder of this user's, that nobody else can write: what is in it will be executed."""
    if (folder := _temporary_path()) is None:
        return None
    with contextlib.suppress(OSError):
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(folder)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
    return None
