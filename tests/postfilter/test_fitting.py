"""The post-filter's fit: it finds a filter that is there, pays for its bits, and leaves alone what needs none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.postfilter import equations as module
from leechcodec.postfilter.coding import bits_of, weights_of
from leechcodec.postfilter.equations import equations
from leechcodec.postfilter.fitting import fit
from leechcodec.postfilter.terms import PAIRS, TERMS
from tests.postfilter.pictures import of_filter, picture, squared


@pytest.mark.parametrize(("structure", "left"), [(0.0, 0.01), (0.35, 0.04)])
def test_a_filter_that_is_there_is_found(monkeypatch, structure, left):
    monkeypatch.setattr(module, "STRUCTURE", structure)
    decoded, weights = picture(), np.zeros((3, TERMS))
    weights[0, [0, 1, 4]], weights[1, 2], weights[0, 11], weights[0, 20] = (0.02, 0.05, -0.03), -0.2, 0.3, 0.1
    weights[0, 34], weights[2, 49] = -0.2, 0.3
    original = of_filter(decoded, weights)
    found = equations(original, decoded)
    numbers, e = fit(found, 1e-7 * squared(original, decoded))
    corrected = of_filter(decoded, weights_of(numbers, e))
    assert squared(original, corrected) < left * squared(original, decoded)


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
    assert found.saved(weights_of(numbers, e)) >= 0.5 * bit_worth * bits  # orders fit whole groups, not each number
