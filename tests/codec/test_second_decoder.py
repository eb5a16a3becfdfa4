"""Each second decoder beside the model that it goes with."""

import numpy as np
import pytest
from PIL import Image

from leechcodec import compress, decompress, detokenize
from leechcodec.codec.api import read_tokens, write_tokens
from leechcodec.codec.model_store import load_model, model_for_file
from leechcodec.formats.container import read_header
from tests.places import SAMPLE


@pytest.fixture(params=["leech-open", "leech-vbr"], scope="module")
def pair(request, released) -> tuple[str, str]:
    """Names of a model and of its second decoder."""
    return request.param, f"{request.param}-perceptual"


@pytest.fixture
def photograph():
    return Image.open(SAMPLE).convert("RGB").crop((100, 100, 228, 228))


def test_it_goes_with_the_released_tokens(pair):
    base, second = load_model(pair[0]), load_model(pair[1])
    assert second.token_model == base.token_model and second.synthesis != base.synthesis
    assert second.transforms is base.transforms and second.decoder is not base.transforms


def test_which_one_decodes(pair):
    base, second = load_model(pair[0]), load_model(pair[1])
    assert model_for_file(base.token_model).name == pair[0]
    assert model_for_file(base.token_model, None, second.synthesis).name == pair[1]
    assert model_for_file(base.token_model, None, base.synthesis).name == pair[0]
    assert model_for_file(base.token_model, None, bytes(8)).name == pair[0]
    assert model_for_file(base.token_model, pair[1], base.synthesis).name == pair[1]


def test_a_file_decodes_with_either(pair, photograph):
    pictures = {}
    for model in pair:
        data = compress(photograph, quality=30, effort=2, model=model)
        for decoder in (None, *pair):
            pictures[model, decoder] = np.asarray(decompress(data, model=decoder))
    for model in pair:
        assert np.array_equal(pictures[model, None], pictures[model, model])
        for decoder in pair:
            assert np.array_equal(pictures[model, decoder], pictures[decoder, decoder])
    assert not np.array_equal(pictures[pair[0], pair[0]], pictures[pair[1], pair[1]])


def test_tokens_are_written_with_the_decoder_that_they_name(pair, photograph):
    data = compress(photograph, quality=30, model=pair[1])
    tokens = read_tokens(data)
    assert read_header(write_tokens(tokens))[0].synthesis == load_model(pair[1]).synthesis
    assert np.array_equal(decompress(write_tokens(tokens)), detokenize(tokens))
