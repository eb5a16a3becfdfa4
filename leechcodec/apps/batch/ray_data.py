"""The driver by Ray Data: an embedded Ray on this machine, or a cluster (extra "ray").

An actor holds the model once and maps rows, a block of a few images at a time. When it dies Ray starts another and
gives it the block again, without end; so a ledger counts how often an image was begun, and one begun too often is given
back untried, for the driver's next attempt, in which blocks are smaller and other images no longer in its way.

A data set of Ray's is held in this process block by block. So images go to Ray in windows, one data set after the
other: what is held does not grow with their number.
"""

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import cached_property
from itertools import islice
from typing import Any

from leechcodec.apps.batch.tasks import Make, Outcome, Task
from leechcodec.errors import WorkerError
from leechcodec.formats.machine import available_cores
from leechcodec.formats.packages import require

WINDOW = 1024
"""Images of a data set, for each job. At its end workers wait for the last, and then load the model again: at a second
per image that is one hundredth of the time."""
MAX_BLOCK = 32
BLOCKS_A_JOB = 64
"""Blocks are as small as makes so many of them for each job, and have at most MAX_BLOCK images."""
MAX_BEGUN = 2
"""Times that an image is begun before it is given back."""


def run_ray(
    make: Make, jobs: int | None, address: str | None, tasks: Iterable[Task], *, threads: int = 1, gpus: float = 0
) -> Iterator[Outcome]:
    """The outcome of every task, as they come; that of a worker's death is transient.

    make: called in each actor. jobs: actors; None for as many as the cluster has room for. address: of a cluster, None
    for a Ray of one's own on this machine, which ends with the work. All machines must see the images, their outputs,
    and a model folder, under the same paths, and have leechcodec installed. A Ray that this process is connected to
    already is used as it is. threads, gpus: cores and devices that Ray sets aside for each actor.

    Raises MissingPackageError without Ray, WorkerError where it cannot be reached, or gives up.
    """
    ray = require("ray", "ray")
    require("ray.data", "ray")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is told by the driver
    needs = {"num_cpus": threads, **({"num_gpus": gpus} if gpus else {})}
    source = iter(tasks)
    with _connected(ray, address, jobs, threads):
        jobs = jobs or _room(ray.cluster_resources(), threads, gpus)
        while window := list(islice(source, WINDOW * jobs)):
            yield from _window(ray, make, jobs, window, needs)


def _room(there: dict[str, float], threads: int, gpus: float) -> int:
    """How many actors a cluster's resources are enough for."""
    room = there.get("CPU", 1) // threads
    return max(1, int(min(room, there.get("GPU", 0) // gpus) if gpus else room))


def _window(ray, make: Make, jobs: int, tasks: list[Task], needs: dict[str, float]) -> Iterator[Outcome]:
    """One data set. needs: what Ray sets aside for an actor."""
    ledger = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Ledger).remote()
    rows = [{**asdict(task), "source": os.fsencode(task.source), "target": os.fsencode(task.target)} for task in tasks]
    block = max(1, min(MAX_BLOCK, len(rows) // (BLOCKS_A_JOB * jobs)))
    mapped = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // block)).map(
        _Actor,
        fn_constructor_args=(make, ledger),
        compute=ray.data.ActorPoolStrategy(size=min(jobs, len(rows)), max_tasks_in_flight_per_actor=2),
        **needs,
    )
    mapped.context.enable_progress_bars = False
    try:
        for row in mapped.iter_rows():
            yield Outcome(**row)
    except ray.exceptions.RayError as error:
        raise WorkerError(f"Ray gave up: {str(error).strip().splitlines()[-1]}; run again to go on") from error


class _Ledger:
    """How often images were begun, those included whose worker died."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]


class _Actor:
    """A worker, with rows of plain values in place of tasks and outcomes. ledger: Ray's handle of one."""

    def __init__(self, make: Make, ledger) -> None:
        self._make, self._ledger = make, ledger

    @cached_property
    def _work(self):
        """Made by the first image: a death while the model is loaded counts as that image's."""
        return self._make()

    def __call__(self, row: dict) -> dict:
        import ray

        task = Task(int(row["number"]), os.fsdecode(row["source"]), os.fsdecode(row["target"]))
        begun: Any = ray.get(self._ledger.begin.remote(task.number))
        if begun > MAX_BEGUN:
            return asdict(Outcome.death(task))
        return asdict(replace(self._work(task), disturbed=begun > 1))


@contextlib.contextmanager
def _connected(ray, address: str | None, jobs: int | None, threads: int) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    own = {"num_cpus": (jobs or len(available_cores())) * threads, "include_dashboard": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads these when it starts
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **({} if address else own)
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkerError(f"no Ray at {address or 'this machine'}: {str(error).strip().splitlines()[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()
