"""The driver within this process: threads that share one model. For a folder: it starts at once."""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import islice

from leechcodec.apps.batch.tasks import Make, Outcome, Task
from leechcodec.formats.machine import available_cores
from leechcodec.threads import set_threads


def run_threads(make: Make, tasks: Iterable[Task], *, threads: int | None = None) -> Iterator[Outcome]:
    """The outcome of every task, as they come.

    make: called once, here; what it makes is called by several threads, one a core. threads: that an image is computed
    with; None for its share of the cores.
    """
    work, cores, source = make(), len(available_cores()), iter(tasks)
    first = list(islice(source, cores))
    share = threads or max(1, cores // max(1, len(first)))  # few images: each has several cores
    with ThreadPoolExecutor(cores, "leechcodec", set_threads, (share,)) as pool:
        pending: set[Future[Outcome]] = set()

        def begin(tasks: Iterable[Task]) -> None:
            pending.update(pool.submit(copy_context().run, work, task) for task in tasks)

        try:
            begin(first)
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                pending -= done
                begin(islice(source, len(done)))
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt ends after the files at work
