"""view: an image in the terminal, drawn by textual-image."""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from leechcodec.apps.cli.streams import read, runtime_options, warnings_told
from leechcodec.apps.messages import naming
from leechcodec.errors import LqError

if TYPE_CHECKING:
    from PIL import Image

MODES = ("auto", "half", "kitty", "sixel")
CELL = (10, 20)
"""Pixels of a character, across and down, where the terminal does not say."""
KITTY_LIMIT = 297
"""Columns and rows that the kitty protocol can number."""
UNLIMITED = 10_000
"""Rows of a picture whose width is given: it may be higher than the terminal."""


@click.command()
@click.argument("source", metavar="FILE")
@click.option("--mode", type=click.Choice(MODES), default="auto", show_default=True, help="How to draw.")
@click.option("--width", type=click.IntRange(1, 1000), help="Columns.  [default: what fits the terminal]")
@click.option("--model", help="Model name or folder.  [default: the file's]")
@runtime_options
def view(source: str, mode: str, width: int | None, model: str | None) -> None:
    """Show an image in the terminal.

    FILE is an .lq file or any image that Pillow reads, or - for standard input. Drawn with kitty's or sixel graphics
    where the terminal answers that it has them, else, and where the output is no terminal, with half blocks, two
    pixels a character. Of an .lq file only the tokens that this size needs are decoded. Needs textual-image:
    pip install 'leechcodec[view]'.

    \b
    leechcodec view photo.lq
    leechcodec view photo.lq --width 60
    leechcodec view photo.lq --mode half | less -R
    """
    with _unasked():
        renderables = _textual_image()
    data = read(source)
    asked = sys.stdout.isatty() and _terminal_answers()
    if mode == "auto":
        mode = _best_mode() if asked else "half"
    columns, rows = _room(width, mode)
    with warnings_told(quiet=True):
        image = _picture(source, data, _pixels(columns, rows, mode), model)
    from rich.console import Console

    colours = "auto" if mode == "half" and sys.stdout.isatty() else "truecolor"
    with contextlib.nullcontext() if asked else _unasked():
        console = Console(
            file=sys.stdout, force_terminal=True, color_system=colours, no_color=False, width=columns, height=rows
        )
        across, down = _characters(image.size, (columns, rows), _pixels(columns, rows, mode))
        console.print(renderables[mode](image, width=across, height=down), end="")


def _textual_image() -> dict[str, type]:
    """Its rich renderables by mode. Raises LqError where it is not installed."""
    try:
        from textual_image.renderable import HalfcellImage, SixelImage, TGPImage
    except ImportError as error:
        raise LqError(f"textual-image is needed ({error}): pip install 'leechcodec[view]'") from None
    return {"half": HalfcellImage, "kitty": TGPImage, "sixel": SixelImage}


def _best_mode() -> str:
    """What the terminal says that it can draw. Sixel first: more terminals claim kitty's graphics than draw them."""
    from textual_image.renderable import sixel, tgp

    if sixel.query_terminal_support():
        return "sixel"
    return "kitty" if tgp.query_terminal_support() else "half"


class _NoTerminal(io.TextIOBase):
    """Standard output, which says that it is no terminal."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@contextlib.contextmanager
def _unasked() -> Iterator[None]:
    """Keep textual-image from asking the terminal behind ``sys.__stdout__``: it does so when it is imported and for
    the size of a character, and fails where standard input is no terminal."""
    stdout, sys.__stdout__ = sys.__stdout__, _NoTerminal()
    try:
        yield
    finally:
        sys.__stdout__ = stdout


def _terminal_answers() -> bool:
    """Whether the terminal's answers can be read. They come by standard input; one that brought the image is done
    with, and the terminal takes its place."""
    if sys.__stdin__ is None:
        return False
    if not sys.__stdin__.isatty():
        with contextlib.suppress(OSError, ValueError):
            terminal = os.open("/dev/tty", os.O_RDWR)
            os.dup2(terminal, sys.__stdin__.fileno())
            os.close(terminal)
    return sys.__stdin__.isatty()


def _room(width: int | None, mode: str) -> tuple[int, int]:
    """Columns and rows at most: the terminal's less a line for the prompt, or the width given."""
    if width is None:
        columns, lines = shutil.get_terminal_size()
        room = (columns, max(1, lines - 1))
    else:
        room = (width, UNLIMITED)
    return (min(room[0], KITTY_LIMIT), min(room[1], KITTY_LIMIT)) if mode == "kitty" else room


def _pixels(columns: int, rows: int, mode: str) -> tuple[int, int]:
    """The most pixels that so many characters show, across and down."""
    across, down = (1, 2) if mode == "half" else _cell()
    return columns * across, rows * down


def _characters(size: tuple[int, int], room: tuple[int, int], pixels: tuple[int, int]) -> tuple[int | str, int | str]:
    """Columns and rows of an image: as its shape says, but one of each at least where it is so thin that none is left.

    room: in characters, pixels: the same in pixels.
    """
    scale = min(side_room / side for side, side_room in zip(size, pixels, strict=True))
    across, down = (side * scale * count / count_pixels for side, count, count_pixels in zip(size, room, pixels))
    return ("auto", "auto") if min(across, down) >= 1 else (max(1, round(across)), max(1, round(down)))


def _cell() -> tuple[int, int]:
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("4H", answer)
        return width // columns or CELL[0], height // rows or CELL[1]
    except (ImportError, OSError, ValueError, ZeroDivisionError):  # Windows, a pipe, a terminal without a size
        return CELL


def _picture(source: str, data: bytes, room: tuple[int, int], model: str | None) -> "Image.Image":
    """The image as sRGB colours, of no fewer pixels than the room shows, where it has them."""
    from leechcodec.formats.container import MAGIC
    from leechcodec.formats.files import is_stream
    from leechcodec.formats.images import load_image
    from leechcodec.formats.side_data import flattened

    if not data.startswith(MAGIC):
        image = load_image(io.BytesIO(data) if source == "-" or is_stream(source) else source)
    with naming(source):
        if data.startswith(MAGIC):
            image = _decoded(data, room, model)
        return flattened(image)


def _decoded(data: bytes, room: tuple[int, int], model: str | None) -> "Image.Image":
    from leechcodec.formats.container import read_header

    header, _ = read_header(data)
    from leechcodec.codec import api

    scale = max(header.width / room[0], header.height / room[1])
    shrink = max(shrink for shrink in api.STAGES_KEPT if shrink <= max(1, scale))
    return api.decompress(data, model=model, shrink=shrink)
