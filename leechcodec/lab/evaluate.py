"""Every codec over its settings on every image of a folder: ``results/<codec>.json`` and the compressed files.

parent: which rows are wanted ─▶ cache ─▶ the missing ones to worker processes ─▶ cache ─▶ means ─▶ results
"""

import multiprocessing
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path

from leechcodec import __version__
from leechcodec.errors import WorkerError
from leechcodec.formats.machine import available_cores
from leechcodec.formats.packages import require
from leechcodec.lab.cache import Entry, RowCache, fingerprint
from leechcodec.lab.datasets import Photograph, photographs, sha256_of
from leechcodec.lab.errors import DatasetError
from leechcodec.lab.measure import Measured, Task, measure, start_worker
from leechcodec.lab.peers.base import Peer, PeerOptions, Setting
from leechcodec.lab.peers.registry import adapter
from leechcodec.lab.results import ImageRow, Results, Skipped, means, save
from leechcodec.training.lpips_net import find_weights, read_backbone

Progress = Callable[[str, int, int], None]
"""Called with the codec at work, the rows done and the rows in all, cached ones left out."""


@dataclass(frozen=True)
class EvalConfig:
    """An evaluation. dials: codec -> positions of its dial in place of its default ones. jobs: worker processes,
    which share the cores. lpips: the backbone's file or folder, None for no LPIPS. fresh: measure everything anew."""

    dataset: Path
    codecs: tuple[str, ...]
    output: Path
    options: PeerOptions = field(default_factory=PeerOptions)
    dials: Mapping[str, tuple[float, ...]] | None = None
    jobs: int = 1
    lpips: Path | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Outcome:
    """written: results files by codec. skipped: codec -> reason. unreadable: (image, reason). failed: (codec, image,
    reason). measured, cached: numbers of rows."""

    written: dict[str, Path]
    skipped: dict[str, str]
    unreadable: list[tuple[str, str]]
    failed: list[tuple[str, str, str]]
    measured: int
    cached: int


def evaluate(config: EvalConfig, progress: Progress | None = None) -> Outcome:
    """Run an evaluation. Codecs that are not available and images that cannot be read are named in the outcome.

    Raises PeerError for a codec or setting that does not exist, DatasetError for a folder without images,
    MissingPackageError where the metrics' libraries are not installed, ModelError for other LPIPS weights.
    """
    peers = [adapter(key, config.options) for key in dict.fromkeys(config.codecs)]
    if not peers:
        raise DatasetError("no codec to evaluate")
    settings = {peer.key: _settings(peer, config.dials or {}) for peer in peers}
    for package in ("pytorch_msssim", "ssimulacra2"):
        require(package)
    images, unreadable = photographs(config.dataset)
    lpips = find_weights(config.lpips) if config.lpips else None
    metrics = _metrics_identity(lpips)
    skipped = {peer.key: reason for peer in peers if (reason := peer.available())}
    peers = [peer for peer in peers if peer.key not in skipped]

    plans = {peer.key: _Plan(peer, settings[peer.key], images, config, lpips, metrics) for peer in peers}
    queue = [(plan, key, task) for plan in plans.values() for key, task in plan.missing]
    cached = sum(len(plan.rows) for plan in plans.values())
    failed = []
    with closing(_run([task for _, _, task in queue], config.jobs)) as stream:
        for done, (index, measured) in enumerate(stream, 1):
            plan, key, task = queue[index]
            if measured.row is None:
                failed.append((task.codec, task.image.name, f"{task.setting.label}: {measured.failure}"))
            else:
                plan.add(Entry(key, metrics, measured.sha256, measured.row))
            if progress:
                progress(task.codec, done, len(queue))
    written = {}
    for key, plan in plans.items():
        losses = {image: reason for codec, image, reason in failed if codec == key}
        results = plan.results(losses, unreadable)
        if results.settings:
            written[key] = config.output / f"{key}.json"
            save(results, written[key])
        else:
            skipped[key] = f"no image passed through it ({next(iter(losses.values()))})"
    return Outcome(written, skipped, unreadable, failed, len(queue) - len(failed), cached)


class _Plan:
    """The rows of one codec: those in the cache, and the tasks for those that are not."""

    def __init__(
        self,
        peer: Peer,
        settings: Sequence[Setting],
        images: Sequence[Photograph],
        config: EvalConfig,
        lpips: Path | None,
        metrics: str,
    ):
        self.peer, self.settings, self.images, self.config = peer, settings, images, config
        self.cache = RowCache(config.output, peer.key, fresh=config.fresh)
        self.rows: dict[tuple[str, str], ImageRow] = {}
        self.missing: list[tuple[str, Task]] = []
        identity = {"codec": peer.key, "versions": peer.versions(), "model": peer.model()}
        identity["description"] = peer.description
        for image, stem in zip(images, _stems(images)):
            for setting in settings:
                file = f"files/{peer.key}/{setting.label}/{stem}{peer.extension}"
                key = fingerprint([identity, setting.label, setting.value, image.sha256, image.path.name, file])
                entry = self.cache.get(key)
                if entry and entry.metrics == metrics:
                    self.rows[image.path.name, setting.label] = entry.row
                    continue
                previous = entry.row if entry else None
                task = Task(peer.key, config.options, setting, image.path, config.output, file, lpips, previous)
                self.missing.append((key, task))

    def add(self, entry: Entry) -> None:
        self.cache.put(entry)
        self.rows[entry.row.image, entry.row.setting] = entry.row

    def results(self, losses: Mapping[str, str], unreadable: Iterable[tuple[str, str]]) -> Results:
        """Means over the images that passed at every setting: a mean must not change its images along the curve."""
        names = [image.path.name for image in self.images if image.path.name not in losses]
        rows = [self.rows[name, setting.label] for name in names for setting in self.settings]
        labels, points = means(rows)
        config = self.config
        return Results(
            name=self.peer.name,
            codec=self.peer.key,
            description=self.peer.description,
            dataset=str(config.dataset),
            machine=machine(config.jobs),
            versions={**library_versions(), **self.peer.versions()},
            model=self.peer.model(),
            settings=labels,
            results=points,
            images=tuple(rows),
            skipped=tuple(Skipped(name, reason) for name, reason in [*unreadable, *losses.items()]),
        )


def _run(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, Measured]]:
    """(index, measurement) of every task, as they come in; in this process where one job is enough."""
    if jobs == 1 or len(tasks) < 2:
        for index, task in enumerate(tasks):
            yield index, measure(task)
        return
    cores, threads = available_cores(), threads_per_job(jobs)
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    arguments = (cores, context.Value("i", 0), threads)
    todo = iter(enumerate(tasks))
    with ProcessPoolExecutor(jobs, context, initializer=start_worker, initargs=arguments) as pool:
        running = {pool.submit(measure, task): index for index, task in islice(todo, 2 * jobs)}
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield running.pop(future), future.result()
                running |= {pool.submit(measure, task): index for index, task in islice(todo, 2 * jobs - len(running))}
        except BrokenProcessPool:
            raise WorkerError("a worker process died, of too little memory perhaps; run again to go on") from None
        finally:
            pool.shutdown(cancel_futures=True)


def threads_per_job(jobs: int) -> int:
    """The cores divided among the jobs, at least one each."""
    return max(1, len(available_cores()) // jobs)


def machine(jobs: int) -> dict:
    """The machine that measured, without its name."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": len(available_cores()),
        "jobs": jobs,
        "threads_per_job": threads_per_job(jobs),
    }


def library_versions() -> dict[str, str]:
    """Versions of what measures."""
    packages = ("numpy", "pillow", "torch", "pytorch-msssim", "ssimulacra2", "lpips")
    return {"leechcodec": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in packages if _installed(name)
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _metrics_identity(lpips: Path | None) -> str:
    """A name for all that a metric's value depends on. Raises ModelError for a file that is no backbone."""
    backbone = None
    if lpips:
        if not _installed("lpips"):
            require("lpips")
        read_backbone(lpips)
        backbone = sha256_of(lpips.read_bytes())
    versions = library_versions()
    return fingerprint([*map(versions.get, ("pytorch-msssim", "ssimulacra2", "lpips")), backbone])


def _settings(peer: Peer, dials: Mapping[str, tuple[float, ...]]) -> list[Setting]:
    values = dials.get(peer.key)
    return list(peer.settings()) if values is None else [peer.setting(value) for value in dict.fromkeys(values)]


def _stems(images: Sequence[Photograph]) -> list[str]:
    """A file name for each image: its stem, or, where two images share it, stem and suffix."""
    stems = [image.path.stem for image in images]
    return [stem if stems.count(stem) == 1 else f"{stem}_{image.path.suffix[1:]}" for image, stem in zip(images, stems)]
