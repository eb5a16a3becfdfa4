import dataclasses

import pytest
import torch
import torch.nn.functional as F

from leechcodec.codec.model_store import load_model, save_model, synthesis_id
from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.networks import tiling
from leechcodec.networks.model import CodecModel
from leechcodec.networks.shortcuts import enlarged, shortcut_scales
from leechcodec.testing.tiny import LAYOUT, tiny_model
from leechcodec.training.grow import load_grown


def with_shortcuts() -> CodecModel:
    torch.manual_seed(1)
    model = CodecModel(ModelConfig(quantizer="leech", **LAYOUT, shortcuts=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.abs().max() == 0 or ".shortcuts." in name:
                parameter.normal_(std=0.2)
    return model.eval()


@torch.inference_mode()
def test_bands_change_nothing(monkeypatch):
    model, x = with_shortcuts(), torch.rand(1, 3, 256, 128) * 2 - 1
    codes, x_hat = model.encode_and_decode(x, 100.0)
    monkeypatch.setattr(tiling, "TILE_POSITIONS", 40)
    again, banded = model.encode_and_decode(x, 100.0)
    assert all(torch.equal(a, b) for a, b in zip(codes, again))
    assert torch.allclose(x_hat, banded, atol=1e-5)
    assert torch.allclose(x_hat, model.decode(codes, 256, 128, 100.0), atol=1e-5)


@torch.inference_mode()
def test_bytes_and_floats_are_the_same_picture():
    model = with_shortcuts()
    picture = torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8)
    assert all(torch.equal(a, b) for a, b in zip(model.encode(picture, 80.0), model.encode(picture / 127.5 - 1, 80.0)))


@torch.inference_mode()
def test_a_scale_reaches_the_picture_by_its_own_projection_alone():
    """Where all else is silent, x̂ is the enlarged projection of a state."""
    model = with_shortcuts()
    synthesis = model.synthesis
    for projection in synthesis.shortcuts:
        projection.weight.zero_()
        projection.bias.zero_()
    synthesis.head.weight.zero_()
    synthesis.head.bias.zero_()
    colours = torch.tensor([0.5, -0.25, 0.75])
    synthesis.shortcuts[0].bias.copy_(colours.repeat_interleave(16))
    weights = torch.eye(3)[:1]
    x_hat = synthesis(128, 64, weights, lambda *_: None)
    assert torch.allclose(x_hat, colours[None, :, None, None].expand(1, 3, 128, 64))


def test_enlarging_keeps_a_ramp():
    ramp = torch.arange(8.0).expand(1, 3, 6, 8)
    assert torch.allclose(enlarged(ramp)[0, 0, 0, 1:-1], torch.arange(14) / 2 + 0.25)
    assert torch.allclose(F.avg_pool2d(enlarged(ramp), 2)[..., 1:-1], ramp[..., 1:-1])


def test_the_finest_scale_has_a_stem_and_a_head_of_its_own():
    assert shortcut_scales(ModelConfig()) == range(4)
    assert shortcut_scales(ModelConfig(stages=(1, 1, 0, 0, 0), min_quality=(1, 1), passes=(1, 1),
                                       synthesis_blocks=((1,), (1,), (1,), (1,), (1,)))) == range(2)  # fmt: skip


@torch.no_grad()
def test_growing_them_changes_nothing_at_first(tmp_path):
    plain, x = tiny_model(), torch.rand(1, 3, 128, 64) * 2 - 1
    save_model(tmp_path, plain)
    grown = CodecModel(dataclasses.replace(plain.config, shortcuts=True))
    load_grown(tmp_path, grown.config, grown)
    released = load_model(tmp_path).networks
    grown.eval().to(memory_format=torch.channels_last)  # as released ones are: sums in the same order
    assert torch.equal(grown.encode_and_decode(x, 90.0)[1], released.encode_and_decode(x, 90.0)[1])
    with torch.enable_grad():
        loss = grown(x, torch.tensor([90.0])).x_hat.square().mean()
        loss.backward()
    assert all(projection.weight.grad.abs().max() > 0 for projection in grown.synthesis.shortcuts)


def test_ids_tell_them_apart_and_a_model_comes_back(tmp_path):
    model, plain = with_shortcuts(), tiny_model()
    assert synthesis_id(model.config, {}) != synthesis_id(plain.config, {})
    save_model(tmp_path / "model", model)
    loaded = load_model(tmp_path / "model")
    assert loaded.config.shortcuts and loaded.networks.synthesis.shortcuts is not None
    with pytest.raises(ConfigError, match="shortcuts must be true or false"):
        ModelConfig(shortcuts="yes")
