import pytest
import torch

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.networks.model import CodecModel
from leechcodec.training.grow import load_grown
from leechcodec.training.packed import averages
from leechcodec.training.renewal import renew_stages
from tests.training.test_grow import WIDER, checkpoint_of

CONFIG = ModelConfig(
    quantizer="leech-ball",
    **{
        **WIDER,
        "stages": (1, 1, 1, 4, 0),
        "passes": (1, 1, 1, 2, 2, 2, 2),
        "synthesis_blocks": ((1,), (1,), (1,), (1, 0, 0, 0), (1,)),
        "channels": (8, 8, 8, 8, 8),
        "prior_channels": (8, 8, 8, 8, 8),
    },
)


def renewed(tmp_path, first: int) -> tuple[dict, dict]:
    torch.manual_seed(0)
    path = checkpoint_of(CodecModel(CONFIG), tmp_path)
    renew_stages(path, tmp_path / "renewed.safetensors", first)
    load_grown(tmp_path / "renewed.safetensors", CONFIG, CodecModel(CONFIG))  # as a run starts from it
    return averages(path)[1], averages(tmp_path / "renewed.safetensors")[1]


def test_the_last_stages_are_those_before(tmp_path):
    before, after = renewed(tmp_path, 5)
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert all(name.split(".")[1] == "stages" and name.split(".")[2] in "456" for name in changed)
    for stage in ("5", "6"):
        for name, value in before.items():
            parts = name.split(".")
            if parts[:3] == ["synthesis", "stages", "4"]:
                parts[2] = stage
                assert torch.equal(after[".".join(parts)], value)
            if parts[:3] == ["prior", "stages", "3"] and parts[4] != "head":
                parts[2] = stage
                assert torch.equal(after[".".join(parts)], value)
            if parts[:3] == ["prior", "stages", "4"] and parts[4] == "head":
                parts[2] = stage
                assert torch.equal(after[".".join(parts)], value)
    for number in (0, 1):
        kept = f"prior.stages.4.{number}.head.weight"
        assert torch.equal(after[kept], before[kept])
        for part in ("embed.weight", "conv1.weight", "conv2.bias"):
            assert torch.equal(after[f"prior.stages.4.{number}.{part}"], before[f"prior.stages.3.{number}.{part}"])


@pytest.mark.parametrize(
    ("first", "message"), [(1, "one of 2 to 6"), (7, "one of 2 to 6"), (4, "one stride"), (3, "one stride")]
)
def test_what_cannot_be_renewed(tmp_path, first, message):
    with pytest.raises(ConfigError, match=message):
        renewed(tmp_path, first)
