"""The post-filter beside a second decoder, which follows docs/FORMAT.md alone."""

import numpy as np
import pytest
from PIL import Image

from leechcodec.codec.post_filter import with_filter
from leechcodec.formats.container import Chunk, ChunkKind
from leechcodec.postfilter.coding import pack
from leechcodec.postfilter.terms import BANDS, CLIPPED, PAIRS, TERMS
from leechcodec.testing.filter_reference import filtered


@pytest.mark.parametrize("size", [(1, 1), (12, 9)])
def test_a_filter_does_what_the_format_says(size):
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    numbers = rng.integers(-9, 10, (3, TERMS))
    numbers[1:, PAIRS], numbers[2, BANDS] = 0, 0
    for plane, own in np.ndindex(3, 3):
        if plane != own:
            numbers[plane, CLIPPED[own]] = 0
    payload = pack(numbers, 9)
    found = np.asarray(with_filter(Image.fromarray(levels), [Chunk(ChunkKind.FILTER, payload)]))
    assert not np.array_equal(found, levels)
    for row, column in np.ndindex(size):
        assert np.allclose(np.clip(filtered(levels, payload, row, column), 0, 255), found[row, column], atol=0.51)
