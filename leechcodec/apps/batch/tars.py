"""WebDataset shards to shards: every image of a tar becomes what its file would, and what lies beside it is kept.

A task is a whole shard: one is read in one piece and written in one piece, wherever it lies. The worker holds it in
memory. One that dies has its shard done again.
"""

import io
import json
import re
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from leechcodec.apps.batch.coding import Decoding, Encoding
from leechcodec.apps.batch.files import FileSettings
from leechcodec.apps.batch.names import NUMBER, File, Job, expanded, is_numbered
from leechcodec.apps.batch.tasks import Outcome, Task, outcome_of
from leechcodec.apps.messages import about, collected
from leechcodec.errors import CorruptError, LqError
from leechcodec.formats.storage import join, storage_of

SUFFIX = ".tar"


def is_shards(path: str | None) -> bool:
    """Whether a path names a shard, or shards by a pattern."""
    return path is not None and path.lower().endswith(SUFFIX)


@dataclass(frozen=True)
class Shards:
    """sources: tars, patterns of them, or names with a number as in photos-%06d.tar; also as URLs. output: the name of
    the new ones, with their number; they are numbered from 0, in the order of the old. One of one may have none."""

    sources: tuple[str, ...]
    output: str

    def jobs(self) -> Iterator[Job]:
        """Every shard. Raises LqError where there are none, or several and no number."""
        found = list(self._found())
        place, _, name = self.output.rpartition("/")
        numbered = is_numbered(name)
        if not found:
            raise LqError(f"{', '.join(self.sources)}: no shards")
        if not numbered and ("%" in name or len(found) > 1):
            raise LqError(f"{self.output}: the name of shards needs their number, as in out-%06d.tar")
        for number, path in enumerate(found):
            folder, _, own = path.rpartition("/")
            yield Job(File(folder, own, place), name % number if numbered else name)

    def count(self) -> int:
        return sum(1 for _ in self._found())

    def _found(self) -> Iterator[str]:
        for source in self.sources:
            folder, _, name = source.rpartition("/")
            if not NUMBER.search(name):
                yield from expanded(source)
                continue
            before, after = map(re.escape, NUMBER.split(name, maxsplit=1))
            for _, names in storage_of(source).folders(folder or ".", {SUFFIX}, False):
                yield from (join(folder, each) for each in names if re.fullmatch(rf"{before}\d+{after}", each))


@dataclass(frozen=True)
class ShardSettings(FileSettings):
    """What workers at shards are made of. taken: suffixes of members that are images. suffix: of what they become."""

    taken: Collection[str] = ()
    suffix: str = ""

    def here(self) -> "ShardWorker":
        """As of single files."""
        self.coding.prepare()
        return ShardWorker(self)


class ShardWorker:
    """Reads a shard, writes what it becomes, and says so of every image."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings
        self._coding: Encoding | Decoding = settings.coding

    def __call__(self, task: Task) -> Outcome:
        return outcome_of(task, self._done)

    def _done(self, task: Task) -> Outcome:
        data = storage_of(task.source).read(task.source)
        blocks, members = [], []
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                for info in archive:
                    if not info.isreg():
                        continue
                    content = archive.extractfile(info).read()  # pyright: ignore[reportOptionalMemberAccess]
                    if PurePosixPath(info.name).suffix.lower() not in self._settings.taken:
                        blocks.append(_member(info.name, content))
                        continue
                    outcome = self._image(task, info.name, content)
                    if outcome.transient:
                        return Outcome(task.number, error=outcome.error, transient=True)
                    members.append({"name": f"{task.source}/{info.name}", "error": outcome.error or None})
                    if not outcome.error:
                        members[-1] |= json.loads(outcome.about) | {"output": f"{task.target}/{self._named(info.name)}"}
                        blocks.append(_member(self._named(info.name), outcome.data))
        except tarfile.TarError as error:
            raise CorruptError(f"{task.source}: a damaged shard ({error})") from None
        made = b"".join(blocks)
        made += bytes(2 * tarfile.BLOCKSIZE + -(len(made) + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)
        storage_of(task.target).write(task.target, made)
        return Outcome(task.number, about=json.dumps({"members": members}).encode())

    def _named(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix(self._settings.suffix))

    def _image(self, task: Task, name: str, content: bytes) -> Outcome:
        def work(member: Task) -> Outcome:
            with about(member.source), collected() as warned:
                made, facts = self._coding.make(content, member.source)
            told = asdict(facts) | {"read": len(content), "written": len(made), "warnings": warned}
            return Outcome(member.number, made, json.dumps(told).encode())

        return outcome_of(Task(task.number, f"{task.source}/{name}"), work)


def _member(name: str, content: bytes) -> bytes:
    """The blocks of a file in a tar, which say nothing of when and who."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
