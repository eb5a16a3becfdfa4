"""The command line: paths and messages only. Whatever computes is imported by the command that needs it."""

import contextlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from leechcodec import __version__
from leechcodec.errors import LqError

LONG_PIXELS = 2_000_000
"""From so many pixels on the work is long enough for a progress bar."""
QUALITY = click.FloatRange(1, 100)
DAMAGED = 3
"""Exit status of decode --partial where something is missing."""
POSITIVE = click.FloatRange(0, min_open=True)


class _Commands(click.Group):
    """Errors become one line on standard error and exit code 1, never a traceback.

    (LEECHCODEC_TRACEBACK=1 in the environment shows where an unforeseen one came from.)
    The laboratory's commands are imported when one of them, or the list of all, is asked for.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        from leechcodec.lab.commands import COMMANDS

        return [*super().list_commands(context), *COMMANDS]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if command := super().get_command(context, name):
            return command
        from leechcodec.lab.commands import COMMANDS

        return COMMANDS.get(name)

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except LqError as error:
            fail(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click's own: usage errors exit 2, a closed pipe ends quietly
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            fail(f"{where}{error.strerror or error}")
        except MemoryError:
            fail("out of memory")
        except Exception as error:
            if "out of memory" in str(error) or "can't allocate memory" in str(error):  # torch: a RuntimeError
                fail("out of memory")
            if os.environ.get("LEECHCODEC_TRACEBACK"):
                raise
            fail(f"internal error: {type(error).__name__}: {error}")


def fail(message: str) -> None:
    """Print one line and exit with 1."""
    click.echo(f"leechcodec: {' '.join(message.split())}", err=True)
    sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leechcodec")
def main() -> None:
    """A neural image codec: photographs to small .lq files and back, the same on every machine.

    \b
    leechcodec encode photo.png               writes photo.lq
    leechcodec decode photo.lq                writes photo.png
    leechcodec encode -q 80 - -o - < in.png   standard input to standard output
    """


def _io_options(command: Callable) -> Callable:
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Print size, bits per pixel and times."),
        click.option("-f", "--force", is_flag=True, help="Overwrite an existing output."),
        click.option("--threads", type=click.IntRange(1), help="Threads to compute with.  [default: all cores]"),
        click.option("--model", help="Model name or folder.  [default: leech-vbr]"),
        click.option("-o", "--output", help="Output path, or - for standard output.  [default: from the input]"),
        click.argument("source", metavar="INPUT"),
    ):
        command = option(command)
    return command


@main.command()
@_io_options
@click.option("-q", "--quality", type=QUALITY, help="The dial, 1 to 100, decimals allowed.  [default: 50]")
@click.option("--bpp", type=POSITIVE, help="The best file of at most so many bits per pixel.")
@click.option("--target-size", type=click.IntRange(1), help="The best file of at most so many bytes.")
@click.option("--verify", is_flag=True, help="Decode the file again before it gets its name.")
@click.option("--strip", is_flag=True, help="Drop EXIF, XMP and the colour profile (colours become sRGB).")
@click.option("--psnr", type=POSITIVE, help="The smallest file with at least this PSNR in dB.")
def encode(
    source: str,
    output: str | None,
    model: str | None,
    threads: int | None,
    force: bool,
    verbose: bool,
    quality: float | None,
    bpp: float | None,
    target_size: int | None,
    psnr: float | None,
    strip: bool,
    verify: bool,
) -> None:
    """Compress the image INPUT (- for standard input) to an .lq file.

    --bpp, --target-size and --psnr search the dial, in place of -q: five to ten times the work.
    """
    wanted = {"size": target_size, "bpp": bpp, "psnr": psnr}
    if sum(value is not None for value in (quality, *wanted.values())) > 1:
        raise click.UsageError("give at most one of -q, --bpp, --target-size and --psnr")
    target = _target(source, output, ".lq", force)
    started = time.perf_counter()
    from leechcodec import codec
    from leechcodec.image import load_image

    _set_threads(threads)
    with _warnings_told():
        image = load_image(io.BytesIO(_read(source)) if source == "-" else source)
    loaded = time.perf_counter()
    with _naming(source), _warnings_told(), _progress("encoding", image.width * image.height) as progress:
        options = {"metadata": not strip, "verify": verify, "model": model, "progress": progress}
        if any(value is not None for value in wanted.values()):
            data, found = codec.compress_to(image, **wanted, **options)
            if not found.close:
                reached = f"{found.value:.2f} dB" if psnr else f"{found.value:,} bytes"
                click.echo(f"leechcodec: nearest to the target: {reached} at quality {found.quality:g}", err=True)
        else:
            data = codec.compress(image, quality=50.0 if quality is None else quality, **options)
    done = time.perf_counter()
    _write(target, data, force)
    if verbose:
        _report(source, target, image.width, image.height, len(data), loaded - started, done - loaded)


@main.command()
@_io_options
@click.option("--partial", is_flag=True, help="Show what a damaged or truncated file still holds; then exit with 3.")
def decode(
    source: str,
    output: str | None,
    model: str | None,
    threads: int | None,
    force: bool,
    verbose: bool,
    partial: bool,
) -> None:
    """Decompress the .lq file INPUT (- for standard input) to an image (PNG unless the output's name says else)."""
    target = _target(source, output, ".png", force)
    started = time.perf_counter()
    data = _read(source)
    from leechcodec.bitstream import read_header

    with _naming(source):
        header, _ = read_header(data)
    from leechcodec.image import encode_image, image_format

    suffix = ".png" if target is None else target.suffix
    image_format(suffix)  # refused before the work
    from leechcodec import codec

    _set_threads(threads)
    loaded, missing = time.perf_counter(), []
    with _naming(source), _progress("decoding", header.width * header.height) as progress:
        if partial:
            image, missing = codec.decompress_partial(data, model=model)
        else:
            image = codec.decompress(data, model=model, progress=progress)
    with _warnings_told():
        pixels = encode_image(image, suffix)
    done = time.perf_counter()
    _write(target, pixels, force)
    if verbose:
        _report(source, target, image.width, image.height, len(data), loaded - started, done - loaded)
    if missing:
        click.echo(f"leechcodec: {source}: missing: {'; '.join(missing)}", err=True)
        sys.exit(DAMAGED)


@main.command()
@click.argument("source", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(source: str, as_json: bool) -> None:
    """What an .lq file holds: size, quality, models, chunks. Every checksum is verified."""
    from leechcodec.bitstream import HEADER_SIZE, ChunkKind, read_file

    data = _read(source)
    with _naming(source):
        header, chunks = read_file(data)
    facts = {
        "file": source,
        "bytes": len(data),
        "width": header.width,
        "height": header.height,
        "bpp": round(8 * len(data) / (header.width * header.height), 5),
        "quality": header.quality / 100,
        "version": header.version,
        "token_model": header.token_model.hex(),
        "synthesis": header.synthesis.hex(),
        "header_bytes": HEADER_SIZE,
        "chunks": [{"kind": ChunkKind(chunk.kind).name.lower(), "bytes": len(chunk.payload)} for chunk in chunks],
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{source}: {header.width} x {header.height}, {_size(len(data))}, {facts['bpp']:.4f} bpp")
    click.echo(f"quality      {header.quality / 100:g}")
    click.echo(f"token model  {facts['token_model']}   synthesis {facts['synthesis']}   format {header.version}")
    click.echo(f"{'header':<12} {HEADER_SIZE:>9,} bytes")
    for chunk in facts["chunks"]:
        click.echo(f"{chunk['kind']:<12} {chunk['bytes']:>9,} bytes")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), multiple=True, required=True, help="Folder or .tar of images.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for checkpoint and log.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from this checkpoint, or model folder.")
@click.option("--steps", type=click.IntRange(1), help="Train for so many steps instead of the config's number.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, …")
def train(config, data, out, resume, init, steps, threads, device) -> None:
    """Train the model of CONFIG (TOML). Resumable at any step; several devices through torchrun."""
    from leechcodec.training.loop import train as run

    run(config, data, out, resume=resume, init=init, steps=steps, threads=threads, device=device)


def _target(source: str, output: str | None, suffix: str, force: bool) -> Path | None:
    """The output path, None for standard output; refused early where it exists."""
    from leechcodec.files import OutputExistsError

    if output == "-" or (output is None and source == "-"):
        return None
    if output is None and not Path(source).name:
        raise LqError(f"{source!r}: not the name of a file")
    path = Path(output) if output is not None else Path(source).with_suffix(suffix)
    if path.is_dir():
        raise LqError(f"{path}: is a folder")
    if path.exists() and not force:
        raise OutputExistsError(f"{path}: exists; -f overwrites it")
    return path


def _read(source: str) -> bytes:
    if source != "-":
        return Path(source).read_bytes()
    if sys.stdin is None:
        raise LqError("standard input: closed")
    return sys.stdin.buffer.read()


def _write(target: Path | None, data: bytes, force: bool) -> None:
    from leechcodec.files import write_atomic

    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_atomic(target, data, force=force)


@contextlib.contextmanager
def _naming(source: str) -> Iterator[None]:
    """Put the file's name before the message of whatever is wrong with it."""
    try:
        yield
    except LqError as error:
        name = "standard input" if source == "-" else source
        raise type(error)(f"{name}: {error}") from error


@contextlib.contextmanager
def _warnings_told() -> Iterator[None]:
    """Warnings about the picture, one line each on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        if warning.category is UserWarning:
            click.echo(f"leechcodec: warning: {warning.message}", err=True)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def _progress(label: str, pixels: int) -> Iterator[Callable[[int, int], None] | None]:
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


def _report(source: str, target: Path | None, width: int, height: int, size: int, load: float, work: float) -> None:
    name = "standard output" if target is None else str(target)
    bpp = 8 * size / (width * height)
    click.echo(
        f"{source} -> {name}: {width} x {height}, {_size(size)}, {bpp:.4f} bpp, load {load:.2f} s, work {work:.2f} s",
        err=True,
    )


def _size(count: int) -> str:
    """Bytes as people read them."""
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1000:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.2f} MB"
