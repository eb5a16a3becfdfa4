import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from leechcodec.apps.cli import main
from leechcodec.codec import api
from leechcodec.codec.model_store import load_model, save_decoder
from leechcodec.codec.weight_storage import read_weights
from leechcodec.errors import ConfigError, ModelError
from leechcodec.training.perceptual import (
    PerceptualConfig,
    base_of,
    load_perceptual,
    train_perceptual,
    trained_names,
)
from tests.lab.lab_files import picture

pytestmark = pytest.mark.slow


class NoLpips:
    """Stands for LPIPS, whose backbone a test does not have."""

    def __init__(self, weights):
        self.net = type("Net", (nn.Module,), {"forward": lambda self, a, b: (a - b).square().mean((1, 2, 3))})()


@pytest.fixture
def trained(tmp_path, tiny_folder, monkeypatch):
    monkeypatch.setattr("leechcodec.training.lpips_net.Lpips", NoLpips)
    (tmp_path / "photographs").mkdir()
    for number in range(3):
        picture(96, 80, seed=number).save(tmp_path / "photographs" / f"{number}.png")

    def run(out, steps, blend=1.0, **options):
        config = PerceptualConfig(
            base=str(tiny_folder), steps=steps, batch=2, crop=64, adversarial_start=1, precision="float32", lr=1e-2,
            validation_share=0.0, first_scale=3, decay=1e-9, blend=blend,
        )  # fmt: skip
        train_perceptual(config, [tmp_path / "photographs"], tmp_path / out, tmp_path, threads=1, **options)
        return tmp_path / out

    return run


def test_both_decoders_read_one_file(trained, tiny_folder, tmp_path):
    folder = trained("run", 3) / "model"
    (folder.parent / tiny_folder.name).symlink_to(tiny_folder)
    image, base, second = picture(90, 70), load_model(tiny_folder), load_model(folder)
    assert second.token_model == base.token_model and second.synthesis != base.synthesis
    data = api.compress(image, quality=60, model=folder)
    tokens = api.read_tokens(data, model=tiny_folder)
    assert all(map(np.array_equal, tokens.codes, api.tokenize(image, quality=60, model=tiny_folder).codes))
    pictures = [np.asarray(api.decompress(data, model=model)) for model in (folder, tiny_folder)]
    assert (pictures[0] != pictures[1]).any()
    assert json.loads((folder / "config.json").read_text())["base"] == tiny_folder.name


def test_only_the_fine_scales_move(trained, tiny_folder):
    from safetensors.torch import load_file

    checkpoint = load_file(trained("run", 2) / "checkpoint.safetensors")
    base = load_model(tiny_folder).networks.synthesis
    names = trained_names(base, 3)
    assert "head.weight" in names and "up.2.weight" in names and not any(name.startswith("stages") for name in names)
    for name, value in base.named_parameters():
        assert torch.equal(checkpoint[f"model.synthesis.{name}"], value) == (name not in names), name


def test_the_decoder_written_lies_between_the_base_and_the_average(trained, tiny_folder):
    from safetensors.torch import load_file

    folder = trained("run", 3, blend=0.25)
    average = load_file(folder / "checkpoint.safetensors")
    tensors = read_weights(folder / "model" / "weights.safetensors")
    written = {name: torch.from_numpy(value).float() for name, value in tensors.items()}
    base = load_model(tiny_folder).networks
    for name, value in written.items():
        start, end = base.get_parameter(name), average[f"ema.{name}"].float()
        assert torch.allclose(value, start + (end - start) / 4, atol=1e-3), name
    assert any(not torch.equal(value, base.get_parameter(name)) for name, value in written.items())


def test_a_run_goes_on_where_it_stopped(trained):
    from safetensors.torch import load_file

    folder = trained("run", 2)
    first = load_file(folder / "checkpoint.safetensors")
    trained("run", 4, resume=True)
    later = load_file(folder / "checkpoint.safetensors")
    assert first.keys() == later.keys()
    assert later["adam.step.synthesis.head.weight"] == 4 == later["discriminator.step.discriminator.layers.0.bias"]


def test_codes_are_the_codecs_own(tiny_folder):
    loaded = load_model(tiny_folder)
    x = torch.from_numpy(np.array(picture(128, 64))).permute(2, 0, 1)[None]
    batch = loaded.networks.encode_batch((x.float() / 127.5 - 1).repeat(2, 1, 1, 1), torch.tensor([80.0, 5.0]))
    codes = loaded.networks.encode(x, 80.0)
    assert all(torch.equal(a[:1], b.float()) for a, b in zip(batch, codes, strict=True))
    assert [len(stage) for stage in batch] == [2, 2, 2, 1, 1]


def test_settings(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[training]\nsteps = 3\n")
    assert load_perceptual(path) is None
    path.write_text("[perceptual]\nsteps = 3\n")
    assert load_perceptual(path) == PerceptualConfig(steps=3)
    options = ["train", str(path), "--data", str(tmp_path), "--out", str(tmp_path), "--lpips-weights", str(path)]
    for refused in (["--vf-weights", str(path)], ["--minutes", "1"], ["--init", str(path)]):
        result = CliRunner().invoke(main, [*options, *refused])
        assert result.exit_code == 2 and "not --init, --minutes, --vf-weights or --watch" in result.stderr
    path.write_text('[perceptual]\nexclude = ["a.png"]\n')
    assert load_perceptual(path) == PerceptualConfig(exclude=("a.png",))
    for text in (
        "[perceptual]\nstep = 3\n",
        "[perceptual]\n[model]\n",
        "[perceptual]\ncrop = 65\n",
        "[perceptual]\nblend = 0\n",
        "[perceptual]\nlr = -1.0\n",
        "[perceptual]\nema = -3.0\n",
        "[perceptual]\ndecay = 1.5\n",
        "[perceptual",
    ):
        path.write_text(text)
        with pytest.raises(ConfigError):
            load_perceptual(path)


def test_a_base_that_no_decoder_can_name(tmp_path, tiny_folder):
    shutil.copytree(tiny_folder, tmp_path / "model")
    head = load_model(tiny_folder).networks.synthesis.get_parameter("head.bias")
    save_decoder(tmp_path / "second", tmp_path / "model", {"head.bias": head})
    for base, message in (("model", "release it under another name"), ("second", "a second decoder: name the model")):
        with pytest.raises(ConfigError, match=message):
            base_of(PerceptualConfig(base=str(tmp_path / base)), tmp_path / "run")


def test_a_decoder_of_another_model_is_refused(tmp_path, tiny_folder):
    (tmp_path / tiny_folder.name).symlink_to(tiny_folder)
    parameters = dict(load_model(tiny_folder).networks.synthesis.named_parameters())
    save_decoder(tmp_path / "other", tiny_folder, {"head.weight": parameters["head.weight"][:1]})
    with pytest.raises(ModelError, match="head"):
        load_model(tmp_path / "other")
    save_decoder(tmp_path / "older", tiny_folder, {"head.bias": parameters["head.bias"]})
    (tmp_path / "older" / "config.json").write_text(json.dumps({"base": tiny_folder.name, "token_model": "00"}))
    with pytest.raises(ModelError, match="token model"):
        load_model(tmp_path / "older")
