"""Point 10: full and read-only disks, the longest sides, rare codings, odd names, a folder of everything."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.errors import ImageError
from leechcodec.formats.images import load_image
from leechcodec.formats.writing import encode_image
from tests.inputs import make
from tests.places import ROOT

MOUNTED = """
set -e
mount -t tmpfs -o size=200k tmpfs "$1"
cp "$2" "$1/a.png"
"""


@pytest.fixture
def mounted(tmp_path, tiny_folder):
    """Run a script in a small file system of its own: $1 the folder, with a.png; lq the program; what it printed."""
    photo, folder = tmp_path / "a.png", tmp_path / "disk"
    photo.write_bytes(make.png(make.photo(), 8, 2))
    folder.mkdir()
    unshare = shutil.which("unshare")

    def run(script):
        program = f"{sys.executable} -m leechcodec"
        lq = f'lq() {{ verb=$1; shift; {program} $verb "$@" --model {tiny_folder}; echo "exit $?"; }}'
        command = [unshare, "-m", "bash", "-c", f"{MOUNTED}{lq}\nset +e\n{script}", "bash", str(folder), str(photo)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        return done.stdout + done.stderr

    if unshare is None or "ready" not in run("echo ready"):
        pytest.skip("no right to mount a file system")
    return run


@pytest.mark.slow
def test_10_a_full_disk_keeps_what_was_there(mounted):
    told = mounted(
        'echo old > "$1/a.lq"; head -c 300k /dev/zero > "$1/filler" 2>/dev/null; lq encode "$1/a.png" -f; '
        'lq tokenize "$1/a.png"; cat "$1/a.lq"; ls -A "$1"'
    )
    assert told.count("exit 1") == 2 and told.count("No space left on device") == 2
    assert "a.lq: No space" in told and "\nold\n" in told and "a.png\nfiller\n" in told and ".leechcodec" not in told


@pytest.mark.slow
def test_10_a_read_only_disk(mounted):
    told = mounted(
        'mount -o remount,ro "$1"; lq encode "$1/a.png"; lq encode "$1/a.png" -o "$1.lq"; '
        'lq decode "$1.lq" -o "$1/b.png"'
    )
    assert told.count("exit 0") == 1 and "a.lq: Read-only file system" in told and "b.png: Read-only" in told


@pytest.mark.slow
@pytest.mark.parametrize("size", [(65_535, 1), (1, 65_535)])
def test_10_the_longest_sides(size, run, tmp_path):
    path = tmp_path / "x.png"
    Image.new("RGB", size, (100, 150, 200)).save(path)
    run("encode", path)
    run("decode", tmp_path / "x.lq", "-o", tmp_path / "y.png")
    assert Image.open(tmp_path / "y.png").size == size
    for suffix, limit in ((".jpg", "65,500"), (".webp", "16,383")):
        message = run("decode", tmp_path / "x.lq", "-o", tmp_path / f"y{suffix}", code=1).stderr
        assert limit in message and message.count("\n") == 1 and not (tmp_path / f"y{suffix}").exists()


def test_10_more_pixels_than_the_limit_are_refused_early(run, tmp_path):
    head = make.chunk(b"IHDR", struct.pack(">IIBBBBB", 65_535, 65_535, 8, 2, 0, 0, 0))
    data = make.SIGNATURE + head + make.chunk(b"IDAT", zlib.compress(b"")) + make.chunk(b"IEND")
    (tmp_path / "x.png").write_bytes(data)
    assert "x.png: " in run("encode", tmp_path / "x.png", code=1).stderr
    with pytest.raises(ImageError):
        encode_image(Image.new("RGB", (70_000, 1)), ".jpg")


@pytest.mark.skipif(shutil.which("cjpeg") is None, reason="needs cjpeg of libjpeg-turbo")
@pytest.mark.parametrize("options", [[], ["-progressive"], ["-restart", "1"]])
def test_10_arithmetic_coding(options, encoded):
    image = io.BytesIO()
    Image.fromarray(make.photo()).save(image, "PPM")
    made = subprocess.run(["cjpeg", "-arithmetic", *options], input=image.getvalue(), capture_output=True)
    if made.returncode:
        pytest.skip("this cjpeg has no arithmetic coding")
    found = encoded(made.stdout, "x.jpg")
    assert found.size == (96, 64) and not found.warnings
    close = np.abs(np.asarray(load_image(io.BytesIO(made.stdout))).astype(int) - make.photo()).mean()
    assert close < 12


NAMES = ("new\nline", "-dash", "sp ace", "[a-z]*", "q?", "ünï", ".hidden", "a.b.", "x" * 240, "\x1b[31m", "100%", "{x}")
NAMES += ("q'uo\"ted", "a:-", os.fsdecode(b"\xff\xfe"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not have")
@pytest.mark.parametrize("name", NAMES)
def test_10_odd_names_on_every_verb(name, run, tmp_path):
    photo = tmp_path / f"{name}.png"
    photo.write_bytes(make.png(make.photo(), 8, 2))
    lq, tokens = tmp_path / f"{name}.lq", tmp_path / f"{name}.safetensors"
    run("encode", photo)
    run("decode", lq, "-o", tmp_path / f"{name}.2.png")
    run("tokenize", photo)
    run("detokenize", tokens, "-o", tmp_path / f"{name}.3.png")
    result = run("encode", photo, "-o", lq, code=1)
    assert result.stderr.count("\n") == 1 and "exists" in result.stderr
    run("encode", tmp_path, "-o", tmp_path / "out")
    assert (tmp_path / "out" / f"{name}.lq").exists()
    if name.isprintable():  # others the test's own output cannot hold
        assert name in run("info", lq).stdout
        rows = json.loads(run("compare", photo, tmp_path / f"{name}.2.png", "--json").stdout)
        assert rows[0]["image"].endswith(f"{name}.2.png")
    else:
        run("info", lq)  # what is no Unicode is shown in another form


@pytest.mark.slow
def test_10_eval_on_a_folder_of_everything(tmp_path):
    folder = tmp_path / "all"
    folder.mkdir()
    rgba = np.dstack([make.photo(), make.ramp_alpha()])
    grey = make.photo()[..., 1]
    inputs = {
        "rgba.png": make.png(rgba, 8, 6, [make.iccp(make.rgb_profile(swap=True))]),
        "grey.png": make.png(grey, 8, 0, [make.iccp(make.grey_profile())]),
        "lying.jpg": make.jpeg_with(make.jpeg(make.photo()), make.app(1, make.camera_exif(6))),
        "gamma.png": make.png(make.photo(), 8, 2, [make.gama(1.0)]),
        "cut.png": make.png(make.photo(), 8, 2)[:2000],
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        "empty.jpg": b"",
        "float.tif": make.save(Image.fromarray(grey.astype(np.float32)), "TIFF"),
    }
    for name, data in inputs.items():
        (folder / name).write_bytes(data)
    command = ["eval", folder, "--codec", "jpeg", "--dial", "jpeg=50", "--jobs", 1, "-o", tmp_path / "results"]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 0, (result.stderr, result.exception)
    for name in ("cut.png", "script.jpg", "empty.jpg", "float.tif"):
        assert f"skipped {name}: " in result.stderr
    assert "rgba.png: transparency is laid on white" in result.stderr
    assert (tmp_path / "results" / "jpeg.json").exists()
