"""Packed weights: what comes back is near what went in, and what is none is refused."""

import pytest
import torch
from safetensors.torch import load_file

from leechcodec.codec import weight_storage
from leechcodec.errors import ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.testing.tiny import tiny_model
from leechcodec.training import packed
from leechcodec.training.grow import load_grown
from leechcodec.training.packed import averages, pack
from tests.training.test_grow import checkpoint_of


def test_packed_weights_are_near_and_small(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_storage, "SMALL", 100)
    model = tiny_model()
    checkpoint = checkpoint_of(model, tmp_path)
    pack(checkpoint, tmp_path / "run.packed")
    wanted_about, wanted = averages(checkpoint)
    about, found = averages(tmp_path / "run.packed")
    assert about == wanted_about and about["step"] == "7" and found.keys() == wanted.keys()
    large = 0
    for name, value in wanted.items():
        error = (found[name] - value).square().mean() / value.square().mean().clamp(min=1e-12)
        if value.dim() < 2 or value.numel() < weight_storage.SMALL:
            assert error < 1e-6
        else:
            assert 0 < error < (0.35 / packed.UNITS[name.partition(".")[0]]) ** 2
            large += value.numel()
    kept = load_file(tmp_path / "run.packed")
    assert large and 8 * (len(kept["high.0"]) + len(kept["low.0"])) < 5.5 * large


def test_finer_units(tmp_path, monkeypatch):
    """A prior in units four times as fine has a quarter of the error, all else is as before."""
    monkeypatch.setattr(weight_storage, "SMALL", 100)
    checkpoint = checkpoint_of(tiny_model(), tmp_path)
    usual, finer = tmp_path / "usual.packed", tmp_path / "finer.packed"
    pack(checkpoint, usual)
    pack(checkpoint, finer, {**packed.UNITS, "prior": 4 * packed.UNITS["prior"]})
    wanted, found, fine = (averages(path)[1] for path in (checkpoint, usual, finer))
    name = max((name for name in wanted if name.startswith("prior.")), key=lambda name: wanted[name].numel())
    assert wanted[name].numel() >= weight_storage.SMALL
    errors = [(part[name] - wanted[name]).square().mean().sqrt() for part in (found, fine)]
    assert errors[1] < 0.35 * errors[0]
    assert all(torch.equal(found[name], fine[name]) for name in wanted if not name.startswith("prior."))


def test_a_weight_far_from_the_others_is_not_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_storage, "SMALL", 100)
    model = tiny_model()
    with torch.no_grad():
        model.synthesis.blocks[0][0].conv1.weight[0, 0, 0, 0] = 50.0
    pack(checkpoint_of(model, tmp_path), tmp_path / "run.packed")
    found = averages(tmp_path / "run.packed")[1]["synthesis.blocks.0.0.conv1.weight"]
    assert found[0, 0, 0, 0] == pytest.approx(50, rel=0.01)


def test_a_run_can_start_from_them(tmp_path):
    model = tiny_model()
    pack(checkpoint_of(model, tmp_path), tmp_path / "run.packed")
    pack(tmp_path / "run.packed", tmp_path / "again.packed")
    again = CodecModel(model.config)
    load_grown(tmp_path / "again.packed", model.config, again)
    assert all(torch.isfinite(p).all() for p in again.parameters())
    close = zip(model.parameters(), again.parameters(), strict=True)
    assert all((a - b).abs().max() <= a.abs().max() * 0.2 + 1e-3 for a, b in close)


@pytest.mark.parametrize("data", [b"", b"text", b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_checkpoint_is_refused(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ModelError, match="not a training checkpoint"):
        averages(tmp_path / "x")
