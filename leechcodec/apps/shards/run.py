"""The driver: what is missing to an executor, what comes back to disk.

An image that is done is a part, a file of its own, so that a run that is killed loses nothing; when the last image of
a shard has come in, its parts become the shard.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leechcodec.apps.batch.tasks import Executor, Outcome, Task, attempts
from leechcodec.apps.shards.archive import fragment, read_index, write_archive
from leechcodec.apps.shards.plan import PART, Plan, claimed, key_of
from leechcodec.apps.shards.worker import Settings
from leechcodec.codec.model_store import LoadedModel, load_model
from leechcodec.codec.token_files import LAYOUT, vocabulary
from leechcodec.config import check_quality, header_quality
from leechcodec.errors import TokensError
from leechcodec.formats.files import write_atomic
from leechcodec.networks.devices import place
from leechcodec.networks.runtime import runtime

Progress = Callable[[int, int], None]
"""Called with the images done, those of earlier runs included, and the images in all."""


@dataclass(frozen=True)
class Report:
    """written: shards of this run. done: images tokenized by it. present: images that were there before.
    failed: (source, reason), in the order of the list."""

    written: tuple[Path, ...]
    done: int
    present: int
    failed: tuple[tuple[str, str], ...]


def write_shards(plan: Plan, settings: Settings, execute: Executor, progress: Progress | None = None) -> Report:
    """Tokenize the images of a plan into its shards, those that are there already left out.

    Every image is in its shard once, or in the report's and the file's list of failures, to be tried again by the next
    run. A shard is complete or not there. Its bytes depend on the plan, the settings and the images alone.

    Raises TokensError where the output was begun with other images or settings, or is damaged; ModelError; WorkerError
    where workers die and die; MissingPackageError where the executor's package is not installed.
    """
    check_quality(settings.quality)
    vocabulary(model=settings.model)  # no worker starts where tokens cannot be numbered
    plan.pattern.parent.mkdir(parents=True, exist_ok=True)
    with claimed(plan, _identity(settings)):
        return _Run(plan, settings.form).run(execute, progress)


def _identity(settings: Settings) -> dict[str, str | int | float]:
    """All that decides a sample's bytes beside the image."""
    loaded = load_model(settings.model)
    return {
        "layout": LAYOUT,
        "format": settings.form,
        "quality": header_quality(settings.quality),
        "effort": settings.effort,
        "threads": settings.threads,
        "token_model": loaded.token_model.hex(),
        "networks_sha256": _networks_digest(loaded),
        **({"device": where} if (where := place()[1]) != "cpu" else {}),
    }


def _networks_digest(loaded: LoadedModel) -> str:
    """The transform that chooses tokens is not part of the token model's id."""
    digest = hashlib.sha256()
    how = place()[0] or runtime()
    if how != "torch":  # it may choose another token here and there
        for name, value in sorted(loaded.tensors.items()):
            digest.update(f"{how} {name}".encode() + np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()
    for name, value in sorted(loaded.networks.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Run:
    """One run over a plan that is claimed."""

    def __init__(self, plan: Plan, form: str) -> None:
        self._plan, self._form = plan, form
        self._in_shard = [self._index(shard) for shard in range(plan.shards)]
        plan.parts.mkdir(exist_ok=True)
        for path in plan.parts.iterdir():
            if not PART.fullmatch(path.name):  # what a killed run was writing, or a file system left
                path.unlink()
        self._parts = {int(path.stem) for path in plan.parts.iterdir()}

    def _index(self, shard: int) -> dict[str, tuple[int, int]]:
        """Of what is in a shard already."""
        path = self._plan.shard_path(shard)
        if not path.exists():
            return {}
        index = read_index(path)
        if strange := sorted(set(index) - set(map(key_of, self._plan.members(shard)))):
            raise TokensError(f"{path}: holds a sample {strange[0]}, which is not this shard's")
        return index

    def run(self, execute: Executor, progress: Progress | None) -> Report:
        plan = self._plan
        there = self._parts | {int(key) for index in self._in_shard for key in index}
        tasks = [Task(number, source) for number, source in enumerate(plan.sources) if number not in there]
        missing = Counter(plan.shard_of(task.number) for task in tasks)
        written = [self._assemble(shard) for shard in range(plan.shards) if not missing[shard]]
        done, failed = 0, {}
        if progress:
            progress(len(there), len(plan.sources))
        with open(plan.failed, "w") as failures, contextlib.closing(attempts(execute, tasks)) as outcomes:
            for _, outcome in outcomes:
                number = outcome.number
                if outcome.error:
                    failed[number] = outcome.error
                    failures.write(self._failure(number, outcome.error))
                    failures.flush()
                else:
                    self._keep(outcome)
                    done += 1
                missing[plan.shard_of(number)] -= 1
                if not missing[plan.shard_of(number)]:
                    written.append(self._assemble(plan.shard_of(number)))
                if progress:
                    progress(len(there) + done + len(failed), len(plan.sources))
        self._finish(failed)
        found = tuple((plan.sources[number], failed[number]) for number in sorted(failed))
        return Report(tuple(path for path in written if path), done, len(there), found)

    def _keep(self, outcome: Outcome) -> None:
        blocks = fragment(key_of(outcome.number), {"json": outcome.about, self._form: outcome.data})
        write_atomic(self._plan.part_path(outcome.number), blocks, force=True)
        self._parts.add(outcome.number)

    def _assemble(self, shard: int) -> Path | None:
        """Write a shard of what it held and of its parts; None where there are no new ones."""
        plan, path = self._plan, self._plan.shard_path(shard)
        parts = [number for number in plan.members(shard) if number in self._parts]
        new = [number for number in parts if key_of(number) not in self._in_shard[shard]]
        if new:
            write_archive(path, self._fragments(shard), plan.parts / "shard.temporary")
        for number in parts:
            plan.part_path(number).unlink()
            self._parts.discard(number)
        return path if new else None

    def _fragments(self, shard: int) -> Iterator[bytes]:
        """Those of a shard's images that there are, in order."""
        plan, index = self._plan, self._in_shard[shard]
        with contextlib.ExitStack() as stack:
            old = stack.enter_context(open(plan.shard_path(shard), "rb")) if index else None
            for number in plan.members(shard):
                if (extent := index.get(key_of(number))) and old:
                    old.seek(extent[0])
                    yield old.read(extent[1])
                elif number in self._parts:
                    yield plan.part_path(number).read_bytes()

    def _failure(self, number: int, error: str) -> str:
        return json.dumps({"key": key_of(number), "source": self._plan.sources[number], "error": error}) + "\n"

    def _finish(self, failed: dict[int, str]) -> None:
        plan = self._plan
        if failed:
            lines = "".join(self._failure(number, failed[number]) for number in sorted(failed))
            write_atomic(plan.failed, lines.encode(), force=True)
        else:
            plan.failed.unlink()
        with contextlib.suppress(OSError):  # a network's file system may keep something there for a while
            plan.parts.rmdir()
