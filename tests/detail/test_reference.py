"""The layer's decoder against the plain reference, which follows docs/FORMAT.md sentence by sentence."""

import numpy as np
import pytest

from leechcodec.detail import scales, transform
from leechcodec.detail.coding import decode_detail, encode_detail
from leechcodec.detail.head import STEP_UNIT
from leechcodec.detail.steps import of_blocks, relative_steps
from leechcodec.testing import detail_reference


@pytest.mark.parametrize(
    ("size", "spread", "step"),
    [((26, 33), 12.0, 3000), ((9, 70), 60.0, 5000), ((17, 8), 2.0, 1024), ((1, 1), 90.0, 700)],
)
def test_both_decode_alike(size, spread, step):
    rng = np.random.default_rng(step)
    smooth = np.linspace(-spread, spread, size[1])[None, :, None]
    residual = rng.laplace(scale=spread, size=(*size, 3)) * (rng.random((*size, 1)) < 0.5) + smooth
    data, _ = encode_detail(transform.forward(residual.clip(-255, 255).round()), step, 9321)
    plain, found = detail_reference.Reference(data, size), decode_detail(data, size)
    assert (plain.step, plain.quality) == (step, 9321)
    points = np.zeros(found.shape, dtype=int)
    for place, value in plain.points.items():
        points[place] = value
    assert points.any() and np.array_equal(points * (step * STEP_UNIT), found)
    decoded = rng.integers(0, 256, (*size, 3), dtype=np.uint8) // (1 + np.arange(size[1])[:, None] // 8)
    pixels = transform.inverse(found * relative_steps(of_blocks(decoded)), size)
    for row, column in ((0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] // 3)):
        assert np.allclose(plain.residual(decoded, row, column), pixels[row, column])


@pytest.mark.parametrize("window", [4, 6])
def test_scores(window):
    assert np.array_equal(detail_reference.scores(window), scales.scores(1 << window))
