from pathlib import Path

import pytest

from leechcodec.training.prior_only import load_prior_config
from leechcodec.training.settings import load_settings

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
OF_NETWORKS = [path for path in CONFIGS if "perceptual" not in path.name]


@pytest.mark.parametrize("path", OF_NETWORKS, ids=lambda path: path.stem)
def test_configs_of_the_repository_are_read(path):
    assert load_prior_config(path) or load_settings(path)


def test_both_parts_of_the_second_generation_are_about_one_model():
    first, late = (load_settings(next(p for p in CONFIGS if p.stem == name))[0] for name in ("leech-2", "leech-2-late"))
    assert first == late
