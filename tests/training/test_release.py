import json

import pytest
import torch
from click.testing import CliRunner

from leechcodec.apps.cli import main
from leechcodec.codec.model_store import load_model, save_decoder, save_model
from leechcodec.errors import ModelError
from leechcodec.networks.onnx_transforms import OnnxTransforms
from leechcodec.testing.tiny import tiny_model
from leechcodec.training.packed import pack
from leechcodec.training.release import release, release_checkpoint
from leechcodec.training.state import save_checkpoint


def checkpoint(folder, model, ema=None):
    """A run's checkpoint; its averaged weights are the model's halves unless given."""
    folder.mkdir(exist_ok=True)
    ema = ema or {name: value.detach() / 2 for name, value in model.named_parameters()}
    path = folder / "checkpoint.safetensors"
    save_checkpoint(path, model.config, model, ema, {}, torch.Generator(), 7, 3600.0, None)
    return path


def test_a_run_becomes_a_model(tmp_path):
    model = tiny_model()
    path = checkpoint(tmp_path / "run", model)
    made = release(tmp_path / "run", tmp_path / "one")
    assert (made.step, made.seconds) == (7, 3600.0) and made.size > 10_000 and made.apart in (0, 1)
    averaged = load_model(tmp_path / "one").networks
    assert torch.allclose(averaged.synthesis.head.weight, model.synthesis.head.weight / 2, atol=1e-4)
    assert release(path, tmp_path / "two").model.token_model == made.model.token_model


def test_a_second_decoder_is_copied(tmp_path):
    model = tiny_model()
    base = release(checkpoint(tmp_path / "run", model).parent, tmp_path / "base").model
    (tmp_path / "decoder").mkdir()
    save_decoder(tmp_path / "decoder" / "model", tmp_path / "base", {"head.bias": model.synthesis.head.bias + 1})
    made = release(tmp_path / "decoder", tmp_path / "other")
    assert made.step is None and made.model.is_second_decoder
    assert made.model.token_model == base.token_model and made.model.synthesis != base.synthesis


def test_the_model_of_a_priors_run_is_copied(tmp_path):
    model = tiny_model()
    run = tmp_path / "run"
    run.mkdir()
    averages = {name: value.detach().clone() for name, value in model.prior.named_parameters()}
    optimizers, generator = {}, torch.Generator()
    arguments = (model.config, model.prior, averages, optimizers, generator, 7, 60.0, None)
    save_checkpoint(run / "checkpoint.safetensors", *arguments)
    with pytest.raises(ModelError, match="where the run leaves its model at its end"):
        release(run, tmp_path / "early")
    save_model(run / "model", model)
    made = release(run, tmp_path / "late")
    assert made.step is None and made.model.token_model == load_model(run / "model").token_model


def test_a_whole_models_run_is_released_from_its_checkpoint(tmp_path):
    run = checkpoint(tmp_path / "run", tiny_model()).parent
    save_model(run / "model", tiny_model(seed=1))
    assert release(run, tmp_path / "model").step == 7


def test_a_model_that_onnx_runtime_decodes_otherwise_is_refused(tmp_path, monkeypatch):
    run = checkpoint(tmp_path / "run", tiny_model()).parent
    answer = OnnxTransforms.decode

    def brighter(*arguments):
        *rest, show = arguments
        answer(*rest, lambda rows: show(rows + 2 / 127.5))

    release(run, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    other = checkpoint(tmp_path / "other", tiny_model(seed=1)).parent
    monkeypatch.setattr(OnnxTransforms, "decode", brighter)
    with pytest.raises(ModelError, match=r"pictures [23] levels apart"):
        release(other, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "other", "model"}


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ModelError, match="not a training checkpoint"):
        release(tmp_path, tmp_path / "model")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a training checkpoint"):
        release(tmp_path, tmp_path / "model")
    model = tiny_model()
    part = {name: value.detach().clone() for name, value in model.named_parameters() if name.startswith("synthesis")}
    with pytest.raises(ModelError, match="not a whole model's"):
        release_checkpoint(checkpoint(tmp_path / "part", model, part), tmp_path / "model")


def test_packed_weights_are_no_release(tmp_path):
    pack(checkpoint(tmp_path / "run", tiny_model()), tmp_path / "run.packed")
    with pytest.raises(ModelError, match=r"run\.packed: packed weights, with which a run goes on"):
        release_checkpoint(tmp_path / "run.packed", tmp_path / "model")


def test_the_command_does_not_write_over_a_model(tmp_path):
    run, out = checkpoint(tmp_path / "run", tiny_model()).parent, tmp_path / "model"
    first = CliRunner().invoke(main, ["release", str(run), "-o", str(out)])
    assert first.exit_code == 0 and "step 7, 1.00 h" in first.output and "token model" in first.output
    (out / "card.md").write_text("by hand")
    again = CliRunner().invoke(main, ["release", str(run), "-o", str(out)])
    assert again.exit_code == 1 and "--force" in again.output
    assert CliRunner().invoke(main, ["release", str(run), "-o", str(out), "--force"]).exit_code == 0
    assert (out / "card.md").read_text() == "by hand"
    assert "stages" in json.loads((out / "config.json").read_text())
