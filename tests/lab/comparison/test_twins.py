"""Changed configs: every config of the repository can be written anew."""

from dataclasses import replace

import pytest

from leechcodec.lab.comparison.twins import config_of
from leechcodec.training.settings import load_settings
from tests.places import ROOT


@pytest.mark.parametrize("name", ["leech-2", "leech-2-late", "leech-2-processor", "leech-vbr", "narrowed", "twin"])
def test_nothing_but_the_changes_changes(name, tmp_path):
    base = ROOT / "configs" / f"{name}.toml"
    model, training = load_settings(base)
    changed = config_of(base, {"steps": 7, "precision": "float32"}, 5, tmp_path / "config.toml")
    assert load_settings(changed) == (model, replace(training, steps=7, precision="float32", seed=5))
