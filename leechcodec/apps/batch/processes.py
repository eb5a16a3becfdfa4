"""The executor of one machine: worker processes, each at one image at a time.

Each has a pipe of its own. So where one dies it is known at which image, the others go on, and when the parent dies
its workers see the pipe's end and go too; a shared pool of processes offers none of the three.
"""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

from leechcodec.apps.shards.worker import Outcome, Settings, Task, Worker
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


def run_processes(settings: Settings, jobs: int, tasks: Sequence[Task], worker: type = Worker) -> Iterator[Outcome]:
    """The outcome of every task, as they come; that of a worker's death is transient.

    jobs: worker processes. worker: made of the settings in each of them, makes outcomes of tasks. Raises WorkerError
    where they die before they have begun.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    todo = deque(tasks)
    busy: dict[Connection, _Busy] = {}
    deaths = 0

    def start() -> tuple[Connection, BaseProcess]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, worker, settings), daemon=True)
        process.start()
        theirs.close()
        return ours, process

    def give(connection: Connection, process: BaseProcess, ready: bool) -> None:
        busy[connection] = _Busy(process, todo.popleft(), ready)
        with contextlib.suppress(OSError):  # it died: reading says so
            connection.send(busy[connection].task)

    try:
        while todo or busy:
            while todo and len(busy) < jobs:
                give(*start(), ready=False)
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
                    if todo:
                        give(connection, done.process, ready=True)
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


def _serve(connection: Connection, worker: type, settings: Settings) -> None:
    """A worker process: tasks in, a word that it is ready and outcomes out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent ends the others
    work = worker(settings)
    with contextlib.suppress(EOFError, OSError):
        connection.send(READY)
        while True:
            connection.send(work(connection.recv()))
