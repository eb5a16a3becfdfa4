"""The core alone, in processes that cannot import torch, whether it is installed or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.places import GOLDEN, ROOT, SAMPLE

BLOCKED = "import sys; sys.modules['torch'] = None\n"
MAIN = "from leechcodec.apps.cli import main; main()"
pytestmark = pytest.mark.slow


def python(program: str, *arguments: str | Path, fails: bool = False) -> str:
    """A program's standard output; its standard error where it should fail."""
    environment = {name: value for name, value in os.environ.items() if name != "LEECHCODEC_RUNTIME"}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + program, *map(str, arguments)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def photograph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("light") / "photograph.png"
    Image.open(SAMPLE).convert("RGB").crop((100, 100, 300, 260)).save(path)
    return path


def test_the_golden_files_have_their_tokens_and_pixels(released, tmp_path):
    """Tokens to the bit, pixels within a level of those that torch gave."""
    program = """
import sys
from pathlib import Path
from leechcodec.codec import api
for path in map(Path, sys.argv[2:]):
    data = path.read_bytes()
    print(path.parent.name, path.stem, api.read_tokens(data).digest())
    api.decompress(data).save(Path(sys.argv[1]) / f"{path.parent.name}-{path.stem}.png")
"""
    files = sorted(GOLDEN.glob("*/*.lq"))
    lines = [line.split() for line in python(program, tmp_path, *files).splitlines()]
    assert len(lines) == len(files) > 0
    for folder, name, digest in lines:
        assert json.loads((GOLDEN / folder / "manifest.json").read_text())["tokens_sha256"][name] == digest
        pictures = GOLDEN / folder / f"{name}.png", tmp_path / f"{folder}-{name}.png"
        reference, decoded = (np.asarray(Image.open(path), dtype=int) for path in pictures)
        assert reference.shape == decoded.shape and np.abs(reference - decoded).max() <= 1


def test_encode_and_decode(released, photograph, tmp_path):
    answer = json.loads(
        python(MAIN, "encode", photograph, "-o", tmp_path / "a.lq", "-q", "60", "--json", "--verify").splitlines()[0]
    )
    assert answer["bpp"] < 2 and answer["psnr"] > 27
    python(MAIN, "decode", tmp_path / "a.lq", "-o", tmp_path / "a.png")
    pixels, decoded = (np.asarray(Image.open(path).convert("RGB"), float) for path in (photograph, tmp_path / "a.png"))
    assert pixels.shape == decoded.shape
    assert abs(10 * np.log10(255**2 / np.square(pixels - decoded).mean()) - answer["psnr"]) < 0.05


def test_a_target_above_the_dial(released, photograph, tmp_path):
    python(MAIN, "encode", photograph, "-o", tmp_path / "a.lq", "--psnr", "44")
    assert "detail" in python(MAIN, "info", tmp_path / "a.lq").lower()
    python(MAIN, "decode", tmp_path / "a.lq", "-o", tmp_path / "a.png")
    pixels, decoded = (np.asarray(Image.open(path).convert("RGB"), float) for path in (photograph, tmp_path / "a.png"))
    assert 10 * np.log10(255**2 / np.square(pixels - decoded).mean()) > 43.9


def test_tokens_and_pictures_from_the_prior(released, photograph, tmp_path):
    python(MAIN, "tokenize", photograph, "-o", tmp_path / "a.safetensors")
    python(MAIN, "detokenize", tmp_path / "a.safetensors", "-o", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (200, 160)
    python(MAIN, "sample", "--size", "128x64", "-o", tmp_path / "drawn.png")
    assert Image.open(tmp_path / "drawn.png").size == (128, 64)


@pytest.mark.parametrize(
    "model", ["leech-vbr", "leech-open-perceptual", "leech-vbr-perceptual", "bsq-twin", "leech-twin"]
)
def test_the_other_models(released, model, photograph, tmp_path):
    python(MAIN, "encode", photograph, "-o", tmp_path / "a.lq", "--model", model)
    python(MAIN, "decode", tmp_path / "a.lq", "-o", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (200, 160)


def test_many_at_once_and_a_forked_child(released, photograph):
    program = """
import os, sys
os.environ["OMP_NUM_THREADS"] = "2"
import leechcodec
from PIL import Image
image = Image.open(sys.argv[1])
one = leechcodec.compress(image)
assert list(leechcodec.compress_many([image] * 3, workers=2)) == [one] * 3
assert all(picture.size == image.size for picture in leechcodec.decompress_many([one] * 3, workers=2))
child = os.fork()
if not child:
    os._exit(leechcodec.compress(image) != one)
assert os.waitpid(child, 0)[1] == 0
print("torch" in sys.modules and sys.modules["torch"] is not None)
"""
    assert python(program, photograph).split() == ["False"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "--effort", "3", "-o", "a.lq"),
        ("encode", "--runtime", "torch", "-o", "a.lq"),
        ("train", "--data", "x", "--out", "y"),
    ],
)
def test_what_needs_torch_says_so_in_a_line(released, photograph, tmp_path, arguments):
    command, *options = arguments
    options = [str(tmp_path / option) if option == "a.lq" else option for option in options]
    error = python(MAIN, command, photograph, *options, fails=True)
    assert len(error.splitlines()) == 1 and error.rstrip().endswith("pip install 'leechcodec[torch]'"), error


def test_importing_the_codec_imports_neither_torch_nor_a_runtime():
    program = "import sys; import leechcodec.codec.api; print('onnxruntime' in sys.modules)"
    assert python(program).split() == ["False"]
