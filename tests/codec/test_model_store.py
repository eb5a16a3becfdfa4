import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from leechcodec.codec import model_store
from leechcodec.codec.model_store import load_model, model_for_file, save_model
from leechcodec.codec.weight_storage import read_weights, write_weights
from leechcodec.errors import MissingPackageError, ModelError, UnknownModelError
from leechcodec.testing.tiny import tiny_model


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of models as an installation has one: a tiny one, and one whose copying was broken off."""
    save_model(tmp_path / "whole", tiny_model())
    (tmp_path / "a-half").mkdir()
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path)
    monkeypatch.setattr(model_store, "installed_models", lambda: ["a-half", "whole"])
    return tmp_path


def test_a_folder_that_is_no_model_is_passed_over(models):
    whole = load_model("whole")
    assert model_for_file(whole.token_model).name == "whole"
    with pytest.raises(UnknownModelError, match=r"any installed model.*; .*a-half: not a model"):
        model_for_file(bytes(8))
    with pytest.raises(ModelError, match="a-half: not a model"):
        model_for_file(whole.token_model, "a-half")


def test_where_no_model_can_be_loaded_it_says_why(models, monkeypatch):
    token_model = load_model("whole").token_model

    def lacking(*_: object, **__: object):
        raise MissingPackageError("the runtime onnx needs onnxruntime")

    monkeypatch.setattr(model_store, "load_model", lacking)
    with pytest.raises(MissingPackageError, match="onnxruntime"):
        model_for_file(token_model)
    with pytest.raises(UnknownModelError, match=r"any installed model.*onnxruntime"):
        model_for_file(bytes(8))


def test_models_that_say_they_are_others_are_not_loaded(models, monkeypatch):
    save_model(models / "other", tiny_model("leech-ball"))
    whole = load_model("whole")
    monkeypatch.setattr(model_store, "installed_models", lambda: ["other", "whole"])
    asked, load = [], model_store.load_model
    monkeypatch.setattr(model_store, "load_model", lambda name, **more: asked.append(name) or load(name, **more))
    assert model_for_file(whole.token_model) is whole and asked == ["whole"]


@pytest.mark.parametrize("about", ["[" * 200_000, "[]", "{"])
def test_a_model_that_says_what_nobody_understands(models, monkeypatch, about):
    path = damaged(models, {}) / "weights.safetensors"
    save_file(load_file(path), path, {"about": about})
    with pytest.raises(ModelError, match="odd"):
        load_model(models / "odd")
    whole = load_model("whole")
    monkeypatch.setattr(model_store, "installed_models", lambda: ["odd", "whole"])
    assert model_for_file(whole.token_model) is whole


def test_a_model_that_says_it_is_another(models):
    path = damaged(models, {}) / "weights.safetensors"
    write_weights(path, read_weights(path), {model_store.TOKEN_MODEL: bytes(8).hex()})
    with pytest.raises(ModelError, match="says that it is another"):
        load_model(models / "odd")


@pytest.mark.parametrize("config", ["[]", "3", "[" * 200_000, '{"channels": 8}', '{"strange": 1}'])
def test_a_config_that_is_none(models, config):
    shutil.copytree(models / "whole", models / "odd")
    (models / "odd" / "config.json").write_text(config)
    with pytest.raises(ModelError, match=r"object|channels|strange|recursion"):
        load_model(models / "odd")


def test_a_prior_s_bias_of_another_length(models):
    shutil.copytree(models / "whole", models / "odd")
    tensors = load_file(models / "odd" / "weights.safetensors")
    name = next(name for name in tensors if name.startswith("prior.") and name.endswith(".bias"))
    save_file(tensors | {name: np.zeros(len(tensors[name]) + 1, np.int32)}, models / "odd" / "weights.safetensors")
    with pytest.raises(ModelError, match="a bias for each channel"):
        load_model(models / "odd")


@pytest.mark.parametrize("base", ["second", "third"])
def test_a_second_decoder_of_a_second_decoder(models, base):
    token_model = load_model(models / "whole").token_model.hex()
    for name, of in {"second": base, "third": "whole"}.items():
        (models / name).mkdir()
        (models / name / "config.json").write_text(json.dumps({"base": of, "token_model": token_model}))
        save_file({}, models / name / "weights.safetensors")
    with pytest.raises(ModelError, match="is a second decoder itself"):
        load_model(models / "second")


def test_a_model_written_anew_is_read_anew(models):
    before = load_model("whole")
    assert load_model(models / "whole") is before
    save_model(models / "whole", tiny_model(seed=9))
    after = load_model("whole")
    assert after.token_model != before.token_model and load_model("whole") is after


def test_a_second_decoder_whose_base_is_written_anew_is_read_anew(models):
    token_model = load_model(models / "whole").token_model.hex()
    (models / "second").mkdir()
    (models / "second" / "config.json").write_text(json.dumps({"base": "whole", "token_model": token_model}))
    save_file({}, models / "second" / "weights.safetensors")
    assert load_model("second") is load_model("second")
    save_model(models / "whole", tiny_model(seed=9))
    with pytest.raises(ModelError, match="made for token model"):
        load_model("second")


def damaged(models, change=None, **tensors) -> Path:
    """The tiny model with some keys of its config, and some tensors, changed."""
    shutil.copytree(models / "whole", models / "odd")
    config = json.loads((models / "odd" / "config.json").read_text())
    (models / "odd" / "config.json").write_text(json.dumps(config | (change or {})))
    path = models / "odd" / "weights.safetensors"
    save_file(load_file(path) | {name.replace("__", "."): value for name, value in tensors.items()}, path)
    return models / "odd"


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3"])
def test_numbers_that_numpy_has_not(models, kind):
    folder = damaged(models)
    size = 2 if kind == "BF16" else 1
    head = json.dumps({"a": {"dtype": kind, "shape": [4], "data_offsets": [0, 4 * size]}}).encode()
    (folder / "weights.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4 * size))
    with pytest.raises(ModelError, match="odd: weights"):
        load_model(folder)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantizer": "leech", "ramp": 2}, "a ramp needs"),
        ({"analysis_blocks": [3_000_000, 1, 1, 1, 1]}, "from 0 to 64"),
        ({"min_quality": [1, 1, 1, float("nan")]}, "a list of numbers"),
        ({"lmbda_max": float("inf")}, "lmbda_max must be a number"),
        ({"channels": [200_000] * 5}, "do not fit the config"),
    ],
)
def test_a_config_that_no_model_has(models, change, message, runtime):
    """One such folder, and all others are still there."""
    pytest.importorskip("onnxruntime" if runtime == "onnx" else "torch")
    folder = damaged(models, change)
    with pytest.raises(ModelError, match=f"odd: .*{message}"):
        load_model(folder, runtime)


def test_a_folder_of_a_later_version_is_passed_over(models, monkeypatch):
    folder = damaged(models, {"quantizer": "of the future"})
    with pytest.raises(ModelError, match=r"odd: .*of the future"):
        load_model(folder)
    monkeypatch.setattr(model_store, "installed_models", lambda: ["odd", "whole"])
    whole = load_model("whole")
    assert model_for_file(whole.token_model) is whole


@pytest.mark.parametrize("shape", [(0, 8, 1, 1), (), (8, 8)])
def test_a_prior_s_weights_of_no_convolution(models, shape):
    folder = damaged(models, prior__up__0__weight=np.zeros(shape, np.int16))
    with pytest.raises(ModelError, match=r"odd: .*up\.0\.weight"):
        load_model(folder)


def test_tensors_of_a_codebook_that_the_name_fixes(models):
    with pytest.raises(ModelError, match=r"quantizer\.codebook"):
        load_model(damaged(models, quantizer__codebook=np.zeros(3, np.int8)))


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_names_that_no_folder_can_have(models, name):
    with pytest.raises(ModelError, match="no model 'a"):
        load_model(name)


def test_a_second_decoder_by_a_link_is_read_anew_with_its_base(models, tmp_path_factory):
    token_model = load_model(models / "whole").token_model.hex()
    (models / "second").mkdir()
    (models / "second" / "config.json").write_text(json.dumps({"base": "whole", "token_model": token_model}))
    save_file({}, models / "second" / "weights.safetensors")
    link = tmp_path_factory.mktemp("elsewhere") / "link"
    link.symlink_to(models / "second")
    assert load_model(link) is load_model("second")
    save_model(models / "whole", tiny_model(seed=9))
    with pytest.raises(ModelError, match="made for token model"):
        load_model(link)


def test_a_folder_that_may_not_be_looked_into_is_no_obstacle(tiny_folder, tmp_path, monkeypatch):
    closed = tmp_path / "aaa"
    closed.mkdir()
    shutil.copytree(tiny_folder, tmp_path / "zzz")
    written = model_store._written

    def guarded(folder):
        if folder == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return written(folder)

    monkeypatch.setattr(model_store, "_written", guarded)
    with pytest.raises(ModelError, match="aaa: Permission denied"):
        load_model(closed)
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path)
    monkeypatch.setattr(model_store, "installed_models", lambda: ["aaa", "zzz"])
    token_model = load_model(tiny_folder).token_model
    assert model_for_file(token_model).name == "zzz"
