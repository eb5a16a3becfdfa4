"""Workers for the executors' tests: they must be importable by the processes that run them."""

import os
import signal

from leechcodec.apps.shards.worker import Outcome, Settings, Task, Worker

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


class Mortal(Worker):
    """A real worker, killed at one task the first time that anybody comes to it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._marker = settings.folder.parent / "killed"

    def __call__(self, task: Task) -> Outcome:
        if task.number == POISON and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(task)


class Victim(Killer):
    """Is killed by every task."""

    def __call__(self, task: Task) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)


class Stillborn:
    """Dies before its first task."""

    def __init__(self, settings: Settings) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
