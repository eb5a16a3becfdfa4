"""The window as products of matrices is the window as a convolution."""

import pytest
import torch
import torch.nn.functional as F

from leechcodec.networks.gaussian import PART, SIGMA, WINDOW, smooth


@pytest.mark.parametrize("height, width", [(WINDOW, WINDOW), (PART, PART + 1), (2 * PART + WINDOW - 1, 30), (75, 200)])
def test_it_is_a_convolution(height, width):
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel = torch.outer(window, window) / window.sum() ** 2
    image = torch.rand(2, 3, height, width, dtype=torch.float64)
    expected = F.conv2d(image.flatten(0, 1)[:, None], kernel[None, None]).unflatten(0, (2, 3))[:, :, 0]
    assert torch.allclose(smooth(image), expected, atol=1e-12)
