import pytest
import torch

from leechcodec.errors import ConfigError, ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.training.calming import calm_prior
from leechcodec.training.grow import load_grown
from leechcodec.training.packed import averages
from tests.training.test_grow import checkpoint_of
from tests.training.test_renewal import CONFIG


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    return checkpoint_of(CodecModel(CONFIG), tmp_path_factory.mktemp("run"))


def test_all_but_a_stage_s_last_pass_are_quiet(checkpoint, tmp_path):
    calm_prior(checkpoint, tmp_path / "calm.safetensors", 0.25)
    load_grown(tmp_path / "calm.safetensors", CONFIG, CodecModel(CONFIG))  # as a run starts from it
    before, after = averages(checkpoint)[1], averages(tmp_path / "calm.safetensors")[1]
    assert before.keys() == after.keys()
    quiet = {f"prior.stages.{stage}.0.conv2.{part}" for stage in (3, 4, 5, 6) for part in ("weight", "bias")}
    assert quiet <= before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value * (0.25 if name in quiet else 1.0)), name


def test_what_is_refused(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="factor"):
        calm_prior(checkpoint, tmp_path / "calm.safetensors", 1.5)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ModelError):
        calm_prior(tmp_path / "other", tmp_path / "calm.safetensors")
