"""Every quantizer in the whole codec: two steps of training, a released model, a file and back."""

import json

import numpy as np
import pytest
import torch

from leechcodec.codec import api
from leechcodec.codec.model_store import load_model, save_model
from leechcodec.codec.weight_storage import read_weights, write_weights
from leechcodec.config import ModelConfig
from leechcodec.errors import ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.testing.files import without
from leechcodec.testing.tiny import LAYOUT, tiny_model
from leechcodec.training.loop import train
from leechcodec.training.state import load_weights
from tests.families import LEARNED, SMALL
from tests.lab.lab_files import picture

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SMALL)
def test_a_file_holds_the_tokens(tmp_path, name):
    save_model(tmp_path / "model", tiny_model(name))
    image = picture(100, 70)
    tokens = api.tokenize(image, quality=80, model=tmp_path / "model", effort=2)
    data = api.compress(image, quality=80, model=tmp_path / "model", effort=2)
    read = api.read_tokens(data, model=tmp_path / "model")
    assert len(read.codes) == 5 and all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True))
    data = without(data)
    decoded = api.decompress(data, model=tmp_path / "model")
    assert decoded.size == (100, 70) and decoded.tobytes() == api.detokenize(read, model=tmp_path / "model").tobytes()
    ideal = sum(api.ideal_bits(tokens, model=tmp_path / "model")) / 8
    assert ideal <= len(data) <= ideal + 32 + 3 * 18


@pytest.mark.parametrize("name", [*LEARNED, "rpq-6-6"])
def test_a_released_codebook_is_exact_and_part_of_the_models_id(tmp_path, name):
    model = tiny_model(name)
    save_model(tmp_path / "one", model)
    loaded = load_model(tmp_path / "one")
    assert torch.equal(loaded.networks.quantizer.codebook, model.quantizer.codebook)
    save_model(tmp_path / "two", loaded.networks)
    assert (tmp_path / "one" / "weights.safetensors").read_bytes() == (
        tmp_path / "two/weights.safetensors"
    ).read_bytes()

    changed = loaded.networks.quantizer.codebook.clone()
    changed[5, 1] ^= 1
    other = tiny_model(name)
    other.quantizer.load_frozen({"codebook": changed.numpy()})
    save_model(tmp_path / "three", other)
    assert load_model(tmp_path / "three").token_model != loaded.token_model

    tensors = read_weights(tmp_path / "one" / "weights.safetensors")
    del tensors["quantizer.codebook"]
    write_weights(tmp_path / "three" / "weights.safetensors", tensors, {})
    (tmp_path / "three").rename(tmp_path / "four")  # models are cached by folder
    with pytest.raises(ModelError, match="codebook"):
        load_model(tmp_path / "four")


def settings_file(folder, name, steps, precision="bf16"):
    path = folder / "run.toml"
    layout = "".join(f"{key} = {json.dumps(value)}\n" for key, value in LAYOUT.items())
    path.write_text(
        f'[model]\nquantizer = "{name}"\n{layout}\n[training]\nsteps = {steps}\nbatch = 2\ncrop = 64\n'
        f"rate_tokens = 16\nwarmup = 2\nvalidation_share = 0.0\ndecay = 0.0\nprecision = '{precision}'\n"
        "spike_factor = 100.0\ncontest = 0.1\ncommitment = 0.1\nentropy_weight = 0.005\n"
    )
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(3):
        picture(96, 80, number).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_two_steps_of_training_make_a_model_that_codes(tmp_path, photographs, name):
    train(settings_file(tmp_path, name, 2), [photographs], tmp_path / "run", threads=1)
    config = ModelConfig(quantizer=name, **LAYOUT)
    model = CodecModel(config)
    load_weights(tmp_path / "run" / "checkpoint.safetensors", config, model)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    save_model(tmp_path / "model", model)
    image = picture(64, 64, 7)
    data = api.compress(image, quality=50, model=tmp_path / "model")
    known = api.tokenize(image, quality=50, model=tmp_path / "model")
    assert api.read_tokens(data, model=tmp_path / "model").digest() == known.digest()


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_codebook_survives_a_pause(tmp_path, photographs, name):
    settings = settings_file(tmp_path, name, 4, "float32")
    torch.manual_seed(5)
    train(settings, [photographs], tmp_path / "whole", threads=1)
    train(settings, [photographs], tmp_path / "parts", threads=1, steps=2)
    train(settings, [photographs], tmp_path / "parts", threads=1, resume=True)
    from safetensors.torch import load_file

    whole, parts = (load_file(tmp_path / run / "checkpoint.safetensors") for run in ("whole", "parts"))
    for key in whole:
        if key.startswith("model.quantizer."):
            gap = (whole[key].float() - parts[key].float()).norm()
            assert gap <= 0.03 * whole[key].float().norm(), key


@pytest.mark.parametrize("name", LEARNED)
def test_a_model_grows_from_a_learned_codebook(tmp_path, photographs, name):
    train(settings_file(tmp_path, name, 2), [photographs], tmp_path / "run", threads=1)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    config = ModelConfig(quantizer=name, **LAYOUT)
    model = CodecModel(config)
    load_weights(checkpoint, config, model)
    save_model(tmp_path / "model", model)
    from leechcodec.training.grow import load_grown

    for source in (checkpoint, tmp_path / "model"):
        torch.manual_seed(99)
        grown = CodecModel(config)
        load_grown(source, config, grown)
        assert torch.equal(grown.quantizer.codebook, model.quantizer.codebook)
