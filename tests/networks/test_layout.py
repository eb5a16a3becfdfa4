"""The ramp: a stage enters the dial position by position, and files hold just those."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import save_model
from leechcodec.codec.token_coding import encode_tokens
from leechcodec.codec.token_files import deserialize_tokens, indices_to_tokens, serialize_tokens, tokens_to_indices
from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError, TokensError
from leechcodec.lattice import leech
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.model import CodecModel
from leechcodec.networks.passes import pass_mask
from leechcodec.testing.tiny import LAYOUT, tiny_model

RAMPED = ModelConfig(quantizer="leech-ball", ramp=8.0, **LAYOUT)


def photograph(width: int = 150, height: int = 90) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)


@pytest.fixture(scope="module")
def ramped(tmp_path_factory):
    model = CodecModel(RAMPED)
    model.load_state_dict(tiny_model("leech-ball").state_dict())
    folder = tmp_path_factory.mktemp("ramped")
    save_model(folder, model.eval())
    return folder


def mask(config, stage, quality):
    """Of an image of 128 x 192 pixels."""
    return TokenLayout(config, quality, (128, 192)).mask(stage)


@given(st.integers(0, 4), st.integers(100, 10_000))
def test_the_share_rises_evenly_and_positions_stay(stage, hundredths):
    quality, least = hundredths / 100, RAMPED.min_quality[stage]
    if stage >= TokenLayout(RAMPED, quality, (64, 64)).stages:
        assert least > 1 and quality <= least
        return
    sent = mask(RAMPED, stage, quality)
    if least <= 1 or quality >= least + 8:
        assert sent is None
        return
    wanted = (quality - least) / 8
    side = 64 // (16, 8)[stage == 4]
    for square in sent.reshape(2, side, 3, side).transpose(0, 2, 1, 3).reshape(-1, side, side):
        assert 0 <= square.mean() - wanted <= 1 / side**2
    later = mask(RAMPED, stage, min(quality + 0.37, 100))
    assert later is None or (later | ~sent).all()


def test_the_first_half_is_the_checkerboards_first_pass():
    sent = TokenLayout(RAMPED, 64.0, (64, 128)).mask(4)
    assert np.array_equal(sent, (np.arange(8)[:, None] + np.arange(16)) % 2 == 0)


def test_without_a_ramp_every_stage_is_whole():
    config = replace(RAMPED, ramp=0.0)
    assert all(mask(config, stage, 60.0) is None for stage in range(5))
    assert config.stages_sent(60) == 5 and RAMPED.stages_sent(60) == 4 and RAMPED.stages_sent(60.01) == 5


@pytest.mark.parametrize("quality", [1, 30, 30.01, 33.3, 38, 60.5, 64, 67.99, 100])
@pytest.mark.parametrize("effort", [1, 2])
def test_files_hold_the_tokens_sent_and_no_more(ramped, quality, effort):
    image = photograph()
    tokens = api.tokenize(image, quality=quality, effort=effort, model=ramped)
    loaded = api.load_model(ramped)
    layout = tokens.layout(loaded.config)
    assert layout == TokenLayout(loaded.config, quality, (image.height, image.width))
    for stage, codes in enumerate(tokens.codes):
        sent, count = layout.mask(stage), layout.count(stage)
        assert len(layout.positions(stage)) == count and codes.shape[:2] == layout.grid(stage)
        assert count == (codes[..., 0].size if sent is None else int(sent.sum()))
        assert sent is None or not codes[~sent].any()
    data = api.write_tokens(tokens, model=ramped)
    read = api.read_tokens(data, model=ramped)
    assert all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True))
    bits = api.token_bits(tokens, model=ramped)
    for stage, cost in enumerate(bits):
        sent = layout.mask(stage)
        assert sent is None or not cost[~sent].any()
    assert abs(8 * len(data) - sum(cost.sum() for cost in bits)) < 8 * 120


def test_sizes_rise_without_a_jump(ramped):
    image = photograph()
    sizes = [len(api.compress(image, quality=quality, model=ramped)) for quality in np.arange(59, 70, 0.5)]
    steps = np.diff(sizes) / sizes[0]
    whole = sizes[-1] / sizes[0] - 1
    assert whole > 0.1 and steps.max() < whole / 8


def test_tokens_where_none_are_sent_are_refused(ramped):
    loaded = api.load_model(ramped)
    tokens = api.tokenize(photograph(), quality=62, model=ramped)
    sent = tokens.layout(loaded.config).mask(4)
    row, column = np.argwhere(~sent)[5]
    tokens.codes[4][row, column] = leech.index_to_vector(np.array([7]))[0]
    with pytest.raises(TokensError, match="stage 5 has tokens where quality 62 sends none"):
        encode_tokens(tokens, loaded)
    indices = tokens_to_indices(tokens, model=ramped)
    with pytest.raises(TokensError, match=f"stage 4 has a token in row {row}, column {column}, where quality 62 sends"):
        indices_to_tokens(indices, tokens.width, tokens.height, quality=62, model=ramped)
    with pytest.raises(TokensError, match="sends none"):
        deserialize_tokens(serialize_tokens(tokens, model=ramped), model=ramped)


def test_the_sizes_of_a_layout():
    layout = TokenLayout(RAMPED, 60.004, (65, 130))
    assert layout.hundredths == 6000 and layout.padded == (128, 192) and layout.stages == 4
    assert [layout.grid(stage) for stage in range(5)] == [(2, 3), (4, 6), (8, 12), (8, 12), (16, 24)]
    assert [layout.chunk(stage) for stage in range(5)] == [0, 0, 1, 1, 2]
    assert [layout.chunks(stages) for stages in range(6)] == [0, 1, 1, 2, 2, 3]


def test_few_tokens_are_together():
    small = TokenLayout(RAMPED, 60.0, (64, 64)).as_encoded()
    assert small.together and {small.chunk(stage) for stage in range(small.stages)} == {0}
    assert [small.chunks(stages) for stages in range(small.stages + 1)] == [0] + small.stages * [1]
    assert not TokenLayout(RAMPED, 60.0, (4096, 4096)).as_encoded().together


def test_the_positions_of_a_pass_are_those_sent():
    layout = TokenLayout(RAMPED, 62.0, (128, 192))
    halves = [layout.positions(4, pass_mask(16, 24, 2, parity)) for parity in (0, 1)]
    assert np.array_equal(np.sort(np.concatenate(halves)), layout.positions(4))
    assert np.array_equal(layout.positions(4), np.flatnonzero(layout.mask(4)))
    assert len(layout.positions(0, pass_mask(2, 3, 2, 1))) == 3


def test_configs_that_cannot_have_a_ramp():
    with pytest.raises(ConfigError, match="a code that says nothing"):
        CodecModel(replace(RAMPED, quantizer="leech"))
    for ramp in (-1, 99, float("nan"), "2"):
        with pytest.raises(ConfigError, match="ramp must be"):
            replace(RAMPED, ramp=ramp)


def test_the_ramp_is_part_of_the_token_models_id(ramped, tmp_path):
    save_model(tmp_path, tiny_model("leech-ball"))
    assert api.load_model(ramped).token_model != api.load_model(tmp_path).token_model
