"""The released second decoder beside the released model."""

import numpy as np
import pytest
from PIL import Image

from leechcodec import compress, decompress, detokenize
from leechcodec.codec.api import read_tokens, write_tokens
from leechcodec.codec.model_store import load_model, model_for_file
from leechcodec.formats.container import read_header
from tests.places import SAMPLE

NAME = "leech-vbr-perceptual"


@pytest.fixture
def photograph():
    return Image.open(SAMPLE).convert("RGB").crop((100, 100, 228, 228))


def test_it_goes_with_the_released_tokens(released):
    base, second = load_model(released), load_model(NAME)
    assert second.token_model == base.token_model and second.synthesis != base.synthesis
    assert second.transforms is base.transforms and second.decoder is not base.transforms


def test_which_one_decodes(released):
    base, second = load_model(released), load_model(NAME)
    assert model_for_file(base.token_model).name == released
    assert model_for_file(base.token_model, None, second.synthesis).name == NAME
    assert model_for_file(base.token_model, None, base.synthesis).name == released
    assert model_for_file(base.token_model, None, bytes(8)).name == released
    assert model_for_file(base.token_model, NAME, base.synthesis).name == NAME


def test_a_file_decodes_with_either(released, photograph):
    pictures = {}
    for model in (released, NAME):
        data = compress(photograph, quality=30, effort=2, model=model)
        for decoder in (None, released, NAME):
            pictures[model, decoder] = np.asarray(decompress(data, model=decoder))
    for model in (released, NAME):
        assert np.array_equal(pictures[model, None], pictures[model, model])
        for decoder in (released, NAME):
            assert np.array_equal(pictures[model, decoder], pictures[decoder, decoder])
    assert not np.array_equal(pictures[released, released], pictures[NAME, NAME])


def test_tokens_are_written_with_the_decoder_that_they_name(photograph):
    data = compress(photograph, quality=30, model=NAME)
    tokens = read_tokens(data)
    assert read_header(write_tokens(tokens))[0].synthesis == load_model(NAME).synthesis
    assert np.array_equal(decompress(write_tokens(tokens)), detokenize(tokens))
