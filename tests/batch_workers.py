"""Workers for the drivers' tests: they must be importable by the processes that run them."""

import os
import signal

from leechcodec.apps.batch.files import FileSettings, FileWorker
from leechcodec.apps.batch.tasks import Outcome, Task
from leechcodec.apps.shards.worker import Settings, Worker

POISON = 3
"""The task that kills its worker."""


class Killer:
    """Kills its process at one task, and does the others at once."""

    def __call__(self, task: Task) -> Outcome:
        if task.number == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(task.number, data=b"%d" % task.number, about=task.source.encode())


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


class MortalFiles(FileWorker):
    """A real worker that is killed between writing a file and saying so, the first time.

    It leaves a temporary file, as one does that is killed while it writes.
    """

    def __init__(self, settings: FileSettings, marker: str) -> None:
        settings.coding.prepare()
        super().__init__(settings)
        self._marker = marker

    def __call__(self, task: Task) -> Outcome:
        outcome = super().__call__(task)
        if task.number == POISON and not os.path.exists(self._marker):
            for path in (self._marker, os.path.join(os.path.dirname(task.target), ".leechcodec-batch.half")):
                open(path, "wb").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome


class Victim(Killer):
    """Is killed by every task."""

    def __call__(self, task: Task) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)


class Stillborn:
    """Dies before its first task."""

    def __init__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
