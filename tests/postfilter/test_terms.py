"""The post-filter's terms: planes and back, what each sees, and the kernel beside the plain form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.postfilter import kernels, terms
from leechcodec.postfilter.terms import (
    BANDS,
    CLIPPED,
    COLOURS,
    MARGIN,
    PAIRS,
    STEPS,
    TERMS,
    TONES,
    around,
    groups,
    levels_of,
    planes_of,
)

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def levels(size, seed):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def with_margin(picture, top, bottom):
    return planes_of(around(picture, np.arange(top - MARGIN, bottom + MARGIN)))


def random_weights(seed):
    weights, found = np.random.default_rng(seed).normal(0, 0.2, (3, TERMS)), np.zeros((3, TERMS))
    for plane in range(3):
        own = np.r_[groups(plane)]
        found[plane, own] = weights[plane, own] * (np.arange(len(own)) % 5 > 0)  # some pairs are left out
    return found


@given(SIZES, st.integers(0, 99))
def test_planes_are_inverted(size, seed):
    picture = levels(size, seed)
    assert np.array_equal(levels_of(planes_of(picture)), picture)


def test_white_black_and_the_primaries_as_planes():
    picture = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    luma, *chroma = planes_of(picture)[:, 0]
    assert np.allclose(luma, [1, -1, -1 / 3, -1 / 3, -1 / 3], atol=1e-6)
    assert np.allclose([plane[:2] for plane in chroma], 0, atol=1e-6)
    assert np.abs(chroma).max() < 0.95


def test_a_flat_picture_has_no_differences():
    planes = planes_of(np.full((1, 9, 3), (10, 200, 90), np.uint8))
    found = np.array([term[0, 0] for term in terms.terms([planes] * 9)])
    a, b, c = planes[:, 0, 0]
    assert np.allclose(found[COLOURS], [1, a, b, c])
    assert np.allclose(found[TONES], [a * a, a * b, a * c, b * b, b * c, c * c, a**3])
    assert np.allclose(found[BANDS.start :], 0, atol=1e-6)


def test_a_point_of_light_is_seen_by_bands_and_pairs():
    planes = np.zeros((3, 17, 17), np.float32)
    planes[0, 8, 8] = 1
    found = np.stack(list(terms.terms([planes[:, start : start + 9] for start in range(9)])))
    middle = found[:, 8 - MARGIN, 8 - MARGIN]
    assert np.allclose(middle[BANDS][:3], [1 - 1 / 9, 1 / 9 - 1 / 25, 1 / 25 - 1 / 81])
    assert np.allclose(middle[PAIRS], -2)
    for (down, right), pair in zip(STEPS, found[PAIRS], strict=True):
        assert pair.sum() == 0 and pair[4 + down, 4 + right] == 1 and pair[4 - down, 4 - right] == 1


def test_clipped_pairs_are_pairs_where_differences_are_small():
    planes = np.random.default_rng(3).uniform(0, 1 / 65, (3, 20, 24)).astype(np.float32)
    found = np.stack(list(terms.terms([planes[:, start : start + 12] for start in range(9)])))
    assert np.allclose(found[PAIRS], found[CLIPPED[0]], atol=1e-6)
    large = np.stack(list(terms.terms([9 * planes[:, start : start + 12] for start in range(9)])))
    assert np.abs(large[CLIPPED[0]]).max() == 2 / 16 and np.abs(large[CLIPPED[2]]).max() == 2 / 64
    right, left = 9 * planes[2, 4:16, 5:21], 9 * planes[2, 4:16, 3:19]
    middle = 9 * planes[2, 4:16, 4:20]
    wanted = (right - middle).clip(-1 / 64, 1 / 64) + (left - middle).clip(-1 / 64, 1 / 64)
    assert np.allclose(large[CLIPPED[2]][0], wanted, atol=1e-6)


def test_every_pair_is_there_once():
    seen = {step for down, right in STEPS for step in ((down, right), (-down, -right))}
    assert len(seen) == 24 == 2 * len(STEPS)
    assert seen == {(r, c) for r in range(-3, 4) for c in range(-3, 4) if 0 < abs(r) + abs(c) < 4}


@settings(max_examples=25)
@given(SIZES, st.integers(0, 99))
def test_the_kernel_is_the_plain_form(size, seed):
    planes = with_margin(levels(size, seed), 0, size[0])
    found, wanted = (module.filtered(planes, random_weights(seed)) for module in (kernels, terms))
    assert found.shape == (3, *size)
    assert np.allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("rows", [(0, 5), (3, 17), (10, 20)])
def test_strips_are_parts_of_the_whole(rows):
    picture = levels((20, 13), 1)
    whole = kernels.filtered(with_margin(picture, 0, 20), random_weights(2))
    part = kernels.filtered(with_margin(picture, *rows), random_weights(2))
    assert np.allclose(part, whole[:, slice(*rows)], atol=1e-6)
