"""Workers for the executors' tests: they must be importable by the processes that run them."""

import os
import signal

from leechcodec.shards.worker import Outcome, Settings, Task

POISON = 3
"""The task that kills its worker."""


class Killer:
    """Kills its process at one task, and does the others at once."""

    def __init__(self, settings: Settings) -> None:
        pass

    def __call__(self, task: Task) -> Outcome:
        if task.number == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(task.number, tokens=b"%d" % task.number, about=task.source.encode())


class Victim(Killer):
    """Is killed by every task."""

    def __call__(self, task: Task) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)


class Stillborn:
    """Dies before its first task."""

    def __init__(self, settings: Settings) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
