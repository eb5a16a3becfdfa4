"""The post-filter's equations: what squared error and structure add up to, of all rows or of some."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.postfilter import equations as module
from leechcodec.postfilter.coding import weights_of
from leechcodec.postfilter.equations import equations, spacing
from leechcodec.postfilter.fitting import fit
from leechcodec.postfilter.terms import TERMS, planes_of
from tests.postfilter.pictures import of_filter, picture, planes_after, squared


def test_squared_error_is_a_sum_over_all_pixels(monkeypatch):
    monkeypatch.setattr(module, "STRUCTURE", 0.0)
    decoded, original = picture(), picture(seed=1)
    found = equations(original, decoded)
    assert found.pixels == 64 * 96
    weights = np.zeros((3, TERMS))
    weights[:, 1:4] = 0.03
    before = squared(original, decoded)
    after = float(np.square(planes_of(original) - planes_after(decoded, weights)).sum())
    assert found.saved(weights) == pytest.approx(before - after, rel=1e-3)


def test_a_large_picture_is_sampled(monkeypatch):
    decoded, original = picture(1000, 32), picture(1000, 32, 1)
    whole = equations(original, decoded)
    monkeypatch.setattr(module, "SAMPLED", 5000)
    monkeypatch.setattr(module, "_AT_ONCE", 700)
    assert spacing(1000, 32) == 7
    found = equations(original, decoded)
    assert found.pixels == 143 * 32 and whole.pixels == 1000 * 32
    assert np.allclose(found.products[1] / found.pixels, whole.products[1] / whole.pixels, atol=0.02)
    numbers, e = fit(found, 1e-3)
    assert numbers.any() and whole.saved(weights_of(numbers, e)) > 0


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_rows_are_an_odd_number_apart(height, width):
    every = spacing(height, width)
    assert every % 2 == 1 and height // every * width <= 2 * module.SAMPLED


def structure_lost(original, picture):
    """Mean of 1 - s of luma over the squares of 9 x 9 that lie within the pictures, by its definition."""
    x, y = (
        np.lib.stride_tricks.sliding_window_view(planes_of(levels)[0].astype(float), (9, 9)).reshape(-1, 81)
        for levels in (original, picture)
    )
    covariance = (x * y).mean(1) - x.mean(1) * y.mean(1)
    return float((1 - (2 * covariance + 0.0036) / (x.var(1) + y.var(1) + 0.0036)).mean())


def test_structure_keeps_textures_from_fading(monkeypatch):
    original = picture()
    noise = np.random.default_rng(5).normal(0, 9, original.shape[:2])[..., None]
    decoded = (original + noise).round().clip(0, 255).astype(np.uint8)
    ends = []
    for counts in (0.0, 3.0):
        monkeypatch.setattr(module, "STRUCTURE", counts)
        numbers, e = fit(equations(original, decoded), 1e-3)
        ends.append(of_filter(decoded, weights_of(numbers, e)))
    assert structure_lost(original, ends[1]) < structure_lost(original, ends[0]) < structure_lost(original, decoded)
    assert squared(original, ends[0]) < squared(original, ends[1])
    assert ends[0].std() < ends[1].std()


def test_structure_is_compared_in_squares():
    original, decoded = picture(seed=1), picture()
    rows = np.arange(len(original))
    near, wanted = (module._near(levels, rows) for levels in (decoded, original))
    similarity = module._structure(near, wanted)[0]
    assert 1 - similarity[4:-4, 4:-4].mean() == pytest.approx(structure_lost(original, decoded), abs=1e-5)
    similarity, _, towards, patterns = module._structure(near, near)
    assert np.allclose(similarity, 1, atol=1e-4) and np.allclose(towards, 0, atol=1e-4) and not patterns.any()
