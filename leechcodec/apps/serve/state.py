"""What the server remembers: uploaded pictures, least recently used out first, and who is in line.

Both belong to the event loop's thread, which alone changes them; workers are handed what they need.
"""

import asyncio
import contextlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from leechcodec.errors import LqError

if TYPE_CHECKING:
    from leechcodec.codec.drafts import Draft

Result = TypeVar("Result")
THREADS = "leechcodec serve "
"""What the names of the workers' threads begin with."""


class BusyError(LqError):
    """Every place in line is taken."""


class UnknownPictureError(LqError):
    """No picture of that id is held: it never was, or newer ones took its place."""


class SupersededError(LqError):
    """A later request for the same picture made this one pointless, or nobody waits for it any more."""


@dataclass(eq=False)
class Picture:
    """An uploaded photograph. image: RGB. moves: how often the dial was moved, so that work for an earlier position
    can tell that it is stale. draft: of the position shown last. sizes: codec -> quality -> bytes of its file, where
    that is known."""

    id: str
    image: Image.Image
    moves: int = 0
    draft: "Draft | None" = None
    sizes: dict[str, dict[int, int]] = field(default_factory=dict)

    @property
    def held_bytes(self) -> int:
        """Of pixels, which Pillow holds in four bytes, and of tokens and a layer."""
        return 9 * self.image.width * self.image.height

    def still(self, gone: threading.Event) -> Callable[[], None]:
        """A check, for any thread, that raises SupersededError once the dial has been moved again, or gone is set."""
        move = self.moves

        def check() -> None:
            if self.moves != move or gone.is_set():
                raise SupersededError("superseded by a later request")

        return check


class Pictures:
    """Pictures by random id: at most count, at most held_bytes together, but always the newest."""

    def __init__(self, count: int, held_bytes: int) -> None:
        self._count, self._held_bytes = count, held_bytes
        self._pictures: OrderedDict[str, Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, image: Image.Image) -> Picture:
        """Hold a picture; those unused for longest make room."""
        picture = Picture(secrets.token_urlsafe(16), image)
        self._pictures[picture.id] = picture
        while len(self) > 1 and (
            len(self) > self._count or sum(held.held_bytes for held in self._pictures.values()) > self._held_bytes
        ):
            self._pictures.popitem(last=False)
        return picture

    def get(self, key: str) -> Picture:
        """The picture of an id, which counts as a use. Raises UnknownPictureError."""
        if key not in self._pictures:
            raise UnknownPictureError("this picture is no longer held here; open it again")
        self._pictures.move_to_end(key)
        return self._pictures[key]


class Line:
    """A few workers and a bounded line before them."""

    def __init__(self, workers: int, waiting: int, name: str) -> None:
        self._free = workers + waiting
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix=THREADS + name)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place in line, or at a worker, for the length of a request. Raises BusyError where all are taken."""
        if not self._free:
            raise BusyError("too many requests at a time; try again in a moment")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def run(self, work: Callable[..., Result], *arguments) -> Result:
        """The result of work(*arguments) by the next free worker; first come, first served."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)

    def close(self) -> None:
        """Take no more work; what has begun ends by itself."""
        self._workers.shutdown(wait=False, cancel_futures=True)


def workers_left() -> bool:
    """Whether a worker's thread still lives. At its end Python waits for each of them."""
    return any(thread.name.startswith(THREADS) for thread in threading.enumerate())
