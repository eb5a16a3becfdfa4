"""Rows already measured, so that an interrupted evaluation goes on and a finished one repeats in seconds.

``cache/<codec>.jsonl`` in the results folder: one JSON object a line, appended as rows come in. A line counts while
its key fits (codec with versions and model, setting, image and its SHA-256) and the compressed file is still there.
A line from before a metric existed has none of it and keeps its ``metrics``: the file is decoded again, not encoded.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from leechcodec.lab.errors import ResultsError
from leechcodec.lab.results import ImageRow, row_from


@dataclass(frozen=True)
class Entry:
    """A row with what it depends on. metrics: the versions of what measured it. sha256: of the compressed file.
    machine: where its times were taken (environment.py), None where an earlier version did not say."""

    key: str
    metrics: str
    sha256: str
    row: ImageRow
    machine: dict | None = None


def fingerprint(value) -> str:
    """A short name for a JSON value: 16 hex digits, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


LATER = {"ssimulacra2": None}
"""What rows of earlier versions lack, as not measured."""


class RowCache:
    """The rows of one codec in a results folder."""

    def __init__(self, folder: Path, codec: str, *, fresh: bool = False):
        """Read what is there; with fresh, begin anew. A damaged line, as an interruption leaves, is passed over."""
        self.folder = folder
        self.path = folder / "cache" / f"{codec}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.entries: dict[str, Entry] = {}
        if fresh:
            self.path.unlink(missing_ok=True)
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.is_file() else ():
            try:
                data = json.loads(line)
                row = row_from(LATER | data["row"], "cache")
                entry = Entry(data["key"], data["metrics"], data["sha256"], row, data.get("machine"))
            except (ValueError, TypeError, KeyError, ResultsError):
                continue
            self.entries[entry.key] = entry

    def get(self, key: str) -> Entry | None:
        """The entry of a key if its compressed file is still what it was."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        path = self.folder / entry.row.file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
            return None
        return entry

    def put(self, entry: Entry) -> None:
        """Keep an entry, on disk at once."""
        self.entries[entry.key] = entry
        torn = self.path.is_file() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(asdict(entry)) + "\n")
