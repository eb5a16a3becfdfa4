"""Changed configs: every config of the repository can be written anew."""

from dataclasses import replace

import pytest

from leechcodec.errors import ConfigError
from leechcodec.lab.comparison.twins import config_of
from leechcodec.training.settings import load_settings
from tests.places import ROOT


@pytest.mark.parametrize("name", ["leech-2", "leech-2-late", "leech-2-processor", "leech-vbr", "narrowed", "twin"])
def test_nothing_but_the_changes_changes(name, tmp_path):
    base = ROOT / "configs" / f"{name}.toml"
    model, training = load_settings(base)
    changed = config_of(base, {"steps": 7, "precision": "float32"}, 5, tmp_path / "config.toml")
    assert load_settings(changed) == (model, replace(training, steps=7, precision="float32", seed=5))


def test_a_config_of_a_part_of_a_model_is_refused(tmp_path):
    for text, missing in (("[prior]\nsteps = 3\n", "model"), ("[model]\n", "training")):
        (tmp_path / "base.toml").write_text(text)
        with pytest.raises(ConfigError, match=rf"no \[{missing}\]"):
            config_of(tmp_path / "base.toml", {"steps": 1}, 1, tmp_path / "run" / "config.toml")
