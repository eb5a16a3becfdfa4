"""Where a command's bytes come from and go to: paths, standard input and output, bars and warnings."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from leechcodec.apps.cli.group import note
from leechcodec.apps.messages import hear_warnings
from leechcodec.errors import LqError

LONG_PIXELS = 2_000_000
"""From so many pixels on the work is long enough for a progress bar."""


def split_format(output: str | None) -> tuple[str | None, str | None]:
    """("-", ".png") of "png:-", which is standard output in a given format; anything else is a path as it is."""
    if output and output.endswith(":-") and len(output) > 2:
        return "-", f".{output[:-2].lower()}"
    return output, None


def names_folder(output: str) -> bool:
    """Whether an output is written as a folder, there or not."""
    return output.endswith(("/", os.sep))


def target_of(source: str, output: str | None, suffix: str, force: bool, named: str | None = None) -> Path | None:
    """The output path, None for standard output; refused early where it exists, and with -f where it is the input.

    output: a path, a folder that is there, - or None, which is beside the source. named: whose last suffix is replaced
    for the output's name, the source by default. Devices, pipes and descriptors are never refused.
    """
    from leechcodec.formats.files import OutputExistsError, is_stream

    if output == "-" or (output is None and source == "-"):
        return None
    if output is None and not Path(source).name:
        raise LqError(f"{source!r}: not the name of a file")
    path = Path(output) if output is not None else Path(named or source).with_suffix(suffix)
    if path.is_dir() and source != "-":
        path = path / Path(named or source).with_suffix(suffix).name
    elif path.is_dir():
        raise LqError(f"{output}: is a folder; name a file in it")
    elif output and names_folder(output):
        raise LqError(f"{output}: no such folder")
    if path.is_dir():
        raise LqError(f"{path}: is a folder")
    if not is_stream(path) and path.exists():
        refuse_input(path, source)
        if not force:
            raise OutputExistsError(path)
    return path


def refuse_input(target: Path | None, *sources: str | None) -> None:
    """Raises LqError where an output is an input, by whichever name."""
    if target is None or not target.exists():
        return
    for source in sources:
        if source not in (None, "-") and Path(source).exists() and target.samefile(source):
            raise LqError(f"{target}: is the input; -o names another output")


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
        if sys.stdout is None:
            raise LqError("standard output: closed")
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            discard_output()
            raise OSError(error.errno, error.strerror, "standard output") from error
    else:
        write_atomic(target, data, force=force)


def discard_output() -> None:
    """Throw away what standard output could not take: at its end Python would try, and complain, again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def check_output(target: Path | None) -> None:
    """Raises LqError, before the work, where the output is standard output and that is closed."""
    if target is None and sys.stdout is None:
        raise LqError("standard output: closed")


def stamps_of(source: str) -> tuple[int, int] | None:
    """The time stamps of a file, in nanoseconds, before it is read; pipes and devices have none worth it."""
    from leechcodec.formats.files import is_stream

    if source == "-" or is_stream(source) or not os.path.exists(source):
        return None
    stamps = os.stat(source)
    return stamps.st_atime_ns, stamps.st_mtime_ns


def set_stamps(target: Path | None, stamps: tuple[int, int] | None) -> None:
    """Give a file the time stamps of the one that it was made of."""
    from leechcodec.formats.files import is_stream

    if target is not None and stamps and not is_stream(target):
        os.utime(target, ns=stamps)


@contextlib.contextmanager
def warnings_told(quiet: bool = False) -> Iterator[None]:
    """Warnings about pictures, one line each on standard error, from whichever thread they come."""
    with warnings.catch_warnings():
        hear_warnings(None if quiet else tell_warning)
        yield


def tell_warning(message: str) -> None:
    """One line about a picture."""
    note(f"warning: {message}")


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


def count_bar(count: int | None, unit: str):
    """A tqdm bar over so many things, on a terminal; None for a number that is not known."""
    from tqdm import tqdm

    return tqdm(total=count, unit=unit, leave=False, delay=0.5, disable=not sys.stderr.isatty())


def tell_cache() -> None:
    """Tell the user where compiled code is kept, where that is unusual."""
    from leechcodec.compiled import remark

    if text := remark():
        note(text)


def set_threads(threads: int | None) -> None:
    """Threads that the calling thread computes with."""
    if threads is not None:
        from leechcodec.threads import set_threads as use

        use(threads)


def tell_layer(source: str, data: bytes) -> None:
    """Tell of the detail layer in a sound .lq file, where only its tokens are used."""
    from leechcodec.codec.dial import layer_of
    from leechcodec.formats.container import read_file

    layer = layer_of(read_file(data)[1])
    if layer is not None:
        note(f"{source}: its detail layer ({readable_size(len(layer))}) is no tokens and is left out")


def _use_runtime(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """For the command alone: what was in use before is in use again when it has ended."""
    if name is not None:
        from leechcodec.networks import runtime

        before = os.environ.get(runtime.VARIABLE)
        runtime.use_runtime(name)
        context.call_on_close(lambda: runtime.use_runtime(before))


def _use_device(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """For the command alone, as with the runtime."""
    if name is not None:
        from leechcodec.networks import devices

        before = os.environ.get(devices.VARIABLE)
        devices.use_device(name)
        context.call_on_close(lambda: devices.use_device(before))


runtime_option = click.option(
    "--runtime",
    type=click.Choice(["torch", "onnx"]),
    callback=_use_runtime,
    expose_value=False,
    help="Library that computes the transforms.  [default: onnx]",
)
device_option = click.option(
    "--device",
    metavar="NAME",
    callback=_use_device,
    expose_value=False,
    help="Where they are computed: cpu, cuda, cuda:1, mps, auto.  [default: cpu]",
)


def runtime_options(command: Callable) -> Callable:
    """Of every command that codes: which library, and where."""
    return runtime_option(device_option(command))


def readable_size(count: int) -> str:
    """Bytes as people read them."""
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1000:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.2f} MB"
