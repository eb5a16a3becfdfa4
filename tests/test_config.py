import json

import numpy as np
import pytest
import torch

from leechcodec.config import ModelConfig, header_quality, hundredths
from leechcodec.errors import ConfigError
from leechcodec.networks.layout import TokenLayout
from leechcodec.testing.tiny import LAYOUT


def test_round_trips_through_json(tmp_path):
    config = ModelConfig(channels=(8, 8, 8, 8, 4), lmbda_max=0.05)
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert ModelConfig.load(path) == config


def test_lmbda_is_log_linear_over_the_dial():
    config = ModelConfig(lmbda_min=0.001, lmbda_max=0.1)
    assert config.lmbda(1) == pytest.approx(0.001)
    assert config.lmbda(50.5) == pytest.approx(0.01)
    assert config.lmbda(100) == pytest.approx(0.1)
    assert config.lmbda(torch.tensor([1.0, 50.5, 100.0])).tolist() == pytest.approx([0.001, 0.01, 0.1])


def test_stages_sent_grow_with_quality():
    config = ModelConfig()
    counts = [config.stages_sent(q) for q in range(1, 101)]
    assert counts == sorted(counts)
    assert counts[0] >= 1 and counts[-1] == sum(config.stages)


def test_a_stage_enters_at_the_hundredth_that_a_header_can_hold():
    for ramp, sent in ((8.0, 4), (0.0, 5)):
        config = ModelConfig(**LAYOUT | {"min_quality": (1, 1, 20, 40, 60.006)}, ramp=ramp)
        layout = TokenLayout(config, 60.01, (64, 64))
        assert config.stages_sent(60.01) == layout.stages == sent
        assert config.stages_sent(60.02) == 5 and config.stages_sent(60.0) == 4


@pytest.mark.parametrize(
    "change, message",
    [
        ({"stage": [1]}, "unknown model config key 'stage'"),
        ({"stages": (1, 2)}, "stages needs 5"),
        ({"min_quality": (1,)}, "one entry per stage"),
        ({"min_quality": (2,) * 13}, "must start at 1"),
        ({"synthesis_blocks": (1, 1, 3, 3, 2)}, "synthesis_blocks must be a list of lists of whole numbers"),
        ({"synthesis_blocks": ((1,), (1,), (1, 1), (1,) * 8, (2,))}, "one number per token stage"),
        ({"lmbda_min": 1.0}, "lmbda_min"),
        ({"quality_knots": 1}, "quality_knots"),
        ({"channels": (8, 8, 8, 8, -1)}, "channels"),
        ({"channels": (0, 8, 8, 8, 8)}, "channels needs 5 integers, 1 or more"),
        ({"prior_channels": (8, 8, 8, 8, 0)}, "prior_channels needs 5 integers, 1 or more"),
        ({"channels": 8}, "channels must be a list of whole numbers"),
        ({"channels": [8, 8, 8, 8, 4.5]}, "channels must be a list of whole numbers"),
        ({"synthesis_blocks": [[1], [1], [1, 1, -1], [1] * 8, [2]]}, "synthesis_blocks needs integers from 0 to 64"),
        ({"passes": [0] * 13}, "passes needs one number, 1 to 9"),
        ({"min_quality": ["low"] * 13}, "min_quality must be a list of numbers"),
        ({"min_quality": None}, "min_quality must be a list of numbers"),
        ({"quality_knots": "8"}, "quality_knots must be a whole number"),
        ({"quality_knots": True}, "quality_knots must be a whole number"),
        ({"lmbda_min": "small"}, "lmbda_min must be a number"),
        ({"lmbda_max": float("nan")}, "lmbda_max must be a number"),
        ({"lmbda_max": 10**400}, "lmbda_max must be a number"),
        ({"quality_knots": 1025}, "quality_knots"),
        ({"analysis_blocks": (1, 1, 1, 1, 10**9)}, "analysis_blocks needs integers from 0 to 64"),
        ({"ramp": float("nan")}, "ramp must be a number"),
        ({"ramp": 99}, "ramp must be a number of qualities"),
        ({"gates": 1}, "gates must be true or false"),
        ({"quantizer": ["leech"]}, "quantizer must be a text"),
    ],
)
def test_names_what_is_wrong(change, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(change)


def test_unreadable_config(tmp_path):
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ConfigError):
        ModelConfig.load(tmp_path / "c.json")
    assert json.loads(ModelConfig().to_json())["quantizer"] == "leech"


def test_qualities_may_be_numpy_s():
    assert hundredths(np.uint8(60)) == hundredths(np.int8(60)) == 6000
    assert header_quality(np.float32(60.5)) == 60.5
