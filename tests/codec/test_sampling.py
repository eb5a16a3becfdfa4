"""Drawn tokens: as likely as the pmfs say, the same for a seed, valid files, and what is kept is kept."""

import dataclasses
import math

import numpy as np
import pytest

import leechcodec
from leechcodec.codec import api
from leechcodec.codec.model_store import load_model, save_model
from leechcodec.codec.sampling import TokenSampler, _least_integers, likeliest, sample, tempered, touched
from leechcodec.entropy import leech_masses, leech_tokens
from leechcodec.entropy.pmf import TOTAL, integer_pmf
from leechcodec.entropy.sign_tokens import code_sign_tokens
from leechcodec.errors import ConfigError, LqError, TooLargeError, UnknownModelError
from leechcodec.lattice import leech
from leechcodec.testing.tiny import tiny_model
from tests.families import SMALL
from tests.pictures import gradient

TINY = 1e-9
"""A top_p that leaves the likeliest symbol alone."""


def random_pmf(seed: int, rows: int, alphabet: int) -> np.ndarray:
    return integer_pmf(np.random.default_rng(seed).exponential(size=(rows, alphabet)) + 1e-3)


@pytest.fixture(scope="module")
def photo(tiny_folder) -> leechcodec.Tokens:
    return api.tokenize(gradient(200, 130), quality=50, model=tiny_folder)


# --- symbols ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"top_p": 0.8}, {"temperature": 0.5}, {"temperature": 2.0, "top_p": 0.9}])
@pytest.mark.parametrize("alphabet", [2, 7])
def test_symbols_are_as_frequent_as_the_pmf_says(alphabet, options):
    (pmf,), count = random_pmf(alphabet, 1, alphabet), 50_000
    expected = pmf[None]
    if "temperature" in options:
        expected = tempered(expected, options["temperature"])
    if "top_p" in options:
        expected = likeliest(expected, math.ceil(options["top_p"] * TOTAL))
    expected = expected[0] / expected.sum() * count
    drawn = TokenSampler(3, **options).code(np.tile(pmf, (count, 1)), None)
    found = np.bincount(drawn, minlength=alphabet)
    assert found.sum() == count and not found[expected == 0].any()
    possible = expected > 0
    chi_square = ((found - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square <= [0, 10.8, 13.8, 16.3, 18.5, 20.5, 22.5][possible.sum() - 1]  # once in a thousand


def test_a_seed_draws_these_symbols_everywhere():
    pmf = np.tile(np.array([[5, 7, 1, 2, 1]]) * (TOTAL // 16), (12, 1))
    assert TokenSampler(7).code(pmf, None).tolist() == [1, 3, 2, 0, 0, 3, 0, 3, 2, 1, 0, 0]
    assert TokenSampler(7, temperature=2.0, top_p=0.9).code(pmf, None).tolist() == [2, 4, 3, 0, 1, 3, 0, 3, 3, 1, 1, 1]


def test_a_tiny_top_p_gives_the_mode_and_a_tiny_temperature_all_but():
    pmf = random_pmf(1, 300, 23)
    assert np.array_equal(TokenSampler(0, top_p=TINY).code(pmf, None), pmf.argmax(axis=1))
    drawn = TokenSampler(0, temperature=1e-300).code(pmf, None)
    assert (np.take_along_axis(pmf, drawn[:, None], axis=1)[:, 0] * math.exp(1 / 64) >= pmf.max(axis=1)).all()


def test_the_tail_is_cut_where_the_share_is_reached():
    q = TOTAL // 8
    pmf = np.array([[2 * q, 4 * q, q, q]])
    for share, kept in ((1, [0, 4, 0, 0]), (4 * q, [0, 4, 0, 0]), (4 * q + 1, [2, 4, 0, 0]), (6 * q + 1, [2, 4, 1, 0])):
        assert likeliest(pmf, share).tolist() == [[q * k for k in kept]]
    assert np.array_equal(likeliest(pmf, TOTAL), pmf)


def test_temperature_raises_probabilities_to_a_power():
    pmf = random_pmf(2, 50, 20)
    for temperature in (0.5, 0.9, 1.5, math.inf):
        exact = pmf ** (1 / temperature)
        exact /= exact.sum(axis=1, keepdims=True)
        found = tempered(pmf, temperature)
        assert (found >= 1).all() and (found.sum(axis=1) == TOTAL).all()
        assert np.abs(found / TOTAL - exact).max() < 0.01


def test_logarithms_without_a_libm():
    q = np.concatenate([np.arange(1, 3000), np.random.default_rng(0).integers(1, TOTAL, 3000), [TOTAL - 1, TOTAL]])
    assert np.array_equal(np.searchsorted(_least_integers(), q, side="right"), np.rint(64 * np.log(q)))


# --- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("origin", [False, True])
def test_drawn_tokens_cost_the_entropy(origin):
    """Entropy by brute force over the whole codebook."""
    params = np.random.default_rng(4).normal(0, 60, (1, 24, 3)).astype(np.int64)
    scores = np.log(leech_masses.coordinate_masses(params)[0])
    codebook = leech.codebook()
    f = sum(scores[i, leech_masses.ZERO + codebook[:, i].astype(np.int64)] for i in range(24))
    f = np.append(f, 0) if origin else f
    log_p = f - f.max() - np.log(np.exp(f - f.max()).sum())
    exact = -(np.exp(log_p) * log_p).sum() / math.log(2)
    many = np.repeat(params, 8000, axis=0)
    drawn = leech_tokens.code_leech_tokens(TokenSampler(1), many, origin=origin)
    bits = leech_tokens.leech_token_bits(many, drawn, origin=origin)
    assert abs(bits.mean() - exact) < 4 * bits.std() / len(bits) ** 0.5
    assert 5 < exact < 15


def test_drawn_signs_are_as_frequent_as_their_odds():
    params = np.tile(np.array([[0, 64, -128, 300]]), (20_000, 1))
    drawn = code_sign_tokens(TokenSampler(2), params)
    assert np.allclose((drawn > 0).mean(axis=0), 1 / (1 + np.exp(-params[0] / 64)), atol=0.02)


# --- images ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", SMALL)
def test_drawn_tokens_are_valid_files(tmp_path, quantizer):
    save_model(tmp_path / quantizer, tiny_model(quantizer))
    tokens = sample(150, 70, quality=99.75, seed=5, model=tmp_path / quantizer)
    assert (tokens.width, tokens.height, tokens.quality, len(tokens.codes)) == (150, 70, 99.75, 5)
    read = api.read_tokens(api.write_tokens(tokens, model=tmp_path / quantizer), model=tmp_path / quantizer)
    assert read == tokens
    assert api.detokenize(tokens, model=tmp_path / quantizer).size == (150, 70)


def test_a_start_whose_codes_cannot_be_numbered(tmp_path):
    save_model(tmp_path / "signs", tiny_model("bsq-64"))
    start = sample(70, 64, quality=50, model=tmp_path / "signs")
    drawn = sample(start=start, keep_stages=2, seed=1, model=tmp_path / "signs")
    assert all(np.array_equal(drawn.codes[stage], start.codes[stage]) for stage in range(2)) and drawn != start


def test_a_seed_gives_the_same_tokens(tiny_folder):
    options = {"quality": 70, "temperature": 0.8, "top_p": 0.95, "model": tiny_folder}
    assert sample(100, 90, seed=1, **options) == sample(100, 90, seed=1, **options)
    assert sample(100, 90, seed=1, **options) != sample(100, 90, seed=2, **options)
    assert sample(seed=1, top_p=TINY, model=tiny_folder) == sample(seed=2, top_p=TINY, model=tiny_folder)


@pytest.mark.slow
def test_sharper_draws_cost_fewer_bits(tiny_folder):
    bits = [
        sum(api.ideal_bits(sample(quality=80, model=tiny_folder, **options), model=tiny_folder))
        for options in ({"temperature": 0.3}, {"temperature": 0.7}, {}, {"temperature": 2.0})
    ]
    assert bits == sorted(bits) and bits[0] < 0.9 * bits[2]


@pytest.mark.parametrize("kept", [0, 1, 3, 5])
def test_kept_stages_are_kept_and_no_others(tiny_folder, kept):
    start = api.tokenize(gradient(200, 130), quality=100, model=tiny_folder)
    drawn = sample(start=start, keep_stages=kept, model=tiny_folder)
    assert (drawn.width, drawn.height, drawn.quality) == (200, 130, 100)
    same = [np.array_equal(a, b) for a, b in zip(start.codes, drawn.codes, strict=True)]
    assert same == [True] * kept + [False] * (5 - kept)


def test_what_is_drawn_from_a_file_keeps_the_decoder_it_names(tiny_folder, photo):
    named = dataclasses.replace(photo, synthesis=b"another.")
    assert sample(start=named, keep_stages=2, model=tiny_folder).synthesis == b"another."
    assert sample(start=photo, keep_stages=2, model=tiny_folder).synthesis == photo.synthesis


def test_stages_that_the_start_lacks_are_drawn(tiny_folder, photo):
    coarse = dataclasses.replace(photo, codes=photo.codes[:2])
    drawn = sample(start=coarse, keep_stages=2, seed=4, model=tiny_folder)
    assert drawn == sample(start=photo, keep_stages=2, seed=4, model=tiny_folder)


@pytest.mark.parametrize("keep_stages", [None, 2])
def test_tokens_outside_the_mask_are_kept(tiny_folder, photo, keep_stages):
    mask = np.zeros((130, 200), dtype=bool)
    mask[30:90, 70:140] = True
    before = [codes.copy() for codes in photo.codes]
    drawn = sample(start=photo, mask=mask, keep_stages=keep_stages, model=tiny_folder)
    strides = [64, 32, 16, 16]
    for stage, (old, new, stride) in enumerate(zip(photo.codes, drawn.codes, strides, strict=True)):
        differs = (old != new).any(axis=-1)
        hole = touched(mask, stride)
        assert not differs[~hole].any()
        assert differs.any() == (stage >= (keep_stages or 0))
    assert all(np.array_equal(a, b) for a, b in zip(before, photo.codes))
    assert sample(start=photo, mask=np.zeros_like(mask), model=tiny_folder) == photo
    everywhere = sample(start=photo, mask=np.ones_like(mask), seed=3, model=tiny_folder)
    assert everywhere == sample(200, 130, seed=3, model=tiny_folder)


def test_a_mask_touches_squares_and_goes_on_beyond_the_edge():
    mask = np.zeros((70, 65), dtype=bool)
    mask[16, 15] = mask[69, 64] = True
    found = touched(mask, 16)
    assert found.shape == (8, 8)
    assert sorted(zip(*map(list, np.nonzero(found))))[0] == (1, 0)
    assert found[4:, 4:].all() and found.sum() == 1 + 16
    assert touched(mask, 64).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"quality": 0}, "quality"),
        ({"width": 0}, "pixels"),
        ({"keep_stages": 1}, "start"),
        ({"mask": np.ones((256, 256), dtype=bool)}, "start"),
    ],
)
def test_settings_out_of_range(tiny_folder, options, message):
    with pytest.raises(ConfigError, match=message):
        sample(model=tiny_folder, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "keep_stages, a mask, or both"),
        ({"keep_stages": -1}, "cannot keep -1"),
        ({"keep_stages": 5}, "cannot keep 5 stages of tokens that have 4"),
        ({"mask": np.ones((200, 130), dtype=bool)}, "the mask is of 130 x 200 pixels, the image of 200 x 130"),
        ({"keep_stages": 1, "height": 130}, "their own size"),
        ({"keep_stages": 1, "quality": 50}, "their own size and quality"),
    ],
)
def test_a_start_that_does_not_fit(tiny_folder, photo, options, message):
    with pytest.raises(ConfigError, match=message):
        sample(start=photo, model=tiny_folder, **options)


def test_a_start_of_another_model_and_too_many_pixels(tiny_folder, tmp_path, photo):
    save_model(tmp_path / "other", tiny_model(seed=1))
    with pytest.raises(UnknownModelError, match="token model"):
        sample(start=photo, keep_stages=1, model=tmp_path / "other")
    with pytest.raises(TooLargeError):
        sample(20_000, 20_000, model=tiny_folder)
    cut = dataclasses.replace(photo, codes=(photo.codes[0][:1], *photo.codes[1:]))
    with pytest.raises(LqError, match="stages of tokens that are not"):
        sample(start=cut, keep_stages=1, model=tiny_folder)
    none = dataclasses.replace(photo, codes=tuple(np.full_like(codes, 99) for codes in photo.codes))
    with pytest.raises(LqError, match="within ±4"):
        sample(start=none, keep_stages=2, model=tiny_folder)


@pytest.mark.parametrize(
    "options", [{"seed": 1.5}, {"temperature": "1"}, {"top_p": None}, {"keep_stages": "2"}, {"mask": [[True]]}]
)
def test_settings_of_other_types(tiny_folder, options):
    with pytest.raises(TypeError, match=f"{next(iter(options))} must be"):
        sample(model=tiny_folder, **options)


def test_progress_counts_stages(tiny_folder):
    told = []
    sample(64, 64, quality=50, model=tiny_folder, progress=lambda *step: told.append(step))
    count = load_model(tiny_folder).config.stages_sent(50)
    assert told[-1] == (count, count + 1) and told == sorted(told)
