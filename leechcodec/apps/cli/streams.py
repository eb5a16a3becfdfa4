"""Where a command's bytes come from and go to: paths, standard input and output, bars and warnings."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from leechcodec.apps.cli.group import note
from leechcodec.errors import LqError, ModelError

LONG_PIXELS = 2_000_000
"""From so many pixels on the work is long enough for a progress bar."""
CURRENT: ContextVar[str | None] = ContextVar("CURRENT", default=None)
"""The file that a thread works on, for the warnings about it; None where there is but one."""


def split_format(output: str | None) -> tuple[str | None, str | None]:
    """("-", ".png") of "png:-", which is standard output in a given format; anything else is a path as it is."""
    if output and output.endswith(":-") and len(output) > 2:
        return "-", f".{output[:-2].lower()}"
    return output, None


def names_folder(output: str) -> bool:
    """Whether an output is written as a folder, there or not."""
    return output.endswith(("/", os.sep))


def target_of(source: str, output: str | None, suffix: str, force: bool) -> Path | None:
    """The output path, None for standard output; refused early where it exists, and with -f where it is the input.

    output: a path, a folder that is there, - or None, which is beside the source.
    """
    from leechcodec.formats.files import OutputExistsError

    if output == "-" or (output is None and source == "-"):
        return None
    if output is None and not Path(source).name:
        raise LqError(f"{source!r}: not the name of a file")
    path = Path(output) if output is not None else Path(source).with_suffix(suffix)
    if path.is_dir() and source != "-":
        path = path / Path(source).with_suffix(suffix).name
    elif output and names_folder(output):
        raise LqError(f"{output}: no such folder")
    if path.is_dir():
        raise LqError(f"{path}: is a folder")
    if path.exists():
        if source != "-" and Path(source).exists() and path.samefile(source):
            raise LqError(f"{path}: is the input; -o names another output")
        if not force:
            raise OutputExistsError(f"{path}: exists; -f overwrites it")
    return path


def read(source: str) -> bytes:
    """A file's bytes, or standard input's for -."""
    if source != "-":
        return Path(source).read_bytes()
    if sys.stdin is None:
        raise LqError("standard input: closed")
    return sys.stdin.buffer.read()


def write(target: Path | None, data: bytes, force: bool) -> None:
    """Write a file whole or not at all, or to standard output for None."""
    from leechcodec.formats.files import write_atomic

    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_atomic(target, data, force=force)


@contextlib.contextmanager
def naming(source: str) -> Iterator[None]:
    """Put the file's name before the message of whatever is wrong with it. (A model's troubles are not its own.)"""
    try:
        yield
    except ModelError:
        raise
    except LqError as error:
        name = "standard input" if source == "-" else source
        raise type(error)(f"{name}: {error}") from error


@contextlib.contextmanager
def warnings_told(quiet: bool = False) -> Iterator[None]:
    """Warnings about pictures, one line each on standard error, from whichever thread they come."""

    def show(message, category, *_, **__) -> None:
        if category is UserWarning and not quiet:
            name = CURRENT.get()
            note(f"warning: {name}: {message}" if name and name not in str(message) else f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def progress_bar(label: str, pixels: int) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, and only for long work."""
    if pixels < LONG_PIXELS or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, leave=False, unit="stage") as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def count_bar(count: int, unit: str):
    """A tqdm bar over so many things, on a terminal."""
    from tqdm import tqdm

    return tqdm(total=count, unit=unit, leave=False, delay=0.5, disable=not sys.stderr.isatty())


def set_threads(threads: int | None) -> None:
    """Threads that the calling thread computes with."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def readable_size(count: int) -> str:
    """Bytes as people read them."""
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1000:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.2f} MB"
