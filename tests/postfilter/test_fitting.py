"""The post-filter's fit: it finds a filter that is there, pays for its bits, and leaves alone what needs none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.postfilter import fitting
from leechcodec.postfilter.coding import bits_of, weights_of
from leechcodec.postfilter.fitting import equations, fit, saved, spacing
from leechcodec.postfilter.terms import MARGIN, PAIRS, TERMS, around, filtered, levels_of, planes_of
from tests.pictures import gradient


def picture(height=64, width=96, seed=0):
    smooth = np.asarray(gradient(width, height, seed)).astype(float)
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 1))
    return (smooth * 0.6 + 50 + noise).round().clip(0, 255).astype(np.uint8)


def of_filter(decoded, weights):
    return levels_of(planes_after(decoded, weights))


def planes_after(decoded, weights):
    return filtered(planes_of(around(decoded, np.arange(-MARGIN, len(decoded) + MARGIN))), weights)


def squared(a, b):
    return float(np.square(planes_of(a) - planes_of(b)).sum())


def test_a_filter_that_is_there_is_found():
    decoded, weights = picture(), np.zeros((3, TERMS))
    weights[0, [0, 1, 4]], weights[1, 2], weights[0, 11], weights[0, 20] = (0.02, 0.05, -0.03), -0.2, 0.3, 0.1
    weights[0, 34], weights[2, 49] = -0.2, 0.3
    original = of_filter(decoded, weights)
    found = equations(original, decoded)
    numbers, e = fit(found, 1e-7 * squared(original, decoded))
    corrected = of_filter(decoded, weights_of(numbers, e))
    assert squared(original, corrected) < 0.01 * squared(original, decoded)


def test_the_equations_are_sums_over_all_pixels():
    decoded, original = picture(), picture(seed=1)
    found = equations(original, decoded)
    assert found.pixels == 64 * 96
    weights = np.zeros((3, TERMS))
    weights[:, 1:4] = 0.03
    before = squared(original, decoded)
    after = float(np.square(planes_of(original) - planes_after(decoded, weights)).sum())
    assert saved(found, weights) == pytest.approx(before - after, rel=1e-3)


def test_a_large_picture_is_sampled(monkeypatch):
    decoded, original = picture(1000, 32), picture(1000, 32, 1)
    whole = equations(original, decoded)
    monkeypatch.setattr(fitting, "SAMPLED", 5000)
    monkeypatch.setattr(fitting, "_AT_ONCE", 700)
    assert spacing(1000, 32) == 7
    found = equations(original, decoded)
    assert found.pixels == 143 * 32 and whole.pixels == 1000 * 32
    assert np.allclose(found.products[:4, :4] / found.pixels, whole.products[:4, :4] / whole.pixels, atol=0.02)
    numbers, e = fit(found, 1e-3)
    assert numbers.any() and saved(whole, weights_of(numbers, e)) > 0


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_rows_are_an_odd_number_apart(height, width):
    every = spacing(height, width)
    assert every % 2 == 1 and height // every * width <= 2 * fitting.SAMPLED


def test_what_is_right_needs_no_filter():
    decoded = picture()
    numbers, _ = fit(equations(decoded, decoded), 1e-6)
    assert not numbers.any()


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (0, 255, 0)])
def test_flat_and_grey_pictures_have_an_answer(colour):
    original = np.full((40, 40, 3), colour, np.uint8)
    decoded = (original.astype(int) + np.array((3, -2, 4))).clip(0, 255).astype(np.uint8)
    numbers, e = fit(equations(original, decoded), 1e-4)
    assert np.abs(of_filter(decoded, weights_of(numbers, e)).astype(int) - original).max() <= 1


def test_of_one_plane_alone():
    numbers, _ = fit(equations(picture(seed=1), picture()), 1e-4, planes=1)
    assert numbers[0].any() and not numbers[1:].any()


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([1e-4, 1e-3, 1e-2, 1e-1]))
def test_what_is_kept_is_worth_its_bits(seed, bit_worth):
    found = equations(picture(seed=seed), picture(seed=seed + 1))
    numbers, e = fit(found, bit_worth)
    assert not numbers[1:, PAIRS].any()
    bits = int(bits_of(numbers[numbers != 0], 0).sum())
    assert saved(found, weights_of(numbers, e)) >= 0.5 * bit_worth * bits  # orders fit whole groups, not each number
