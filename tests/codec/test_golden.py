"""Files written once must decode for ever: tokens to the bit, pixels within one level."""

import json

import numpy as np
import pytest
from PIL import Image

from leechcodec.codec import api
from tests.places import GOLDEN

MANIFESTS = sorted(GOLDEN.glob("*/manifest.json"))
CASES = [(path, name) for path in MANIFESTS for name in json.loads(path.read_text())["tokens_sha256"]]


@pytest.mark.parametrize("manifest, name", CASES, ids=[f"{path.parent.name}-{name}" for path, name in CASES])
def test_golden_file(manifest, name):
    data = (manifest.parent / f"{name}.lq").read_bytes()
    assert api.read_tokens(data).digest() == json.loads(manifest.read_text())["tokens_sha256"][name]
    decoded = api.decompress(data)
    reference = Image.open(manifest.with_name(f"{name}.png"))
    assert decoded.mode == reference.mode
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(reference, dtype=int)).max() <= 1


def test_there_are_golden_files():
    assert CASES
