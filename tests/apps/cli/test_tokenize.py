"""tokenize and detokenize on the command line."""

import io
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.codec import api
from leechcodec.codec.token_files import deserialize_tokens
from tests.lab.lab_files import picture


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    picture(70, 50).save(path)
    return path


@pytest.fixture
def run(tiny_folder):
    def invoke(*arguments, code=0, **more):
        result = CliRunner().invoke(main, [*map(str, arguments), "--model", str(tiny_folder)], **more)
        assert result.exit_code == code, (result.stderr, result.exception)
        return result

    return invoke


def tokens_of(photo, model, quality=50):
    return api.tokenize(Image.open(photo), quality=quality, model=model)


@pytest.mark.parametrize("form", ["safetensors", "npz", "npy"])
def test_there_and_back(run, photo, tmp_path, tiny_folder, form):
    file = photo.with_suffix(f".{form}")
    own = ("--size", "70x50", "-q", "80") if form == "npy" else ()
    run("tokenize", photo, "-q", 80, "-o", file)
    run("detokenize", file, *own, "-o", tmp_path / "out.png")
    picture_of = api.detokenize(tokens_of(photo, tiny_folder, 80), model=tiny_folder)
    assert Image.open(tmp_path / "out.png").tobytes() == picture_of.tobytes()
    run("detokenize", file, *own, "-o", tmp_path / "out.lq")
    assert api.read_tokens((tmp_path / "out.lq").read_bytes(), model=tiny_folder).digest() == (
        tokens_of(photo, tiny_folder, 80).digest()
    )


def test_names_and_streams(run, photo, tmp_path, tiny_folder):
    digest = tokens_of(photo, tiny_folder).digest()
    told = run("tokenize", photo, "-v").stderr
    assert "photo.safetensors: 70 x 50, quality 50, " in told and " tokens in 4 stages" in told
    assert deserialize_tokens(photo.with_suffix(".safetensors").read_bytes(), model=tiny_folder).digest() == digest
    assert "exists; -f overwrites it" in run("tokenize", photo, code=1).stderr
    run("tokenize", photo, "-f")
    run("tokenize", photo, "--format", "npz", "-o", tmp_path)
    assert photo.with_suffix(".npz").is_file()
    flat = run("tokenize", "-", "-o", "npy:-", input=photo.read_bytes()).stdout_bytes
    assert np.load(io.BytesIO(flat), allow_pickle=False).ndim == 1
    image = run("detokenize", "-", "-o", "ppm:-", "--size", "70x50", "-q", 50, input=flat).stdout_bytes
    assert Image.open(io.BytesIO(image)).size == (70, 50)
    run("detokenize", photo.with_suffix(".npz"), "-f")
    assert Image.open(photo).tobytes() == Image.open(io.BytesIO(image)).tobytes()


def test_the_tokens_of_an_lq_file(run, photo, tmp_path, tiny_folder):
    run("encode", photo, "-q", 70)
    run("tokenize", photo.with_suffix(".lq"))
    tokens = deserialize_tokens(photo.with_suffix(".safetensors").read_bytes(), model=tiny_folder)
    assert tokens.quality == 70 and tokens.digest() == tokens_of(photo, tiny_folder, 70).digest()
    assert "-q and --effort are for images" in run("tokenize", photo.with_suffix(".lq"), "-f", "-q", 5, code=2).stderr


def test_what_is_wrong_is_one_line(run, photo, tmp_path):
    run("tokenize", photo, "-o", tmp_path / "a.npy")

    def refused(match, *arguments, code=1):
        lines = run(*arguments, code=code).stderr.strip().splitlines()
        assert match in lines[-1] and (code == 2 or len(lines) == 1)

    refused("a.npy: a .npy file holds indices alone", "detokenize", tmp_path / "a.npy")
    refused("--size and -q go together", "detokenize", tmp_path / "a.npy", "--size", "70x50", code=2)
    refused("the tokens of 70 x 50 pixels at quality 90", "detokenize", tmp_path / "a.npy", "--size", "70x50", "-q", 90)
    refused("photo.png: not a safetensors", "detokenize", photo, "-o", tmp_path / "b.png")
    refused("type '.gguf'", "tokenize", photo, "-o", tmp_path / "a.gguf")
    refused("type '.gguf'", "detokenize", tmp_path / "a.npy", "-o", tmp_path / "a.gguf")
    refused("a.npy: not an image", "tokenize", tmp_path / "a.npy", "-o", tmp_path / "b.npy")
    refused("No such file", "tokenize", tmp_path / "none.png")
    refused("No such file", "tokenize", tmp_path / "none", "-o", tmp_path / "tokens-%06d.tar")
    refused("--jobs is for a folder", "tokenize", photo, "--jobs", 2, code=2)
    refused("name them with -o", "tokenize", tmp_path, code=2)
    refused("never overwritten", "tokenize", tmp_path, "-o", tmp_path / "%d.tar", "-f", code=2)
    refused("needs their number", "tokenize", tmp_path, "-o", tmp_path / "tokens.tar")


@pytest.mark.slow
def test_a_folder_becomes_shards(run, photo, tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    picture(40, 30, 1).save(folder / "a.jpg")
    picture(40, 30, 2).save(folder / "sub" / "a.png")
    (folder / "broken.png").write_bytes(b"no")
    out = ("-o", tmp_path / "out" / "t-%03d.tar", "--recursive", "--shard-size", 2, "--jobs", 1, "-v")
    result = run("tokenize", folder, *out, code=1)
    lines = result.stderr.splitlines()
    assert "t-000.tar: " in lines[0] and lines[2:] == [
        "2 tokenized, 0 were there before",
        "leechcodec: broken.png: not an image that can be read",
        f"leechcodec: 1 of 3 images failed; {tmp_path / 'out' / 't-failed.jsonl'} lists them",
    ]
    assert json.loads((tmp_path / "out" / "t-failed.jsonl").read_text())["source"] == "broken.png"
    picture(40, 30, 3).save(folder / "broken.png")
    assert "1 tokenized, 2 were there before" in run("tokenize", folder, *out).stderr
    assert "begun otherwise, quality 20.0, there 50.0" in run("tokenize", folder, *out, "-q", 20, code=1).stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["t-000.tar", "t-001.tar", "t-manifest.json"]


def test_without_ray_nothing_is_begun(run, photo, tmp_path, monkeypatch):
    for module in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "out" / "t-%03d.tar"
    assert "pip install 'leechcodec[ray]'" in run("tokenize", photo.parent, "-o", out, "--ray", code=1).stderr
    assert not out.parent.exists()
