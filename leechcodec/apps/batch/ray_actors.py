"""The driver by Ray: an embedded Ray on this machine, or a cluster (extra "ray").

An actor holds the model and does one image at a time, so where one dies it is known at which image, and another takes
its place. (Ray Data would do as well, but for what it keeps in this process of every data set and block: a million
images would be held here.)
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

from leechcodec.apps.batch.processes import MAX_DEATHS
from leechcodec.apps.batch.tasks import Make, Outcome, Task
from leechcodec.errors import WorkerError
from leechcodec.formats.machine import available_cores
from leechcodec.formats.packages import require


def run_ray(
    make: Make, jobs: int | None, address: str | None, tasks: Iterable[Task], *, threads: int = 1, gpus: float = 0
) -> Iterator[Outcome]:
    """The outcome of every task, as they come; that of a worker's death is transient.

    make: called in each actor. jobs: actors; None for as many as the cluster has room for. address: of a cluster, None
    for a Ray of one's own on this machine, which ends with the work. All machines must see the images, their outputs,
    and a model folder, under the same paths, and have leechcodec installed. A Ray that this process is connected to
    already is used as it is. threads, gpus: cores and devices that Ray sets aside for each actor.

    Raises MissingPackageError without Ray, WorkerError where it cannot be reached, or where actors die before they have
    begun.
    """
    ray = require("ray", "ray")
    with _connected(ray, address, jobs, threads), contextlib.closing(_Pool(ray, make, threads, gpus)) as pool:
        jobs = jobs or _room(ray.cluster_resources(), threads, gpus)
        source = iter(tasks)
        following = next(source, None)
        while following is not None or pool.busy:
            while following is not None and pool.size < jobs:
                pool.start()
            for actor, outcome in pool.wait():
                if actor and following is not None:
                    pool.give(actor, following)
                    following = next(source, None)
                elif actor:
                    ray.kill(actor)
                if outcome:
                    yield outcome
            if pool.deaths >= max(MAX_DEATHS, 2 * jobs):
                raise WorkerError(f"{pool.deaths} workers died in a row: {pool.reason}; run again to go on")


class _Pool:
    """Actors, each being made or at a task. busy: how many are at one. deaths: in a row, of actors being made."""

    def __init__(self, ray, make: Make, threads: int, gpus: float) -> None:
        self._ray, self._make = ray, make
        self._kind = ray.remote(num_cpus=threads, num_gpus=gpus)(_Actor)
        self._waited: dict[Any, tuple[Any, Task | None]] = {}
        self.busy, self.deaths, self.reason = 0, 0, ""

    @property
    def size(self) -> int:
        return len(self._waited)

    def start(self) -> None:
        """One more. A cluster without room for it lets it wait, with no task in its hands."""
        actor = self._kind.remote(self._make)
        self._waited[actor.prepare.remote()] = actor, None

    def give(self, actor: Any, task: Task) -> None:
        self._waited[actor.work.remote(task)] = actor, task
        self.busy += 1

    def wait(self) -> Iterator[tuple[Any, Outcome | None]]:
        """(actor, outcome) of those that are free now. No actor: it died. No outcome: it had no task."""
        done, left = self._ray.wait(list(self._waited), num_returns=1)
        done += self._ray.wait(left, num_returns=len(left), timeout=0)[0] if left else []
        for reference in done:
            actor, task = self._waited.pop(reference)
            self.busy -= task is not None
            try:
                outcome = self._ray.get(reference)
                self.deaths = 0
            except self._ray.exceptions.RayError as error:
                self._ray.kill(actor)  # one that cannot be reached may be alive
                actor, outcome = None, Outcome.death(task) if task else None
                self.deaths += task is None
                self.reason = str(error).strip().splitlines()[-1]
            yield actor, outcome

    def close(self) -> None:
        for actor, _ in self._waited.values():
            self._ray.kill(actor)


class _Actor:
    """A worker. It is made by its first call: to make it takes long, and may kill it."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def prepare(self) -> None:
        self._work = self._make()

    def work(self, task: Task) -> Outcome:
        return self._work(task)


def _room(there: dict[str, float], threads: int, gpus: float) -> int:
    """How many actors a cluster's resources are enough for."""
    room = there.get("CPU", 1) // threads
    return max(1, int(min(room, there.get("GPU", 0) // gpus) if gpus else room))


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
