import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lattice import leech, points
from leechcodec.lattice.golay import golay_words


def random_points(count: int, seed: int = 0, reach: int = 3) -> np.ndarray:
    """Sums of codewords: integers (count, 24)."""
    rng = np.random.default_rng(seed)
    return leech.codebook()[rng.integers(0, leech.SIZE, (count, reach))].astype(np.int64).sum(axis=1)


def test_every_codeword_is_a_point_and_the_multiples_of_8_are():
    assert points.is_point(leech.codebook()).all()
    assert points.is_point(8 * np.eye(24, dtype=int)).all() and points.is_point(np.zeros(24, dtype=int))
    assert not points.is_point(4 * np.eye(24, dtype=int)).any()


def test_no_vector_of_smaller_norm_is_a_point():
    """All vectors of one, two and three entries within ±4, and signs: norms up to 48 in part, 32 the least found."""
    entries = np.arange(-4, 5)
    a, b, c = (axis.reshape(-1) for axis in np.meshgrid(entries, entries, entries))
    for i, j, k in ((0, 1, 2), (0, 8, 16), (5, 13, 23)):
        x = np.zeros((a.size, 24), dtype=int)
        x[:, i], x[:, j], x[:, k] = a, b, c
        norms = np.square(x[points.is_point(x)]).sum(axis=1)
        assert set(norms.tolist()) == {0, 32}
    assert not points.is_point(1 - 2 * golay_words().astype(int)).any()


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_sums_and_differences_of_points_are_points(seed, reach):
    x = random_points(20, seed, reach)
    assert points.is_point(x).all() and points.is_point(x[:10] - x[10:]).all()


@given(st.integers(0, 10**6), st.integers(0, 23), st.integers(1, 7))
def test_one_coordinate_changed_is_no_point(seed, i, change):
    x = random_points(4, seed)
    x[:, i] += change
    assert not points.is_point(x).any()


@given(st.integers(0, 10**6))
def test_cosets_leave_every_coordinate_modulo_4(seed):
    x = random_points(50, seed)
    found = points.cosets(x)
    assert np.array_equal(points.coset_residues(found), x % 4)
    assert ((found.words[:, 0] ^ found.words[:, 1] ^ found.words[:, 2]) % points.ONES == 0).all()


def test_every_coset_is_met_as_often_as_the_others():
    """m, y, A, B and C of the codebook's vectors: 8,192 cosets. Class 1 and 2 are the even ones, class 3 the odd."""
    found = points.cosets(leech.codebook())
    first = (found.words[:, 0] != found.words[:, 1] ^ found.words[:, 2]).astype(int)
    number = (((found.m * 8 + found.y) * 16 + found.words[:, 2]) * 16 + found.words[:, 1]) * 2 + first
    counts = np.bincount(number, minlength=8192)
    assert (counts[4096:] == 24).all()
    assert sorted(set(counts[:4096].tolist())) == [0, 128, 1104]


def test_refuses_what_is_no_point():
    x = random_points(5)
    x[3, 2] += 1
    with pytest.raises(ValueError, match="not a point of the Leech lattice: row 3"):
        points.cosets(x)
    for bad in (np.zeros((2, 23), dtype=int), np.zeros((), dtype=int)):
        with pytest.raises(ValueError, match="24 coordinates"):
            points.is_point(bad)
    with pytest.raises(TypeError, match="integer"):
        points.is_point(np.zeros((2, 24)))


@pytest.mark.parametrize("width", [0, 8, 24, -16, 1 << 17])
def test_refuses_other_windows(width):
    with pytest.raises(ValueError, match="multiple of 16"):
        points.check_window(width)
