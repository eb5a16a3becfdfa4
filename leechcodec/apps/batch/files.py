"""The run of encode and decode: every image to a file of its own.

The worker writes what it makes, under a temporary name that it renames: large pictures do not travel through the
driver, and work that is done twice leaves one file. So there is nothing to put together, and nothing to lose: a run
that was ended goes on with what is not there yet.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, cast

from leechcodec.apps.batch.coding import Decoding, Done, Encoding, Facts
from leechcodec.apps.batch.manifest import Manifest
from leechcodec.apps.batch.names import Job, real, split
from leechcodec.apps.batch.tasks import Executor, Outcome, Task, attempts, outcome_of
from leechcodec.apps.messages import about, collected, hear_warnings
from leechcodec.formats.storage import Times, is_newer, is_url, storage_of


class Listed(Protocol):
    """Files, or shards, and what each becomes."""

    def jobs(self) -> Iterator[Job]: ...


TOLD = 1000
"""Failures that are remembered for the end; a manifest has all."""


@dataclass(frozen=True)
class FileSettings:
    """What workers are made of. threads: that each computes with, None for as many as there are."""

    coding: Encoding | Decoding
    threads: int | None = None

    def here(self) -> "FileWorker":
        """A worker in this process, whose threads and warnings are somebody else's."""
        self.coding.prepare()
        return FileWorker(self)

    def alone(self) -> "FileWorker":
        """A worker that has its process for itself."""
        if self.threads:
            from leechcodec.threads import set_threads

            set_threads(self.threads)
        hear_warnings()
        return self.here()


class FileWorker:
    """Reads a file, writes what it becomes, and says so."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings

    def __call__(self, task: Task) -> Outcome:
        return outcome_of(task, self._done)

    def _done(self, task: Task) -> Outcome:
        stamps = None if is_url(task.source) else os.stat(task.source)  # of what is read, not of what replaces it
        data = storage_of(task.source).read(task.source)
        with about(task.source), collected() as warned:
            made, facts = self._settings.coding.make(data, task.source)
        storage_of(task.target).write(task.target, made)
        if stamps and not is_url(task.target):
            os.utime(task.target, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
        told = asdict(facts) | {"read": len(data), "written": len(made), "warnings": warned}
        return Outcome(task.number, about=json.dumps(told).encode())


@dataclass
class Summary:
    """What a run did. present: images that were there before. failures: (number, reason), the first ones."""

    done: int = 0
    present: int = 0
    failed: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)

    def line(self) -> str:
        before = f"{self.present:,} there before, " if self.present else ""
        failed = f"{self.failed:,} failed, " if self.failed else ""
        sizes = f"{self.read / 1e6:,.2f} MB in, {self.written / 1e6:,.2f} MB out"
        speed = self.done / self.seconds if self.seconds else 0.0
        return f"{self.done:,} images, {before}{failed}{sizes}, {speed:.2f} images per second"


@dataclass(frozen=True)
class Existing:
    """What becomes of outputs that are there. skip: those newer than their inputs are left alone, older ones made
    again. force: all are made again. Neither: they are failures."""

    skip: bool = False
    force: bool = False


def run_files(
    names: Listed,
    execute: Executor,
    existing: Existing,
    *,
    manifest: Manifest | None = None,
    finished: Callable[[Done], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Do every job of the names; what fails is in the summary, and in the manifest, and the rest is done.

    manifest: with it an image counts as there only where it has a line. finished: called for every file that is done,
    in the order of completion. progress: called with (images done or failed, images there before).

    Raises LqError where there is nothing to do, WorkerError where workers die and die or there is no room, OSError
    where a folder that was named cannot be listed.
    """
    run = _Run(names, existing, manifest, progress or (lambda done, present: None))
    started = time.perf_counter()
    with contextlib.closing(attempts(execute, run.tasks(), run.disturbed)) as outcomes:
        for task, outcome in outcomes:
            for done in run.took(task, outcome):
                if finished:
                    finished(done)
    run.sweep()
    run.summary.seconds = time.perf_counter() - started
    return run.summary


class _Run:
    """What is counted and remembered of a run, none of it for every image."""

    def __init__(
        self, names: Listed, existing: Existing, manifest: Manifest | None, progress: Callable[[int, int], None]
    ) -> None:
        self._names, self._existing, self._manifest, self._progress = names, existing, manifest, progress
        self._disturbed: set[str] = set()
        """Places that :meth:`sweep` looks at."""
        self._swept: set[str] = set()
        """Places that were looked at before work began there: a worker may be at it by now."""
        self.summary = Summary()

    def tasks(self) -> Iterator[Task]:
        """What is to be done, made as it is asked for."""
        folder, written = None, cast(Times, None)
        place, there = None, cast(Times, None)
        for number, job in enumerate(self._names.jobs()):
            file = job.file
            if file.refused:
                self.fail(number, file.path, job.target, f"{file.path}: {file.refused}")
                continue
            if file.folder != folder:
                folder = file.folder
                written = storage_of(folder).times(folder) if self._existing.skip else lambda _: None
            if file.place != place:
                place = file.place
                if place not in self._swept:
                    self._swept.add(place)
                    storage_of(place).sweep(place)
                there = storage_of(place).times(place)
            try:
                made = there(job.output)
                done = made is not None and self._existing.skip and self._is_done(file.path, written(file.name), made)
                reason = "" if made is None or done else self._refusal(job)
            except OSError as error:  # a name that is too long, links in a circle, a folder
                done, reason = False, error.strerror or str(error)
            if reason:
                self.fail(number, file.path, job.target, f"{job.target}: {reason}")
            elif done:
                self.summary.present += 1
                self._tell()
            else:
                yield Task(number, file.path, job.target)

    def _is_done(self, source: str, written: float | None, made: float) -> bool:
        """written, made: when the input and the output were."""
        return is_newer(made, written) and (self._manifest is None or source in self._manifest)

    def _refusal(self, job: Job) -> str:
        """Why an output that is there may not be written, if so."""
        source, target = real(job.file.path), real(job.target)
        local = not (is_url(source) or is_url(target))
        if source == target or (local and os.path.exists(source) and os.path.samefile(source, target)):
            return "is the input; -o names another output"
        return "" if self._existing.skip or self._existing.force else "exists; -f overwrites it"

    def took(self, task: Task, outcome: Outcome) -> Iterator[Done]:
        """Count and record what became of a task: of a file, or of each of a shard's."""
        if outcome.error:
            self.fail(task.number, task.source, task.target, outcome.error)
            return
        told = json.loads(outcome.about)
        places = {"name": task.source, "output": task.target}
        images = [places | each for each in told.get("members", [told])]
        if self._manifest:
            self._manifest.add(*images)
        for each in images:
            if each.get("error"):
                self._count_failure(task.number, each["error"])
            else:
                yield self._count(each)

    def _count(self, told: dict[str, Any]) -> Done:
        self.summary.done += 1
        self.summary.read += told["read"]
        self.summary.written += told["written"]
        self._tell()
        facts = Facts(**{each.name: told[each.name] for each in fields(Facts)})
        return Done(told["name"], told["output"], facts, tuple(told["warnings"]))

    def fail(self, number: int, source: str, target: str, reason: str) -> None:
        """Count and record a file that could not be done. What an earlier run made of it stays, as does its line."""
        if self._manifest and source not in self._manifest:
            self._manifest.add({"name": source, "output": target, "error": reason})
        self._count_failure(number, reason)

    def _count_failure(self, number: int, reason: str) -> None:
        self.summary.failed += 1
        if len(self.summary.failures) < TOLD:
            self.summary.failures.append((number, reason))
        self._tell()

    def disturbed(self, task: Task) -> None:
        """Remember where a worker that died may have left something."""
        self._disturbed.add(split(task.target)[0])

    def sweep(self) -> None:
        """Remove what workers left that were killed in this run."""
        for place in self._disturbed:
            storage_of(place).sweep(place)

    def _tell(self) -> None:
        self._progress(self.summary.done + self.summary.failed, self.summary.present)
