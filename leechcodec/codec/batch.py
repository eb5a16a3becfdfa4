"""Many images at once: a bounded pool of threads, results in the order of the input.

images ─▶ at most 2 · workers in hand ─▶ threads, one model ─▶ results, in order

Torch, numba and Pillow leave Python's lock while they compute, so threads share the cores and one copy of the model.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from PIL import Image

from leechcodec.codec.api import compress, decompress
from leechcodec.codec.arguments import check_arguments
from leechcodec.errors import ConfigError
from leechcodec.formats.container import MAX_PIXELS
from leechcodec.formats.machine import available_cores
from leechcodec.threads import set_threads, threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def compress_many(
    images: Iterable[Image.Image],
    *,
    quality: float = 50.0,
    effort: int = 1,
    max_seconds: float | None = None,
    metadata: bool = True,
    verify: bool = False,
    model: str | Path | None = None,
    device: str | None = None,
    workers: int | None = None,
) -> Iterator[bytes]:
    """Compress images to the bytes of .lq files, several at a time, in the order of the input.

    images: any number of them. At most 2 · workers are taken ahead of the files asked for, so a generator that opens
        photographs one by one never holds them all. An image not loaded yet is loaded by the thread that compresses
        it, so the same one twice should be loaded first.
    quality, effort, max_seconds, metadata, verify, model, device: as for :func:`compress`; the model is loaded once.
    workers: threads, at least 1; one per core by default. Each computes with an equal share of the cores, and
        their number is as before when the iterator ends.

    Nothing happens before the first file is asked for. The first error, of an image or of the iterable itself, is
    raised in its place, after the files before it, and ends the iterator. Raises ConfigError at once for workers
    below 1.
    """
    check_arguments(images=images, model=model, device=device)
    options = {"effort": effort, "max_seconds": max_seconds, "metadata": metadata, "verify": verify}
    work = partial(compress, quality=quality, model=model, device=device, **options)
    return _in_order(work, images, _count(workers))


def decompress_many(
    files: Iterable[bytes],
    *,
    model: str | Path | None = None,
    device: str | None = None,
    max_pixels: int = MAX_PIXELS,
    shrink: int = 1,
    workers: int | None = None,
) -> Iterator[Image.Image]:
    """Decompress the bytes of .lq files to images, several at a time, in the order of the input.

    files, workers: as images and workers of :func:`compress_many`.
    model, device, max_pixels, shrink: as for :func:`decompress`.
    Errors come as from :func:`compress_many`.
    """
    check_arguments(files=files, max_pixels=max_pixels, shrink=shrink, model=model, device=device)
    work = partial(decompress, model=model, device=device, max_pixels=max_pixels, shrink=shrink)
    return _in_order(work, files, _count(workers))


def _count(workers: int | None) -> int:
    check_arguments(workers=workers)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    return workers or len(available_cores())


def _in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    share = max(1, len(available_cores()) // workers)
    pool = ThreadPoolExecutor(workers, "leechcodec", set_threads, (share,))
    pending: deque[Future[Result]] = deque()
    source = iter(items)
    _THREADS.begin()
    try:
        more = True
        while more or pending:
            while more and len(pending) < 2 * workers:
                try:
                    pending.append(pool.submit(work, next(source)))
                except StopIteration:
                    more = False
                except Exception as error:  # the iterable's own: raised in its place, after what came before
                    more = False
                    pending.append(Future())
                    pending[-1].set_exception(error)
            if pending:
                yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        _THREADS.end()


class _Threads:
    """The process's number of threads, as it was before the first of several iterators: the number of any one's workers
    becomes the default of all threads to come."""

    def __init__(self) -> None:
        self._lock, self._iterators, self._before = Lock(), 0, 0

    def begin(self) -> None:
        with self._lock:
            if not self._iterators:
                self._before = threads()
            self._iterators += 1

    def end(self) -> None:
        """The last iterator sets the number back."""
        with self._lock:
            self._iterators -= 1
            if not self._iterators:
                set_threads(self._before)


_THREADS = _Threads()
