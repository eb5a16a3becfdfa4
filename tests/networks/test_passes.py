import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.networks.passes import neighbour_offsets, pass_mask, pass_size
from leechcodec.networks.prior import neighbours

PASSES = st.integers(1, 9)


def pass_numbers(height: int, width: int, passes: int) -> torch.Tensor:
    """The pass of every position, by the recursion of docs/FORMAT.md."""

    def number(row: int, column: int, left: int) -> int:
        if left == 1:
            return 0
        if (row + column) % 2:
            return left - 1
        if left == 2:
            return 0
        return left - 2 if row % 2 else number(row // 2, column // 2, left - 2)

    return torch.tensor([[number(row, column, passes) for column in range(width)] for row in range(height)])


@given(st.integers(1, 33), st.integers(1, 33), PASSES)
def test_every_position_is_in_one_pass(height, width, passes):
    numbers = pass_numbers(height, width, passes)
    assert numbers.max() < passes and numbers[0, 0] == 0
    assert sum(pass_size(height, width, passes, number) for number in range(passes)) == height * width
    for number in range(passes):
        mask = pass_mask(height, width, passes, number)
        assert (mask is None and passes == 1) or np.array_equal(mask, numbers.numpy() == number)


@given(st.integers(1, 33), st.integers(1, 33), PASSES)
def test_neighbours_come_before(height, width, passes):
    numbers = pass_numbers(height, width, passes)
    for number in range(1, passes):
        for row, column in (numbers == number).nonzero().tolist():
            for down, right in neighbour_offsets(passes, number):
                r, c = row + down, column + right
                if 0 <= r < height and 0 <= c < width:
                    assert numbers[r, c] < number


@pytest.mark.parametrize("passes", range(2, 10))
def test_a_pass_has_half_of_the_positions_up_to_it(passes):
    sizes = [pass_size(64, 64, passes, number) for number in range(passes)]
    assert all(2 * size == sum(sizes[: number + 1]) for number, size in enumerate(sizes) if number)


def test_two_passes_are_a_checkerboard_and_five_what_the_picture_shows():
    even = (np.arange(3)[:, None] + np.arange(5)) % 2 == 0
    assert np.array_equal(pass_mask(3, 5, 2, 0), even) and np.array_equal(pass_mask(3, 5, 2, 1), ~even)
    drawn = ["04240", "43434", "24142", "43434", "04240"]
    assert pass_numbers(5, 5, 5).tolist() == [[int(number) for number in row] for row in drawn]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_codes_of_neighbours(number):
    codes = torch.arange(1, 2 * 3 * 9 * 7 + 1).reshape(2, 3, 9, 7)
    found = neighbours(codes, 5, number)
    assert found.shape == (2, 4, 3, 9, 7)
    for k, (down, right) in enumerate(neighbour_offsets(5, number)):
        for row, column in ((0, 0), (4, 3), (8, 6)):
            r, c = row + down, column + right
            inside = 0 <= r < 9 and 0 <= c < 7
            assert torch.equal(found[:, k, :, row, column], codes[:, :, r, c] if inside else codes[:, :, 0, 0] * 0)
