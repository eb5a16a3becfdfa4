"""A run's manifest: a line for every image, as it is done, so that it survives whatever ends the run.

JSON lines. A name that ends in .parquet is made of them when the run ends; until then they are in FILE.parquet.jsonl.
"""

import contextlib
import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from leechcodec.errors import LqError
from leechcodec.formats.locks import lock
from leechcodec.formats.packages import require

COLUMNS = {
    "name": "string", "output": "string", "bytes": "int64", "width": "int32", "height": "int32", "bpp": "float64",
    "psnr": "float64", "seconds": "float64", "error": "string",
}  # fmt: skip
"""name: the image's path, as it was found. bytes: of the .lq file. psnr: dB, of an encoder. seconds: of the work.
error: of an image that could not be done. Null where there is none."""
_BEGINNING = b'{"name": '
"""Of every line: one that was not written whole is told from somebody's file without a last line feed."""
LAST = "last_of_shard"
"""Key of the last line of a shard's: without it the others were not written whole."""
ROWS = 50_000
"""Of a group of a Parquet file."""


class Manifest:
    """Opened for one run, which nobody else may join.

    What earlier runs wrote is kept: but lines of errors, since those images are tried again (not those of a shard,
    which is there without them), a last line that was not written whole, and those of a shard that lacks some. Of two
    lines of one name, which a run leaves that was killed while it made an image again, the later one stays.

    Raises LqError where another run is at work on it, or where it holds something else; MissingPackageError for a
    .parquet without pyarrow.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parquet = path.suffix.lower() == ".parquet"
        self._lines = path.with_name(path.name + ".jsonl") if self._parquet else path
        self._lines.parent.mkdir(parents=True, exist_ok=True)
        if self._parquet:
            require("pyarrow.parquet", "remote")
            if path.exists() and not self._lines.exists():
                self._from_parquet()
        self._open()
        self._shards: set[str] = set()
        self._known, dirty, twice = self._survey(errors=False)
        if dirty or len(twice):
            self._compact(twice, errors=False)
            self._known = self._survey(errors=False)[0]
        self._again = False

    def __contains__(self, name: str) -> bool:
        """Whether an earlier run did an image, or a shard of images."""
        if name in self._shards:
            return True
        digest = _digest(name)
        place = int(np.searchsorted(self._known, digest))
        return place < len(self._known) and self._known[place] == digest

    def add(self, *rows: dict[str, Any]) -> None:
        """Append lines, all at once: some of the columns, or all."""
        self._again |= any(row["name"] in self for row in rows)
        kept = [{key: row.get(key) for key in COLUMNS} for row in rows]
        if kept and shard_of(rows[-1]["name"]):
            kept[-1][LAST] = True
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept]
        self._file.write("".join(lines).encode("utf-8", "surrogateescape"))
        self._file.flush()

    def close(self) -> None:
        """The last step of a run, one that failed included."""
        if self._again:
            self._compact(self._survey(errors=True)[2], errors=True)
        if self._parquet:
            self._to_parquet()
            self._lines.unlink()
        self._file.close()

    def _open(self) -> None:
        self._file = open(self._lines, "ab")  # noqa: SIM115 (the manifest's, until it is closed)
        lock(self._file.fileno(), f"{self._path}: another run is at work on this manifest")

    def _rows(self) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        """Every line, with what it holds; None for the last one where it is not whole."""
        with open(self._lines, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") and line[: len(_BEGINNING)] == _BEGINNING[: len(line)]:
                    yield line, None
                    return
                row = None
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(line.decode("utf-8", "surrogateescape"))
                if not isinstance(row, dict) or not isinstance(row.get("name"), str):
                    raise LqError(f"{self._lines}: line {number} is none of a manifest's; name another file")
                yield line, row

    def _survey(self, *, errors: bool) -> tuple[np.ndarray, bool, np.ndarray]:
        """Digests of the names, sorted; whether there are lines to drop; and the digests that are there twice.

        Eight bytes a name, and nothing else is held of the lines."""
        found, dirty, shards = array("Q"), False, set()
        for _, row in self._rows():
            if row is None or _is_dropped(row, errors):
                dirty = True
            else:
                found.append(_digest(row["name"]))
                shards.add(shard := shard_of(row["name"]))
                if row.get(LAST):
                    self._shards.add(shard)
        dirty |= not shards <= {"", *self._shards}
        digests = np.sort(np.frombuffer(found, dtype=np.uint64)) if found else np.empty(0, dtype=np.uint64)
        return digests, dirty, np.unique(digests[1:][digests[1:] == digests[:-1]])

    def _compact(self, twice: np.ndarray, *, errors: bool) -> None:
        """Write the lines anew, of those there twice the last ones. errors: keep those with an error."""
        several, written = set(twice.tolist()), {"", *self._shards}
        named = (row["name"] if row else "" for _, row in self._rows())
        last = {name: number for number, name in enumerate(named) if _digest(name) in several}
        temporary = self._lines.with_name(f".{self._lines.name}.new")
        with open(temporary, "wb") as file:
            for number, (line, row) in enumerate(self._rows()):
                if row is None or _is_dropped(row, errors) or shard_of(row["name"]) not in written:
                    continue
                if last.get(row["name"], number) == number:
                    file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._lines)
        self._file.close()
        self._open()

    def _to_parquet(self) -> None:
        arrow, parquet = require("pyarrow", "remote"), require("pyarrow.parquet", "remote")
        schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()])
        temporary = self._path.with_name(f".{self._path.name}.new")
        with parquet.ParquetWriter(temporary, schema) as writer:
            rows: list[dict] = []
            for _, row in self._rows():
                rows += [{key: _valid(row.get(key)) for key in COLUMNS}] if row else []
                if len(rows) == ROWS:
                    writer.write_table(arrow.Table.from_pylist(rows, schema))
                    rows = []
            writer.write_table(arrow.Table.from_pylist(rows, schema))
        os.replace(temporary, self._path)

    def _from_parquet(self) -> None:
        parquet = require("pyarrow.parquet", "remote")
        temporary = self._lines.with_name(f".{self._lines.name}.new")
        try:
            with parquet.ParquetFile(self._path) as source, open(temporary, "wb") as file:
                for batch in source.iter_batches(ROWS):
                    for row in batch.to_pylist():  # of a run that ended: its shards are whole
                        row |= {LAST: True} if shard_of(row["name"]) else {}
                        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        except (OSError, ValueError) as error:
            raise LqError(f"{self._path}: no manifest that can be read ({error}); name another file") from None
        os.replace(temporary, self._lines)


def shard_of(name: str) -> str:
    """The tar that an image is in, as photos.tar/000.jpg says; empty for one that is a file."""
    found = re.search(r"^(.*?\.tar)/", name, re.IGNORECASE | re.DOTALL)
    return found[1] if found else ""


def _is_dropped(row: dict[str, Any], errors: bool) -> bool:
    """Whether a line is of an image that is tried again."""
    return bool(row.get("error")) and not errors and not shard_of(row["name"])


def _valid(value: Any) -> Any:
    """A name that is no Unicode, in a form that is."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value


def _digest(name: str) -> int:
    """64 bits: that two names among a billion have the same has a chance of one in forty."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
