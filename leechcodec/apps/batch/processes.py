"""The driver of one machine: worker processes, each at one image at a time.

Each has a pipe of its own. So where one dies it is known at which image, the others go on, and when the parent dies
its workers see the pipe's end and go too; a shared pool of processes offers none of the three.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

from leechcodec.apps.batch.tasks import Make, Outcome, Task
from leechcodec.errors import WorkerError

MAX_DEATHS = 5
"""So many workers in a row that die before they are ready, and the fault is not the images'."""
READY = "ready"
"""What a worker sends first."""
PATIENCE = 5.0
"""Seconds that a worker gets to end by itself."""


@dataclass(frozen=True)
class _Busy:
    process: BaseProcess
    task: Task
    ready: bool


def run_processes(make: Make, jobs: int, tasks: Iterable[Task]) -> Iterator[Outcome]:
    """The outcome of every task, as they come; that of a worker's death is transient.

    make: called in each worker. jobs: worker processes. Raises WorkerError where they die before they have begun.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    source = iter(tasks)
    busy: dict[Connection, _Busy] = {}
    deaths = 0

    def start() -> tuple[Connection, BaseProcess]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, make), daemon=True)
        process.start()
        theirs.close()
        return ours, process

    def give(connection: Connection, process: BaseProcess, task: Task, ready: bool) -> None:
        busy[connection] = _Busy(process, task, ready)
        with contextlib.suppress(OSError):  # it died: reading says so
            connection.send(task)

    try:
        while True:
            while len(busy) < jobs and (task := next(source, None)) is not None:
                give(*start(), task, ready=False)
            if not busy:
                return
            for connection in cast(list[Connection], wait(list(busy))):
                done = busy.pop(connection)
                try:
                    outcome = connection.recv()
                except (EOFError, OSError):
                    outcome = Outcome.death(done.task)
                    deaths += not done.ready
                    _end(connection, done.process)
                else:
                    deaths = 0
                    if outcome == READY:
                        busy[connection] = replace(done, ready=True)
                        continue
                    if (task := next(source, None)) is not None:
                        give(connection, done.process, task, ready=True)
                    else:
                        _end(connection, done.process)
                yield outcome
                if deaths >= max(MAX_DEATHS, 2 * jobs):
                    raise WorkerError(
                        f"{deaths} workers died in a row, of too little memory perhaps; run again to go on"
                    )
    finally:
        for left in busy.values():
            left.process.terminate()
        for connection, left in busy.items():
            _end(connection, left.process)


def _end(connection: Connection, process: BaseProcess) -> None:
    connection.close()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(connection: Connection, make: Make) -> None:
    """A worker process: tasks in, a word that it is ready and outcomes out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent ends the others
    work = make()
    with contextlib.suppress(EOFError, OSError):
        connection.send(READY)
        while True:
            connection.send(work(connection.recv()))
