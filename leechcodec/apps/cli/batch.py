"""Many files at once: which become which, and a pool of threads that shares one model.

A file that cannot be done is named at the end, and the rest is done.
"""

import glob
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from leechcodec.apps.cli.group import note, reason
from leechcodec.apps.cli.streams import CURRENT, count_bar, keep_stamps, set_threads, target_of
from leechcodec.errors import LqError
from leechcodec.formats.files import files_below
from leechcodec.formats.machine import available_cores

_SUFFIXES = "png apng jpg jpeg jpe jfif mpo webp avif heic heif hif jxl jp2 tif tiff bmp ppm pgm pnm gif tga"
PHOTOGRAPHS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split(" "))
"""What encode takes from a folder; a file that is named is always tried."""
Done = TypeVar("Done")


@dataclass(frozen=True)
class Job:
    """A file and what it becomes. target: None for standard output. batch: one of many."""

    source: str
    target: Path | None
    batch: bool = False


def is_single(sources: Sequence[str]) -> bool:
    """Whether the command line names one file, and not a folder or a pattern."""
    if len(sources) != 1 or not sources[0]:
        return len(sources) == 1
    path = Path(sources[0])
    return not path.is_dir() and (path.exists() or not _magic(sources[0]))


def plan(
    sources: Sequence[str],
    output: str | None,
    suffix: str,
    taken: frozenset[str],
    recursive: bool,
    keep_extension: bool = False,
) -> list[Job]:
    """The jobs of files, folders and patterns.

    output: a folder, made where it is missing, that keeps the names below each folder given; None writes beside each
    file. suffix: of the outputs. taken: suffixes taken from folders. keep_extension: a.jpg becomes a.jpg.lq; what would
    become one output, a.jpg and a.png, does so in any case. Raises LqError where nothing is to be done, the output is a
    file, or two inputs would become one output all the same.
    """
    if output == "-":
        raise LqError("many files do not go to standard output; give a folder with -o")
    if output is not None and Path(output).exists() and not Path(output).is_dir():
        raise LqError(f"{output}: not a folder")
    if output is not None and not Path(output).exists() and Path(output).suffix.lower() in {suffix, *PHOTOGRAPHS}:
        raise LqError(f"{output}: the name of one file; many files need a folder")
    places = [
        (path, path if output is None else Path(output) / below) for path, below in _files(sources, taken, recursive)
    ]
    counts = Counter(place.with_suffix(suffix) for _, place in places)
    jobs: dict[Path, Job] = {}
    for path, place in places:
        target = place.with_suffix(suffix)
        if keep_extension or counts[target] > 1:
            target = place.with_name(place.name + suffix)
        if target in jobs:
            raise LqError(f"{jobs[target].source} and {path} would both become {target}")
        jobs[target] = Job(str(path), target, batch=True)
    if not jobs:
        raise LqError(f"{', '.join(sources)}: no files to work on{'' if recursive else ' (--recursive looks deeper)'}")
    return list(jobs.values())


def _files(sources: Sequence[str], taken: frozenset[str], recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Every file, and its path below the folder that was given."""
    seen = set()
    for source in sources:
        matches = sorted(glob.glob(source, recursive=True)) if _magic(source) and not Path(source).exists() else []
        for path in map(Path, matches or [source]):
            if path.is_dir():
                found = [(path / below, below) for below in sorted(files_below(path, taken, recursive))]
            else:
                found = [(path, Path(path.name))]
            for file, below in found:
                if (real := file.resolve()) not in seen:
                    seen.add(real)
                    yield file, below


def _magic(source: str) -> bool:
    return glob.has_magic(source)


def run(
    jobs: Sequence[Job],
    work: Callable[[Job], Done],
    finished: Callable[[Job, Done], None],
    *,
    force: bool,
    workers: int | None = None,
    threads: int | None = None,
) -> int:
    """Do every job, several at a time; returns the number that failed, each told in one line at the end.

    work: called in a worker thread. finished: called in this one, in the order of completion. Each output gets the
    time stamps of its input. workers, threads: threads that work on files (default: one a core), and threads that
    each of them computes with (default: an equal share of the cores).
    """
    cores = len(available_cores())
    workers = min(workers or cores, len(jobs))
    failures: dict[int, str] = {}

    def one(job: Job) -> Done:
        CURRENT.set(job.source)
        target_of(job.source, str(job.target), "", force)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        done = work(job)
        keep_stamps(job.source, job.target)
        return done

    share = threads or max(1, cores // workers)
    with (
        count_bar(len(jobs), "file") as bar,
        ThreadPoolExecutor(workers, initializer=set_threads, initargs=(share,)) as pool,
    ):
        futures = {pool.submit(copy_context().run, one, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                number = futures[future]
                bar.update()
                try:
                    done = future.result()
                except Exception as error:
                    if (message := reason(error)) is None:
                        raise
                    failures[number] = message
                else:
                    with bar.external_write_mode():  # lines above the bar
                        finished(jobs[number], done)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # an interrupt ends after the files at work
            raise
    for number in sorted(failures):
        note(failures[number])
    if failures:
        note(f"{len(failures)} of {len(jobs)} files failed")
    return len(failures)
