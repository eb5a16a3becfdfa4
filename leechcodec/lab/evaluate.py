"""Every codec over its settings on every image of a folder: ``results/<codec>.json`` and the compressed files.

Of a folder of folders each is a kind of images, with results of its own in ``results/<kind>/``.

parent: which rows are wanted ─▶ cache ─▶ the missing ones to worker processes ─▶ cache ─▶ means ─▶ results
"""

import multiprocessing
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from leechcodec.errors import WorkerError
from leechcodec.formats.machine import available_cores
from leechcodec.lab.cache import Entry
from leechcodec.lab.datasets import kinds, photographs
from leechcodec.lab.environment import machine, metrics_identity, threads_per_job
from leechcodec.lab.errors import DatasetError, PeerError
from leechcodec.lab.measure import Measured, Task, measure, start_worker
from leechcodec.lab.peers.base import Peer, PeerOptions, Setting
from leechcodec.lab.peers.registry import adapter
from leechcodec.lab.plan import Plan, together
from leechcodec.lab.results import save
from leechcodec.training.lpips_net import find_weights

Progress = Callable[[str, int, int], None]
"""Called with the codec at work, the rows done and the rows in all, cached ones left out."""


@dataclass(frozen=True)
class EvalConfig:
    """An evaluation. dials: codec -> positions of its dial in place of its default ones. jobs: worker processes,
    which share the cores. lpips: the backbone's file or folder, None for no LPIPS. fresh: measure everything anew.
    process: also time one image a codec in processes of their own."""

    dataset: Path
    codecs: tuple[str, ...]
    output: Path
    options: PeerOptions = field(default_factory=PeerOptions)
    dials: Mapping[str, tuple[float, ...]] | None = None
    jobs: int = 1
    lpips: Path | None = None
    fresh: bool = False
    process: bool = False


@dataclass(frozen=True)
class Outcome:
    """written: results files by codec, over all kinds. kinds: of images, where there are several. skipped: codec ->
    reason. unreadable: (image, reason). failed: (codec, image, reason). measured, cached: numbers of rows. untimed:
    codec -> why there are no times of a process."""

    written: dict[str, Path]
    kinds: tuple[str, ...]
    skipped: dict[str, str]
    unreadable: list[tuple[str, str]]
    failed: list[tuple[str, str, str]]
    measured: int
    cached: int
    untimed: dict[str, str] = field(default_factory=dict)


def evaluate(config: EvalConfig, progress: Progress | None = None) -> Outcome:
    """Run an evaluation. Codecs that are not available and images that cannot be read are named in the outcome.

    Raises PeerError for a codec or setting that does not exist and for a dial of a codec that is not to be measured,
    DatasetError for a folder without images, MissingPackageError where the metrics' libraries are not installed,
    ModelError for other LPIPS weights.
    """
    peers = [adapter(key, config.options) for key in dict.fromkeys(config.codecs)]
    if not peers:
        raise DatasetError("no codec to evaluate")
    if unused := sorted(set(config.dials or {}) - {peer.key for peer in peers}):
        raise PeerError(f"a dial of {unused[0]!r}, but measured are {', '.join(peer.key for peer in peers)}")
    settings = {peer.key: _settings(peer, config.dials or {}) for peer in peers}
    lpips = find_weights(config.lpips) if config.lpips else None
    metrics = metrics_identity(lpips)
    folders = kinds(config.dataset)
    sets = {kind: photographs(folder) for kind, folder in folders.items()}
    skipped = {peer.key: reason for peer in peers if (reason := peer.available())}
    peers = [peer for peer in peers if peer.key not in skipped]

    plans = {
        (peer.key, kind): Plan(
            peer,
            settings[peer.key],
            images,
            dataset=folders[kind],
            output=config.output / kind,
            lpips=lpips,
            metrics=metrics,
            fresh=config.fresh,
        )
        for peer in peers
        for kind, (images, _) in sets.items()
    }
    queue = [(name, key, task) for name, plan in plans.items() for key, task in plan.missing]
    cached = sum(len(plan.rows) for plan in plans.values())
    failed = _measure(plans, queue, metrics, config.jobs, progress)
    written, untimed = {}, {}
    for peer in peers:
        found = {kind: plans[peer.key, kind].results(config.jobs, bad) for kind, (_, bad) in sets.items()}
        found = {kind: results for kind, results in found.items() if results.settings}
        if not found:
            reason = next(reason for codec, _, reason in failed if codec == peer.key)
            skipped[peer.key] = f"no image passed through it ({reason})"
            continue
        if config.process:
            try:
                process = plans[peer.key, next(iter(found))].process(config.fresh)
                found = {kind: replace(results, process=process) for kind, results in found.items()}
            except WorkerError as error:
                untimed[peer.key] = str(error)
        if "" not in sets:
            for kind, results in found.items():
                save(results, config.output / kind / f"{peer.key}.json")
            found[""] = together(found, config.dataset)
        written[peer.key] = config.output / f"{peer.key}.json"
        save(found[""], written[peer.key])
    several = tuple(kind for kind in sets if kind)
    unreadable = [(_named(kind, name), reason) for kind, (_, bad) in sets.items() for name, reason in bad]
    return Outcome(written, several, skipped, unreadable, failed, len(queue) - len(failed), cached, untimed)


def _measure(
    plans: Mapping[tuple[str, str], Plan],
    queue: Sequence[tuple[tuple[str, str], str, Task]],
    metrics: str,
    jobs: int,
    progress: Progress | None,
) -> list[tuple[str, str, str]]:
    """Do the tasks of the queue, each with its plan's name and its key, and give the plans their rows. Returns
    Outcome.failed."""
    failed = []
    with closing(_run([task for _, _, task in queue], jobs)) as stream:
        for done, (index, measured) in enumerate(stream, 1):
            (codec, kind), key, task = queue[index]
            if measured.row is None or measured.sha256 is None:
                reason = f"{task.setting.label}: {measured.failure}"
                failed.append((codec, _named(kind, task.image.name), reason))
                plans[codec, kind].losses[task.image.name] = reason
            else:
                plans[codec, kind].add(Entry(key, metrics, measured.sha256, measured.row, machine(jobs)))
            if progress:
                progress(codec, done, len(queue))
    return failed


def _named(kind: str, name: str) -> str:
    return f"{kind}/{name}" if kind else name


def _run(tasks: Sequence[Task], jobs: int) -> Generator[tuple[int, Measured], None, None]:
    """(index, measurement) of every task, as they come in; of one job in this process."""
    if jobs == 1 or not tasks:
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


def _settings(peer: Peer, dials: Mapping[str, tuple[float, ...]]) -> list[Setting]:
    """Raises PeerError for two that would have one name."""
    values = dials.get(peer.key)
    if values is None:
        return list(peer.settings())
    settings: dict[str, Setting] = {}
    for setting in map(peer.setting, dict.fromkeys(values)):
        if setting.label in settings:
            raise PeerError(f"{peer.key}: {settings[setting.label].value} and {setting.value} are both {setting.label}")
        settings[setting.label] = setting
    return list(settings.values())
