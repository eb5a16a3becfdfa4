"""The search over all of the lattice against the plain reference; where points tie, either may be returned."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lattice import leech, point_reference, points
from leechcodec.lattice.closest import best_point, closest_point, rate_aware_point
from tests.lattice.test_points import random_points

SECOND_MOMENT = 0.065771
"""Of the Voronoi cell, normalised (Conway and Sloane, table 2.3)."""


def squared_distance(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.square(y - x).sum(axis=1)


def tables(spread: float, count: int = 30, width: int = 32, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Random tables, one a coordinate: (count · 24, width), index (count, 24)."""
    scores = np.random.default_rng(seed).standard_normal((count * 24, width)) * spread
    return scores, np.arange(count * 24).reshape(count, 24)


@pytest.mark.parametrize("scale", [0.5, 3.0, 8.0])
def test_closest_equals_the_reference(scale):
    y = np.random.default_rng(1).standard_normal((40, 24)) * scale
    found = closest_point(y)
    expected, values = point_reference.best_point(point_reference.distance_scores(y, 96))
    assert points.is_point(found).all() and found.dtype == np.int32
    assert squared_distance(y, found) == pytest.approx(-values, rel=1e-6)
    assert np.array_equal(found, expected)


def test_ties_are_as_near_as_the_reference():
    """Deep holes' neighbours, midpoints and half-integers, where many points are equally near."""
    rng = np.random.default_rng(2)
    pairs = random_points(40, 5, 2).reshape(2, 20, 24)
    y = np.concatenate(
        [pairs.sum(0) / 2, rng.integers(-5, 6, (20, 24)) / 2.0, np.full((1, 24), 0.5), np.zeros((1, 24))]
    )
    _, values = point_reference.best_point(point_reference.distance_scores(y, 64))
    found = closest_point(y)
    assert points.is_point(found).all()
    assert squared_distance(y, found) == pytest.approx(-values, rel=1e-6, abs=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 2**22))
def test_a_point_is_its_own_nearest_wherever_it_lies(seed, reach, far):
    x = random_points(20, seed, reach) + 8 * far
    assert np.array_equal(closest_point(x.astype(np.float64)), x)


@given(st.integers(0, 10**6), st.integers(0, 2**20))
def test_the_lattice_moves_with_its_points(seed, far):
    y = np.random.default_rng(seed).integers(-40, 40, (20, 24)) / 8.0  # exact in float32 after any translation
    shift = random_points(20, seed) + 8 * far
    near, moved = closest_point(y), closest_point(y + shift)
    assert squared_distance(y + shift, moved) == pytest.approx(squared_distance(y, near))


def test_cells_have_the_known_radius_and_second_moment():
    y = np.random.default_rng(4).random((20_000, 24)) * 8
    errors = squared_distance(y, closest_point(y))
    assert errors.max() <= 16  # the covering radius is √2 of the packing's radius, √8
    assert errors.mean() / 24 / 8 == pytest.approx(SECOND_MOMENT, abs=1e-4)


@pytest.mark.slow
def test_near_the_origin_it_is_the_shell_or_the_origin():
    z = np.random.default_rng(6).standard_normal((200, 24))
    z *= 5.5 / np.linalg.norm(z, axis=1, keepdims=True)
    found = closest_point(z)
    products = z @ leech.codebook().T.astype(np.float64)
    best = np.minimum(np.square(z).sum(1), np.square(z).sum(1) + 32 - 2 * products.max(1))
    assert (squared_distance(z, found) <= best + 1e-5).all()


@pytest.mark.parametrize("spread", [0.0, 0.3, 5.0, 1000.0])
@pytest.mark.parametrize("width", [16, 48])
def test_best_equals_the_reference(spread, width):
    scores, index = tables(spread, width=width)
    found, values = best_point(scores, index)
    expected, best = point_reference.best_point(scores[index])
    assert points.is_point(found).all()
    assert values == pytest.approx(best, rel=1e-5, abs=1e-6)
    if spread:
        assert np.array_equal(found, expected)


@given(st.integers(0, 10**6), st.sampled_from([16, 32, 80]))
def test_best_finds_any_point_that_scores_name(seed, width):
    x = np.clip(random_points(10, seed), -width // 2, width // 2 - 1)
    x = x[points.is_point(x)]
    columns = np.arange(width) - width // 2
    scores = (x.reshape(-1, 1) == columns).astype(float)
    found, values = best_point(scores, np.arange(x.size).reshape(x.shape))
    assert np.array_equal(found, x) and (values == 24).all()


@pytest.mark.parametrize("weight", [0.0, 0.05, 1.0])
def test_rate_aware_equals_the_reference(weight):
    rng = np.random.default_rng(7)
    scores = np.sort(rng.standard_normal((5, 32)) * 4, axis=1)
    index, y = rng.integers(0, 5, (30, 24)), rng.standard_normal((30, 24)) * 6
    found, values = rate_aware_point(y, weight, scores, index)
    _, best = point_reference.best_point(scores[index] + weight * point_reference.distance_scores(y, 32))
    assert points.is_point(found).all()
    assert values == pytest.approx(best, rel=1e-5)
    columns = found + 16
    own = scores[index, columns].sum(axis=1) - weight * squared_distance(y, found)
    assert own == pytest.approx(values, rel=1e-5)


@given(st.integers(0, 10**6), st.floats(0.05, 3), st.floats(0.01, 2))
def test_with_a_gaussian_model_it_is_the_nearest_point_to_a_shrunk_vector(seed, weight, c):
    y = np.random.default_rng(seed).standard_normal((20, 24)) * 4
    scores = -c * np.square(np.arange(64) - 32.0)[None]
    found, _ = rate_aware_point(y, weight, scores, np.zeros((20, 24), dtype=int))
    shrunk = y * weight / (weight + c)
    assert squared_distance(shrunk, found) == pytest.approx(squared_distance(shrunk, closest_point(shrunk)), rel=1e-4)


def test_a_vector_far_outside_the_window_gets_the_point_nearest_to_it_inside():
    y = np.full((1, 24), 1e6)
    flat, index = np.zeros((1, 16)), np.zeros((1, 24), dtype=int)
    found, _ = rate_aware_point(y, 1.0, flat, index)
    best, _ = point_reference.best_point(np.tile(np.arange(-8.0, 8.0), (1, 24, 1)))
    assert found.sum() == best.sum()


def test_neighbours_in_a_batch_do_not_matter():
    y = np.random.default_rng(8).standard_normal((70, 24)) * 3
    order = np.random.default_rng(9).permutation(70)
    assert np.array_equal(closest_point(y)[order], closest_point(y[order]))
    scores, index = tables(1.0, 40)
    for count in (0, 1, 15, 16, 17, 33):
        assert np.array_equal(closest_point(y[:count]), closest_point(y)[:count])
        assert np.array_equal(best_point(scores, index[:count])[0], best_point(scores, index)[0][:count])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**31])
def test_refuses_vectors_that_are_not_finite_or_too_large(bad):
    y = np.zeros((3, 24))
    y[1, 5] = bad
    with pytest.raises(ValueError, match="not finite, or beyond"):
        closest_point(y)


def test_refuses_bad_arguments():
    scores, index = tables(1.0, 2)
    with pytest.raises(ValueError, match="shape"):
        closest_point(np.zeros((3, 23)))
    with pytest.raises(ValueError, match="out of range"):
        best_point(scores, index + 1)
    with pytest.raises(TypeError, match="integers"):
        best_point(scores, index.astype(float))
    with pytest.raises(ValueError, match="shape"):
        best_point(scores, index[:, :23])
    with pytest.raises(ValueError, match="multiple of 16"):
        best_point(scores[:, :24], index)
    with pytest.raises(ValueError, match="not finite"):
        best_point(np.where(scores > 1, np.inf, scores), index)
    with pytest.raises(ValueError, match="weight"):
        rate_aware_point(np.zeros((2, 24)), -1.0, scores, index)
    with pytest.raises(ValueError, match="weight"):
        rate_aware_point(np.zeros((2, 24)), 1e30, scores, index)
    with pytest.raises(ValueError, match="3 vectors"):
        rate_aware_point(np.zeros((3, 24)), 1.0, scores, index)


@pytest.mark.slow
def test_correct_without_numba():
    """NUMBA_DISABLE_JIT=1 runs the same statements as Python, both semirings included."""
    program = (
        "import numpy as np; from leechcodec.lattice import closest, partition; rng = np.random.default_rng(8);"
        "y, s, i = rng.standard_normal((2, 24)) * 3, rng.standard_normal((4, 16)), rng.integers(0, 4, (2, 24));"
        "print(closest.closest_point(y).tolist(), closest.rate_aware_point(y, 0.3, s, i)[0].tolist(),"
        "partition.log_partition(s, i).tolist())"
    )
    command = [sys.executable, "-c", program]
    slow, fast = (
        subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": flag}, capture_output=True, text=True).stdout
        for flag in "10"
    )
    assert slow and slow == fast
