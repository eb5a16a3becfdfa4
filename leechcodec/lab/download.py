"""Downloads that go on where they stopped and are checked before they count."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from leechcodec.lab.errors import DatasetError

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes there so far, and their number in all where it is known."""
BLOCK = 1 << 16
TIMEOUT = 30.0
"""Seconds without a byte."""


def no_progress(name: str, done: int, total: int | None) -> None:
    """For callers who do not watch."""


def fetch(url: str, target: Path, sha256: str, progress: Progress = no_progress) -> None:
    """Download a file, or the rest of it.

    It grows as ``<name>.part`` beside the target and is renamed when its SHA-256 begins with ``sha256`` (hex, whole or
    the first digits). Raises DatasetError where it is another file (the part is removed), OSError (URLError among
    them) where the network fails (the part stays).
    """
    part = target.with_name(target.name + ".part")
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": all of it is there already
            raise
    else:
        with response:
            if start and response.status != 206:
                start = 0  # the server sends the file from its beginning
            left = response.headers.get("Content-Length")
            total = start + int(left) if left else None
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                while block := response.read(BLOCK):
                    file.write(block)
                    progress(target.name, file.tell(), total)
            if total is not None and part.stat().st_size < total:
                raise OSError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    if not digest.startswith(sha256):
        part.unlink()
        raise DatasetError(f"{url}: not the file it should be (SHA-256 {digest[:16]}…, not {sha256[:16]}…)")
    part.replace(target)
