import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.detail.steps import of_blocks, of_frequencies, relative_steps


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_mean_square_is_one_over_blocks_and_frequencies(height, width, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    steps = relative_steps(of_blocks(picture))
    assert steps.shape == (64, -(-height // 8), -(-width // 8)) and steps.min() > 0
    assert np.square(steps).mean() == pytest.approx(1)


def test_fine_patterns_and_busy_blocks_have_coarser_steps():
    assert of_frequencies()[0] < of_frequencies()[1] == of_frequencies()[8] < of_frequencies()[63]
    picture = np.full((24, 24, 3), 100, dtype=np.uint8)
    picture[:8, :8] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    busy = relative_steps(of_blocks(picture))[0]
    assert busy[0, 0] > busy[0, 1] > busy[1, 1] == busy[2, 2]


def test_a_flat_picture_has_equal_blocks():
    steps = relative_steps(of_blocks(np.zeros((16, 16, 3), dtype=np.uint8)))
    assert np.allclose(steps, of_frequencies()[:, None, None])


def test_a_level_here_and_there_hardly_moves_a_step():
    """Machines may differ by a level in a pixel of the picture below."""
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    other = picture + (rng.random(picture.shape) < 1e-3).astype(np.uint8)
    assert np.allclose(relative_steps(of_blocks(picture)), relative_steps(of_blocks(other)), rtol=1e-3)
