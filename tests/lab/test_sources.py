import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lab.sources import SOURCES, Gaussian, Laplacian


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_thresholds_against_samples(source):
    y = source.draw(40_000, 24, 0)
    assert np.square(y).mean() == pytest.approx(1)
    edges = np.array([0.0, 0.5, 1.7, 3.0, np.inf])
    probability, moment = source.above(edges)
    for t, share, first in zip(edges, probability, moment):
        assert share == pytest.approx((y > t).mean(), abs=2e-3)
        assert first == pytest.approx(np.where(y > t, y, 0).mean(), abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@given(st.floats(0.02, 5), st.floats(0.01, 0.5))
def test_the_bound_falls_and_is_convex(source, bits, step):
    first, second, third = (source.bound(bits + k * step) for k in range(3))
    assert 0 < third < second < first < 1
    assert second <= (first + third) / 2 + 2e-4  # the grid's


def test_the_bound_of_the_laplacian_lies_between_lower_bound_and_gaussian():
    for bits in (0.05, 0.1, 0.25, 0.5, 1.0, 1.2, 1.3, 4.0):
        found = Laplacian().bound(bits)
        assert Laplacian.lower_bound(bits) - 1e-9 <= found < Gaussian().bound(bits)
    assert 10 * math.log10(Laplacian().bound(0.5)) == pytest.approx(-3.56, abs=0.01)
    at_the_seam = 10 * math.log10(Laplacian().bound(1.2499) / Laplacian().bound(1.25))
    assert abs(at_the_seam) < 0.015
