from dataclasses import replace

import pytest
import torch

from leechcodec.errors import ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.training.grow import load_grown
from leechcodec.training.joining import join_passes
from leechcodec.training.packed import averages
from tests.training.test_grow import checkpoint_of
from tests.training.test_renewal import CONFIG

SPLIT = replace(CONFIG, gates=True)
SINGLE = replace(CONFIG, passes=(1,) * 7, gates=False)


@pytest.fixture(scope="module")
def split():
    torch.manual_seed(0)
    return CodecModel(SPLIT)


@pytest.fixture(scope="module")
def checkpoint(split, tmp_path_factory):
    return checkpoint_of(split, tmp_path_factory.mktemp("run"))


def test_every_stage_has_one_pass_and_the_transforms_are_as_they_were(split, checkpoint, tmp_path):
    join_passes(checkpoint, tmp_path / "single.safetensors")
    single = CodecModel(SINGLE)
    load_grown(tmp_path / "single.safetensors", SINGLE, single)  # as a run starts from it
    old, new = split.prior.stages[4], single.prior.stages[4]
    assert len(new) == 1 and new[0].gate is None
    assert torch.equal(new[0].head.weight, old[0].head.weight) and torch.equal(new[0].quality, old[0].quality)
    assert torch.equal(new[0].conv2.weight, old[1].conv2.weight)
    torch.testing.assert_close(new[0].embed.weight, (old[0].embed.weight + old[1].embed.weight) / 2)
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([90.0, 50.0])
    assert torch.equal(split(x, quality).x_hat, single(x, quality).x_hat)
    assert single(x, quality).rates.bits.isfinite().all()


def test_a_prior_that_has_one_pass_a_stage_stays(tmp_path):
    torch.manual_seed(0)
    join_passes(checkpoint_of(CodecModel(SINGLE), tmp_path), tmp_path / "single.safetensors")
    before, after = averages(tmp_path / "checkpoint.safetensors")[1], averages(tmp_path / "single.safetensors")[1]
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())


def test_what_is_refused(tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ModelError):
        join_passes(tmp_path / "other", tmp_path / "single.safetensors")
