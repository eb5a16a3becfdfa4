import json
from pathlib import Path

import pytest

from leechcodec.errors import ModelError
from leechcodec.training.state import config_of


@pytest.mark.parametrize("metadata", [{}, {"config": "{"}, {"config": "[]"}, {"config": json.dumps({"width": 3})}])
def test_a_config_that_is_none(metadata):
    with pytest.raises(ModelError, match="run: not a training checkpoint"):
        config_of(Path("run"), metadata)
