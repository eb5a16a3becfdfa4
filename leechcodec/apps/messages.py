"""What is said of a file: errors and warnings with its name before them, one line each."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from leechcodec.errors import TORCH_COMMAND, LqError, ModelError

PILLOWS = ("Truncated File Read", "Corrupt EXIF data", "Metadata Warning", "Possibly corrupt EXIF", "Tag data larger")
"""How warnings of Pillow's begin that say less than the codec's own of the same file."""
CURRENT: ContextVar[str | None] = ContextVar("CURRENT", default=None)
"""The file that a thread works on, for the warnings about it; None where it is not known."""
_COLLECTED: ContextVar[list[str] | None] = ContextVar("_COLLECTED", default=None)
"""Where a thread's warnings go, None for straight to the user."""


def reason(error: Exception) -> str | None:
    """What to tell the user of an error that can be foreseen, None for any other."""
    if isinstance(error, LqError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return f"this needs torch: {TORCH_COMMAND}"
    # torch reports a lack of memory as a RuntimeError
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "out of memory"
    return None


@contextlib.contextmanager
def about(source: str) -> Iterator[None]:
    """Warnings inside are about this file."""
    token = CURRENT.set("standard input" if source == "-" else source)
    try:
        yield
    finally:
        CURRENT.reset(token)


@contextlib.contextmanager
def naming(source: str) -> Iterator[None]:
    """Put the file's name before the message of whatever is wrong with it. (A model's troubles are not its own.)"""
    try:
        with about(source):
            yield
    except ModelError:
        raise
    except LqError as error:
        name = "standard input" if source == "-" else source
        raise error if str(error).startswith(f"{name}: ") else type(error)(f"{name}: {error}") from error


def about_picture(message: str) -> str | None:
    """A warning with the name of the picture that it is about; None for one that says nothing of its own."""
    if message.startswith(PILLOWS):
        return None
    name = CURRENT.get()
    return f"{name}: {message}" if name and name not in message else message


def hear_warnings(tell: Callable[[str], None] | None = None) -> None:
    """From now on warnings about pictures, from whichever thread, are told one by one, or collected where a thread
    does so (:func:`collected`). For a process of one's own, or within ``warnings.catch_warnings``."""

    def show(message, category, *_, **__) -> None:
        if category is UserWarning and (text := about_picture(str(message))):
            kept = _COLLECTED.get()
            if kept is not None:
                kept.append(text)
            elif tell:
                tell(text)

    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = show


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """The list that this thread's warnings go to, where somebody hears them (:func:`hear_warnings`)."""
    kept: list[str] = []
    token = _COLLECTED.set(kept)
    try:
        yield kept
    finally:
        _COLLECTED.reset(token)
