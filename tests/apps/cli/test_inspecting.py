import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.codec import api, paths
from leechcodec.testing.files import without
from tests.pictures import gradient


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == code, (result.stderr, result.exception)
    return result


@pytest.fixture
def installed(tmp_path, monkeypatch, tiny_folder):
    folder = tmp_path / "models"
    shutil.copytree(tiny_folder, folder / "leech-open")
    monkeypatch.setattr("leechcodec.codec.paths.models_dir", lambda: folder)
    monkeypatch.setattr("leechcodec.codec.model_store.models_dir", lambda: folder)
    return folder


def test_models(installed):
    (row,) = json.loads(run("models", "--json").stdout)
    assert row["name"] == "leech-open" and row["default"] and row["stages"] == 5
    assert row["bytes"] == (installed / "leech-open/weights.safetensors").stat().st_size
    text = run("models").stdout
    assert "leech-open (default)" in text and row["token_model"] in text


def test_info_of_tokens(installed, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 130, 3), dtype=np.uint8))
    (tmp_path / "a.lq").write_bytes(api.compress(picture, quality=70, model=installed / "leech-open"))
    facts = json.loads(run("info", tmp_path / "a.lq", "--tokens", "--json").stdout)
    assert [(stage["stride"], stage["tokens"]) for stage in facts["stages"]] == [
        (64, 6), (32, 24), (16, 96), (16, 96), (8, 384),
    ]  # fmt: skip
    bits = sum(stage["tokens"] * stage["bits_per_token"] for stage in facts["stages"])
    written = 8 * sum(chunk["bytes"] for chunk in facts["chunks"] if chunk["kind"].startswith("tokens"))
    assert 0 <= written - bits < 0.01 * bits + 3 * 64
    assert "stride 64            6 tokens" in run("info", tmp_path / "a.lq", "--tokens").stdout
    assert "stages" not in json.loads(run("info", tmp_path / "a.lq", "--json").stdout)


def test_info_of_a_post_filter(installed, tmp_path):
    data = api.compress(gradient(128, 128, 3), quality=40, model=installed / "leech-open")
    for name, file in (("with.lq", data), ("without.lq", without(data))):
        (tmp_path / name).write_bytes(file)
    weights = json.loads(run("info", tmp_path / "with.lq", "--json").stdout)["filter"]["weights"]
    assert 0 < weights <= 92 and f"post-filter of {weights} weights" in run("info", tmp_path / "with.lq").stdout
    assert "filter" not in json.loads(run("info", tmp_path / "without.lq", "--json").stdout)
    assert "post-filter of" not in run("info", tmp_path / "without.lq").stdout


def test_no_models(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "models_dir", lambda: tmp_path)
    assert "no models" in run("models", code=1).stderr


@pytest.mark.slow
def test_bench(tmp_path, tiny_folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    rows = json.loads(run("bench", tmp_path / "a.png", "--model", tiny_folder, "--json").stdout)
    assert [row["quality"] for row in rows] == [10, 50, 90]
    assert all(0 < row["encode_mp_per_s"] == pytest.approx(0.0006 / row["encode_seconds"]) for row in rows)
    assert "30 x 20" in run("bench", tmp_path / "a.png", "--model", tiny_folder, "--effort", "3").stdout


def test_the_picture_of_the_benchmark_has_the_spectrum_of_a_photograph():
    from leechcodec.apps.cli.inspecting import _spectrum_of_a_photograph

    pixels = np.asarray(_spectrum_of_a_photograph(96, 64)).astype(float)
    assert pixels.shape == (64, 96, 3) and 35 < pixels.std() < 65
    assert np.abs(np.diff(pixels, axis=0)).mean() < 0.5 * pixels.std()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    assert "_LEECHCODEC_COMPLETE" in run("completion", shell).stdout


def test_completion_asks_for_a_shell_it_knows(monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/nonsense")
    assert "name bash, zsh or fish" in run("completion", code=1).stderr
