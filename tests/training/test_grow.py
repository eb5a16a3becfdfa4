import math
from pathlib import Path

import pytest
import torch

from leechcodec.codec.model_store import save_model
from leechcodec.config import ModelConfig
from leechcodec.errors import LqError, ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.testing.tiny import LAYOUT, tiny_model
from leechcodec.training.grow import load_grown
from leechcodec.training.state import save_checkpoint

WIDER = dict(
    stages=(1, 1, 2, 3, 0),
    passes=(1, 1, 2, 1, 2, 1, 1),
    min_quality=(1, 1, 1, 30, 60, 200, 200),
    synthesis_blocks=((1,), (1,), (1, 1), (1, 0, 0), (1,)),
)


@pytest.fixture
def saved(tmp_path):
    """A tiny model and its checkpoint."""
    model = tiny_model()
    return model, checkpoint_of(model, tmp_path)


def checkpoint_of(model: CodecModel, folder: Path) -> Path:
    ema = {name: p.detach().clone() for name, p in model.named_parameters()}
    path = folder / "checkpoint.safetensors"
    save_checkpoint(path, model.config, model, ema, {}, torch.Generator(), 7, 1.0, None)
    return path


def grown(path, **changes) -> CodecModel:
    config = ModelConfig(**{"quantizer": "leech", **LAYOUT, **changes})
    model = CodecModel(config)
    load_grown(path, config, model)
    return model.eval()


@torch.no_grad()
def test_the_same_model_comes_back(saved):
    model, path = saved
    again = grown(path)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters()))


@torch.no_grad()
def test_a_released_model_is_a_start_too(saved, tmp_path):
    model, _ = saved
    save_model(tmp_path / "released", model)
    again = grown(tmp_path / "released")
    for p, q in zip(model.parameters(), again.parameters()):  # stored as float16, the prior as integers
        assert torch.allclose(p, q, rtol=1e-3, atol=2**-8)
    with pytest.raises(LqError, match=r"config\.json"):
        grown(tmp_path)


@torch.no_grad()
def test_new_stages_that_are_not_sent_change_nothing(saved):
    model, path = saved
    wider = grown(path, **WIDER)
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([90.0, 20.0])
    before, after = model(x, quality), wider(x, quality)
    assert torch.allclose(before.x_hat, after.x_hat, atol=1e-6)
    assert torch.allclose(before.rates.bits, after.rates.bits[:, :5], rtol=1e-5)
    first, copy = wider.synthesis.stages[4], wider.synthesis.stages[6]
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), copy.parameters()))


@torch.no_grad()
def test_a_wider_dial_means_the_same_trade_off(saved):
    model, path = saved
    wide = grown(path, lmbda_min=model.config.lmbda_min / 4, lmbda_max=model.config.lmbda_max * 4, quality_knots=25)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    for quality in (1.0, 50.5, 100.0):
        lmbda = model.config.lmbda(quality)
        place = math.log(lmbda / wide.config.lmbda_min) / math.log(wide.config.lmbda_max / wide.config.lmbda_min)
        codes = model.encode(x, quality)
        there = model.decode(codes, 64, 64, quality)
        assert torch.allclose(wide.decode(codes, 64, 64, 1 + 99 * place), there, atol=0.02)


def test_fewer_channels_are_refused(saved):
    _, path = saved
    with pytest.raises(ModelError, match="needs"):
        grown(path, channels=(8, 8, 8, 8, 4))


def test_a_scale_without_a_stage_has_nothing_to_copy(tmp_path):
    blocks = ((1,), (1,), (1, 1), (1,), (1,))
    few = dict(stages=(1, 0, 2, 1, 0), passes=(1, 2, 1, 2), min_quality=(1, 1, 30, 60), synthesis_blocks=blocks)
    model = CodecModel(ModelConfig(**{**LAYOUT, **few}))
    save_model(tmp_path / "few", model)
    with pytest.raises(ModelError, match="no stage at stride 32"):
        grown(tmp_path / "few")


def test_a_codebook_comes_along_or_is_missed(tmp_path):
    model = tiny_model("vq-6-6")
    save_model(tmp_path / "vq", model)
    assert torch.equal(grown(tmp_path / "vq", quantizer="vq-6-6").quantizer.codebook, model.quantizer.codebook)
    with pytest.raises(ModelError, match="codebook is that of 'vq-6-6'"):
        grown(tmp_path / "vq", quantizer="simvq-6-6")


def test_not_a_checkpoint(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(ModelError, match="not a training checkpoint"):
        grown(path)


@torch.no_grad()
@pytest.mark.parametrize("passes", [(5, 5, 3, 1, 2), (1, 2, 4, 5, 5)])
def test_more_passes_change_nothing_at_first(saved, passes):
    """Rates are those of before but for what gates of 1/64 nat do, and so are all later stages."""
    model, path = saved
    split = grown(path, passes=passes, gates=True)
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([90.0, 70.0])
    before, after = model(x, quality), split(x, quality)
    assert torch.equal(before.x_hat, after.x_hat)
    assert torch.allclose(before.rates.bits, after.rates.bits, rtol=0.06)
    for stage in split.prior.stages:
        for part in stage:
            if part.gate is not None:
                part.gate.bias.zero_()
    assert torch.allclose(before.rates.bits, split(x, quality).rates.bits, rtol=1e-4)


@torch.no_grad()
def test_more_passes_of_gated_stages(tmp_path):
    torch.manual_seed(0)
    config = ModelConfig(quantizer="leech", **{**LAYOUT, "gates": True})
    model = CodecModel(config).eval()
    split = grown(checkpoint_of(model, tmp_path), passes=(2, 1, 3, 1, 4), gates=True)
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([90.0, 70.0])
    before, after = model(x, quality), split(x, quality)
    assert torch.equal(before.x_hat, after.x_hat)
    assert torch.allclose(before.rates.bits, after.rates.bits, rtol=0.06)
    kept = split.get_parameter("prior.stages.4.3.gate.bias")
    assert torch.equal(kept, model.get_parameter("prior.stages.4.1.gate.bias"))


def test_fewer_passes_are_refused(saved):
    with pytest.raises(ModelError, match="stage 3 had 2 passes, more than 1"):
        grown(saved[1], passes=(1, 1, 1, 1, 2))


@torch.no_grad()
@pytest.mark.parametrize("gates", [False, True])
def test_a_wider_prior_is_the_same_at_first_and_can_learn(tmp_path, gates):
    config = ModelConfig(quantizer="leech", **{**LAYOUT, "gates": gates})
    torch.manual_seed(0)
    model = CodecModel(config).eval()
    wide = grown(checkpoint_of(model, tmp_path), gates=gates, prior_channels=(8, 12, 8, 9, 8))
    x, quality = torch.rand(1, 3, 128, 128) * 2 - 1, torch.tensor([70.0])
    before, after = model(x, quality).rates.bits, wide(x, quality).rates.bits
    assert torch.allclose(before, after, rtol=1e-5)
    with torch.enable_grad():
        wide(x, quality).rates.bits.sum().backward()
    for stage in (1, 4):  # widened: what reads the new channels can learn to
        for part in wide.prior.stages[stage]:
            assert part.head.weight.grad[:, 8:].abs().max() > 0


def test_a_narrower_prior_is_refused(saved):
    with pytest.raises(ModelError, match="needs"):
        grown(saved[1], prior_channels=(8, 4, 8, 8, 8))
