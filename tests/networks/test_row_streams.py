"""Streams of rows against whole maps, in integers, which are exact: what the parts' edges spoilt would show."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.networks.row_streams import Reader, branches, cut, each, in_multiples, in_pieces, windows


def parts_of(x: np.ndarray, heights: list[int]):
    """Parts of these heights, again and again."""
    top, number = 0, 0
    while top < x.shape[2]:
        bottom = top + heights[number % len(heights)]
        yield x[:, :, top:bottom]
        top, number = bottom, number + 1


def whole(parts) -> np.ndarray:
    return np.concatenate(list(parts), 2)


def conv(window: np.ndarray, weight: torch.Tensor, above: int) -> np.ndarray:
    return F.conv2d(torch.from_numpy(window), weight, padding=(above, 1)).numpy()


heights = st.lists(st.integers(1, 7), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), heights, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_residual_blocks_in_parts(height, width, heights, blocks, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 9, (1, 2, height, width)).astype(np.float64)
    weights = torch.from_numpy(rng.integers(-2, 3, (blocks, 2, 2, 2, 3, 3)).astype(np.float64))
    expected, stream = x, parts_of(x, heights)
    for first, second in weights:
        expected = expected + conv(conv(expected, first, 1) + 1, second, 1)
        stream = _block(stream, height, first, second)
    assert np.array_equal(whole(stream), expected)


def _block(stream, height, first, second):
    stream, before = branches(stream, 2)
    hidden = (conv(window, first, 0) + 1 for window in windows(stream, height))
    return (conv(window, second, 0) + before.take(window.shape[2] - 2) for window in windows(hidden, height))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.sampled_from([1, 2, 3]), heights, st.integers(1, 5))
def test_rows_stay_in_their_order(count, of, heights, rows):
    x = np.arange(2.0 * count * of).reshape(1, 2, -1, 1)
    assert np.array_equal(whole(in_pieces(parts_of(x, heights), rows)), x)
    found = list(in_multiples(parts_of(x, heights), of))
    assert np.array_equal(whole(found), x) and all(part.shape[2] % of == 0 for part in found)
    reader, taken = Reader(iter(found)), []
    for piece in cut(rows, x.shape[2]):
        taken.append(reader.take(piece.stop - piece.start))
        assert np.array_equal(taken[-1], x[:, :, piece])
    with pytest.raises(ValueError, match="ends before 1 rows"):
        reader.take(1)
    seen = []
    assert np.array_equal(whole(each(lambda part, rows: seen.append(rows) or 2 * part, parts_of(x, heights))), 2 * x)
    assert all(np.array_equal(x[:, :, rows], part) for rows, part in zip(seen, parts_of(x, heights), strict=True))


@pytest.mark.parametrize("repeat", [False, True])
def test_what_lies_outside(repeat):
    x = np.arange(1.0, 6.0).reshape(1, 1, 5, 1)
    first, *_, last = windows(parts_of(x, [1]), 5, repeat=repeat)
    assert first.ravel().tolist() == [1.0 if repeat else 0.0, 1.0, 2.0]
    assert last.ravel().tolist() == [3.0, 4.0, 5.0, 5.0 if repeat else 0.0]


def test_nothing_is_read_long_before_it_is_needed():
    """Of a hundred rows, the first of three blocks' output takes the six above it, and a part."""
    x, read = np.ones((1, 1, 100, 2)), []
    stream = each(lambda part, rows: read.append(rows.stop) or part, parts_of(x, [2]))
    for _ in range(3):
        stream = _block(stream, 100, *torch.ones(2, 1, 1, 3, 3).double())
    done = 0
    assert not read
    for part in stream:
        done += part.shape[2]
        assert read[-1] <= done + 6 + 2


def test_a_late_reader_misses_nothing():
    x = np.arange(12.0).reshape(1, 1, 12, 1)
    early, late = branches(parts_of(x, [5]), 2)
    assert np.array_equal(whole(early), x) and np.array_equal(whole(late), x)
