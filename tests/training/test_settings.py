import json

import pytest

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.training.perceptual import load_perceptual
from leechcodec.training.prior_only import load_prior_config
from leechcodec.training.settings import load_settings
from tests.places import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_of_the_repository_are_read(path):
    assert load_prior_config(path) or load_perceptual(path) or load_settings(path)


def test_the_second_generation_goes_on_with_its_config():
    released = ModelConfig.from_dict(json.loads((ROOT / "models" / "leech-open" / "config.json").read_text()))
    assert released == load_settings(ROOT / "configs" / "leech-2-processor-late.toml")[0]


def test_both_parts_of_the_second_generation_are_about_one_model():
    first, late = (load_settings(next(p for p in CONFIGS if p.stem == name))[0] for name in ("leech-2", "leech-2-late"))
    assert first == late


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("training", "steps = 10.5", "steps must be a whole number, got 10.5"),
        ("training", "batch = '4'", "batch must be a whole number"),
        ("training", "seed = true", "seed must be a whole number"),
        ("training", "muon_lr = 'fast'", "muon_lr must be a number"),
        ("training", "precision = 16", "precision must be a text"),
        ("training", "dial = ['low', 'high']", "dial must be a list of numbers"),
        ("training", "scales = [true, 1.0]", "scales must be a list of numbers"),
        ("training", "exclude = 'a.png'", "exclude must be a list of file names"),
        ("prior", "steps = 10.5", "steps must be a whole number"),
        ("prior", "passes = [1.5]", "passes must be a list of whole numbers"),
        ("prior", "gates = 1", "gates must be true or false"),
        ("prior", "maps = 2.5", "maps must be a whole number"),
        ("prior", "scales = ['a', 'b']", "scales must be a list of numbers"),
        ("perceptual", "steps = 10.5", "steps must be a whole number"),
        ("perceptual", "lr = 'fast'", "lr must be a number"),
    ],
)
def test_a_value_of_another_type_is_named(tmp_path, table, line, message):
    (tmp_path / "c.toml").write_text(f"[{table}]\n{line}\n")
    read = {"training": load_settings, "prior": load_prior_config, "perceptual": load_perceptual}[table]
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "c.toml")


@pytest.mark.parametrize(
    "line",
    [
        "muon_lr = -1", "adam_lr = nan", "validation_share = -1", "validation_share = 1.5", "rate_start = -5",
        "warmup = -3", "rate_warmup = -1", "weight_decay = inf", "decay = -1", "spike_factor = 0", "spike_factor = nan",
        "loss_exponent = nan", "seed = -1", "checkpoint_minutes = -1",
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named(tmp_path, line):
    (tmp_path / "c.toml").write_text(f"[training]\n{line}\n")
    with pytest.raises(ConfigError, match=line.split()[0]):
        load_settings(tmp_path / "c.toml")


def test_whole_numbers_are_numbers_and_a_value_is_no_table(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[training]\nmuon_lr = 1\ndial = [1, 100]\n")
    assert load_settings(path)[1].muon_lr == 1
    path.write_text("training = 5\n")
    with pytest.raises(ConfigError, match="training is no table"):
        load_settings(path)
