"""A task, what becomes of it, and further attempts at those whose worker died."""

import contextlib
import errno
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from leechcodec.errors import LqError, WorkerError

ATTEMPTS = 3
"""At an image whose worker dies, or whose file cannot be read."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of an OSError where there is no room: it would be the same for every image after this one."""


@dataclass(frozen=True)
class Task:
    """An image: its place in the list, the path of its file, and of what is made of it.

    target: empty where the worker writes nothing.
    """

    number: int
    source: str
    target: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    data: bytes of what was made, where the driver is to write it. about: facts, an object of JSON. error: one line,
    empty where all went well. transient: the error may be the worker's or the disk's, not the image's: try again.
    full: there is no room for what is made. disturbed: a worker died at this task before.
    """

    number: int
    data: bytes = b""
    about: bytes = b""
    error: str = ""
    transient: bool = False
    full: bool = False
    disturbed: bool = False

    @classmethod
    def death(cls, task: Task) -> "Outcome":
        """The worker that had a task died."""
        return cls(task.number, error=f"{task.source}: its worker died", transient=True, disturbed=True)


Work = Callable[[Task], Outcome]
"""Does a task. Never raises: one image must not end the work on the others."""
Make = Callable[[], Work]
"""Makes the work, in the worker: loads the model. It travels to another process."""
Executor = Callable[[Iterable[Task]], Iterable[Outcome]]
"""Does tasks, in any order, somewhere, and takes a bounded number of them ahead. An outcome that comes twice is
dropped, one that does not come is a death."""


def outcome_of(task: Task, work: Callable[[Task], Outcome]) -> Outcome:
    """What work gives for a task; what it raises as an outcome."""
    try:
        return work(task)
    except LqError as error:
        return Outcome(task.number, error=_named(task, str(error)))
    except (MemoryError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in FULL
        return Outcome(task.number, error=_named(task, _reason(error)), transient=True, full=full)
    except Exception as error:  # torch reports a lack of memory as a RuntimeError
        message = f"{type(error).__name__}: {error}"
        return Outcome(task.number, error=_named(task, message), transient="memory" in message)


def _reason(error: MemoryError | OSError) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def _named(task: Task, message: str) -> str:
    """A message with the file that it is about."""
    if task.source in message or (task.target and task.target in message):
        return message
    return f"{task.source}: {message}"


def attempts(
    execute: Executor, tasks: Iterable[Task], disturbed: Callable[[Task], None] | None = None
) -> Generator[tuple[Task, Outcome], None, None]:
    """One outcome for every task, as they come; those that fail transiently, or get none, are tried again after the
    others. disturbed: told of those whose worker died. Raises WorkerError where there is no room for what is made."""
    for _ in range(ATTEMPTS):
        again: dict[int, tuple[Task, Outcome]] = {}
        with contextlib.closing(_round(execute, iter(tasks))) as outcomes:
            for task, outcome in outcomes:
                if outcome.full:
                    raise WorkerError(f"{outcome.error}; make room, and run again to go on")
                if outcome.disturbed and disturbed:
                    disturbed(task)
                if outcome.transient:
                    again[task.number] = task, outcome
                else:
                    yield task, outcome
        tasks = [again[number][0] for number in sorted(again)]
    yield from (again[number] for number in sorted(again))


def _round(execute: Executor, tasks: Iterator[Task]) -> Generator[tuple[Task, Outcome], None, None]:
    """One outcome for every task, the last ones those of tasks that got none."""
    waiting: dict[int, Task] = {}

    def handed() -> Iterator[Task]:
        for task in chain(first, tasks):
            waiting[task.number] = task
            yield task

    if first := [task for task in [next(tasks, None)] if task]:  # no worker starts for nothing
        for outcome in execute(handed()):
            if (task := waiting.pop(outcome.number, None)) is not None:
                yield task, outcome
        yield from ((task, Outcome.death(task)) for task in waiting.values())
