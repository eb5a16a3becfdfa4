import dataclasses

import pytest
import torch

from leechcodec.errors import ConfigError
from leechcodec.networks.model import CodecModel
from leechcodec.training.grow import load_grown
from leechcodec.training.means import mean_weights
from leechcodec.training.packed import averages
from leechcodec.training.state import config_of
from tests.training.test_grow import checkpoint_of
from tests.training.test_renewal import CONFIG


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        found.append(checkpoint_of(CodecModel(CONFIG), tmp_path_factory.mktemp("run")))
    return found


@pytest.mark.parametrize("shares", [None, [1.0, 0.0, 3.0], [-0.15, 0.0, 1.15]])
def test_the_mean(checkpoints, tmp_path, shares):
    mean_weights(checkpoints, tmp_path / "mean.safetensors", shares)
    load_grown(tmp_path / "mean.safetensors", CONFIG, CodecModel(CONFIG))  # as a run starts from it
    found = averages(tmp_path / "mean.safetensors")[1]
    parts = [averages(path)[1] for path in checkpoints]
    weights = torch.tensor(shares or [1.0, 1.0, 1.0])
    assert found.keys() == parts[0].keys()
    for name, value in found.items():
        expected = sum(part[name].double() * weight for part, weight in zip(parts, weights)) / weights.sum()
        torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)


def test_what_is_refused(checkpoints, tmp_path):
    for given, shares in (([], None), (checkpoints, [1.0]), (checkpoints, [1.0, -2.0, 1.0]), (checkpoints, [0.0] * 3)):
        with pytest.raises(ConfigError, match="shares"):
            mean_weights(given, tmp_path / "mean.safetensors", shares)
    (tmp_path / "other").mkdir()
    other = checkpoint_of(CodecModel(dataclasses.replace(CONFIG, ramp=1.0)), tmp_path / "other")
    with pytest.raises(ConfigError, match="another config"):
        mean_weights([checkpoints[0], other], tmp_path / "mean.safetensors")


def test_stages_are_where_the_last_one_has_them(checkpoints, tmp_path):
    later = dataclasses.replace(CONFIG, min_quality=tuple(place + (place > 1) for place in CONFIG.min_quality))
    (tmp_path / "later").mkdir()
    last = checkpoint_of(CodecModel(later), tmp_path / "later")
    mean_weights([checkpoints[0], last], tmp_path / "mean.safetensors")
    assert config_of(last, averages(tmp_path / "mean.safetensors")[0]) == later
