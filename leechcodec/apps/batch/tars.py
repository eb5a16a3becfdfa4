"""WebDataset shards to shards: every image of a tar becomes what its file would, and what lies beside it is kept.

A task is a whole shard: one is read in one piece and written in one piece, wherever it lies. The worker holds it in
memory. One that dies has its shard done again.
"""

import io
import json
import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from leechcodec.apps.batch.coding import Decoding, Encoding
from leechcodec.apps.batch.files import FileSettings
from leechcodec.apps.batch.names import NUMBER, SHARD, File, Job, expanded, is_numbered, real, split
from leechcodec.apps.batch.tasks import Outcome, Task, outcome_of
from leechcodec.apps.messages import about, collected
from leechcodec.errors import CorruptError, LqError
from leechcodec.formats.files import told_apart
from leechcodec.formats.storage import join, storage_of
from leechcodec.formats.tars import whole


@dataclass(frozen=True)
class Shards:
    """sources: tars, patterns of them, or names with a number as in photos-%06d.tar; also as URLs. output: the name of
    the new ones, with their number: that of the old one where one name gives all of them, else counted from 0 in their
    order. One of one may have none."""

    sources: tuple[str, ...]
    output: str

    def jobs(self) -> Iterator[Job]:
        """Every shard. Raises LqError where there are none, several and no number, or where one would be overwritten
        that is still to be read."""
        found = list(self._found())
        place, name = split(self.output)
        numbered = is_numbered(name)
        if not found:
            raise LqError(f"{', '.join(self.sources)}: no shards")
        if not numbered and ("%" in name or len(found) > 1):
            raise LqError(f"{self.output}: the name of shards needs their number, as in out-%06d.tar")
        read = {real(path) for path, _ in found}
        own = len({number for _, number in found} - {None}) == len(found)
        jobs: list[Job] = []
        for place_in_order, (path, number) in enumerate(found):
            output = name % (number if own else place_in_order) if numbered else name
            jobs.append(Job(File(*split(path), place), output))
            if real(jobs[-1].target) in read:
                raise LqError(f"{jobs[-1].target}: is an input; -o names other shards")
        yield from jobs

    def count(self) -> int:
        return sum(1 for _ in self._found())

    def _found(self) -> Iterator[tuple[str, int | None]]:
        """Paths, and the number that the only source's name has there."""
        for source in self.sources:
            folder, name = split(source)
            if not NUMBER.search(name):
                yield from ((path, None) for path in expanded(source))
                continue
            before, after = map(re.escape, NUMBER.split(name, maxsplit=1))
            numbered = re.compile(rf"{before}(\d+){after}")
            for _, names in storage_of(source).folders(folder or ".", {SHARD}, False):
                matches = sorted((int(match[1]), each) for each in names if (match := numbered.fullmatch(each)))
                for number, each in matches:
                    yield join(folder, each), number if len(self.sources) == 1 else None


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
        blocks: list[bytes] = []
        members: list[dict[str, Any]] = []
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                infos = list(whole(archive))
                for info, name in zip(infos, self._outputs([info.name for info in infos]), strict=True):
                    if info.isdir():
                        continue
                    if name is None:
                        with suppress(CorruptError):  # a device, or a link that leads out of the tar, is left out
                            blocks.append(_member(info.name, _content(archive, info)))
                        continue
                    read = partial(_content, archive, info)
                    outcome = self._image(task, info.name, read)
                    if outcome.transient:  # once more; the others do not wait for it
                        outcome = self._image(task, info.name, read)
                    members.append({"name": f"{task.source}/{info.name}", "error": outcome.error or None})
                    if not outcome.error:
                        members[-1] |= json.loads(outcome.about) | {"output": f"{task.target}/{name}"}
                        blocks.append(_member(name, outcome.data))
        except tarfile.TarError as error:
            raise CorruptError(f"{task.source}: a damaged shard ({error})") from None
        made = b"".join(blocks)
        made += bytes(2 * tarfile.BLOCKSIZE + -(len(made) + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)
        storage_of(task.target).write(task.target, made)
        return Outcome(task.number, about=json.dumps({"members": members}).encode())

    def _outputs(self, names: Sequence[str]) -> list[str | None]:
        """What every member is called that is an image: 000.lq, or 000.jpg.lq where another would be called so too."""
        images = [posixpath.splitext(name)[1].lower() in self._settings.taken for name in names]
        wanted = [
            f"{posixpath.splitext(name)[0]}{self._settings.suffix}" if image else name
            for name, image in zip(names, images, strict=True)
        ]
        full = [f"{name}{self._settings.suffix}" if image else name for name, image in zip(names, images, strict=True)]
        wanted = told_apart(wanted, full)
        counts = Counter(wanted)
        if twice := next((name for name, image in zip(wanted, images) if image and counts[name] > 1), None):
            raise CorruptError(f"two members would both become {twice}")
        return [name if image else None for name, image in zip(wanted, images, strict=True)]

    def _image(self, task: Task, name: str, read: Callable[[], bytes]) -> Outcome:
        def work(member: Task) -> Outcome:
            with about(member.source), collected() as warned:
                content = read()
                made, facts = self._coding.make(content, member.source)
            told = asdict(facts) | {"read": len(content), "written": len(made), "warnings": warned}
            return Outcome(member.number, made, json.dumps(told).encode())

        return outcome_of(Task(task.number, f"{task.source}/{name}"), work)


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    """Of a file or of what a link leads to within the tar. Raises CorruptError for anything else."""
    try:
        file = archive.extractfile(info)
    except (KeyError, RecursionError):
        file = None
    if file is None:
        raise CorruptError(f"{info.name}: neither a file nor a link to one in this shard")
    return file.read()


def _member(name: str, content: bytes) -> bytes:
    """The blocks of a file in a tar, which say nothing of when and who."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
