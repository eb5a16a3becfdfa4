import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main, viewing
from leechcodec.codec import api

pytest.importorskip("textual_image")
HALF = "▀"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (80, 40), (200, 100, 50)).save(path)
    return path


def view(*arguments, code=0, data=None):
    result = CliRunner().invoke(main, ["view", *map(str, arguments)], input=data)
    assert result.exit_code == code, (result.stderr, result.exception)
    if code == 1:
        assert result.stderr.startswith("leechcodec: ") and result.stderr.count("\n") == 1
    return result


def rows(text: str) -> list[str]:
    """The characters of every line, colours left out."""
    return re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()


def test_half_blocks_where_the_output_is_no_terminal(photo):
    text = view(photo, "--width", 20).stdout
    assert rows(text) == [HALF * 20] * 5
    assert "\x1b[38;2;200;100;50;48;2;200;100;50m" in text
    assert view(photo, "--width", 20, "--mode", "half").stdout == text


def test_the_default_width_fits_the_terminal(photo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "11")
    monkeypatch.setenv("NO_COLOR", "1")
    text = view(photo).stdout
    assert rows(text) == [HALF * 40] * 10 and "48;2;200;100;50" in text


def test_graphics_that_are_asked_for(photo):
    assert "\x1bP" in view(photo, "--width", 4, "--mode", "sixel").stdout
    kitty = view(photo, "--width", 4, "--mode", "kitty").stdout
    assert kitty.startswith("\x1b_G") and kitty.count("\U0010eeee") == 4
    assert "crayon" in view(photo, "--mode", "crayon", code=2).stderr


def test_standard_input_and_transparency(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)
    result = view("-", "--width", 4, data=path.read_bytes())
    assert "48;2;255;255;255" in result.stdout and result.stderr == ""


@pytest.mark.parametrize("width, shrink", [(300, 1), (200, 2), (80, 4), (10, 16)])
def test_of_an_lq_file_no_more_is_decoded_than_is_shown(tmp_path, tiny_folder, monkeypatch, width, shrink):
    path, asked, decompress = tmp_path / "x.lq", [], api.decompress
    noise = np.random.default_rng(0).integers(0, 255, (160, 400, 3), dtype=np.uint8)
    path.write_bytes(api.compress(Image.fromarray(noise), model=tiny_folder))
    monkeypatch.setattr(
        api, "decompress", lambda *a, **options: asked.append(options["shrink"]) or decompress(*a, **options)
    )
    drawn = rows(view(path, "--width", width, "--model", tiny_folder).stdout)
    assert drawn == [HALF * width] * (width // 5) and asked == [shrink]


@pytest.mark.parametrize("size", [(500, 1), (1, 3000)])
@pytest.mark.parametrize("mode", ["half", "kitty", "sixel"])
def test_thin_pictures_are_shown(size, mode, tmp_path):
    Image.new("RGB", size, "red").save(tmp_path / "thin.png")
    assert view(tmp_path / "thin.png", "--mode", mode, "--width", 20).stdout


def test_the_smallest_terminal(photo, monkeypatch):
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, "1")
    assert rows(view(photo).stdout) == [HALF]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_read_once(photo, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(
        [sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write(open({str(photo)!r}, 'rb').read())"]
    )
    assert view(pipe, "--width", 20).stdout == view(photo, "--width", 20).stdout
    assert writer.wait(timeout=20) == 0


def test_errors_are_one_line(tmp_path, photo, monkeypatch):
    assert "missing.lq" in view(tmp_path / "missing.lq", code=1).stderr
    for name, content in (("text.png", b"just some text"), ("cut.lq", b"\x89LQ\n\x01")):
        (tmp_path / name).write_bytes(content)
        assert view(tmp_path / name, code=1).stderr.count(name) == 1
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    assert "float.tif: floating-point" in view(tmp_path / "float.tif", code=1).stderr
    monkeypatch.setitem(sys.modules, "textual_image.renderable", None)
    assert "pip install 'leechcodec[view]'" in view(photo, code=1).stderr


def test_listing_the_commands_imports_nothing_heavy():
    script = "import sys, leechcodec.apps.cli; sys.exit(not {'torch', 'numpy', 'rich', 'PIL'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_terminal_has_enough_columns_for_kitty():
    assert viewing._room(1000, "kitty") == (viewing.KITTY_LIMIT, viewing.KITTY_LIMIT)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
@pytest.mark.parametrize(
    "answer, piped, mark",
    [
        (b"\x1b[?62;4;22c", False, "\x1bP"),
        (b"\x1b[?62;22c\x1b_Gi=1;OK\x1b\\", False, "\U0010eeee"),
        (b"\x1b[?62;22c\x1b[?62;22c", False, HALF),
        (b"\x1b[?62;4;22c", True, "\x1bP"),
    ],
    ids=["sixel", "kitty", "neither", "sixel, image from a pipe"],
)
def test_a_terminal_is_asked_what_it_can_draw(photo, answer, piped, mark):
    import fcntl
    import pty
    import termios

    child, terminal = pty.fork()
    if not child:
        if piped:
            os.dup2(os.open(photo, os.O_RDONLY), 0)
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        os.execl(sys.executable, sys.executable, "-m", "leechcodec", "view", "-" if piped else str(photo))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 12, 40, 400, 240))
    os.write(terminal, answer)  # before it is asked: the answer waits in the terminal's queue
    output = b""
    try:
        while part := os.read(terminal, 65536):
            output += part
    except OSError:  # the other side is closed
        pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, output
    assert mark in output.decode()
