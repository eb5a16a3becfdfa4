"""SSIMULACRA2 in the loss is the SSIMULACRA2 that the laboratory measures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.lab import metrics
from leechcodec.networks.ssimulacra2 import SMALLEST_SIDE, _constants, ssimulacra2, ssimulacra2_distance
from tests.networks.test_ms_ssim import pair

NOISE = (0.005, 0.03, 0.2)
"""From hardly visible to very poor."""


def as_file(image):
    """uint8 (H, W, 3) of one image (3, H, W)."""
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def rounded(*size, noise):
    """Two images and what they became, of whole levels, as the package sees them."""
    return [(image * 255).round() / 255 for image in pair(*size, noise)]


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("size", [(227, 241), pytest.param((301, 227), marks=pytest.mark.slow)])
def test_agrees_with_the_package(size, noise):
    pytest.importorskip("ssimulacra2")
    x, y = rounded(*size, noise=noise)
    expected = [metrics.ssimulacra2(as_file(a), as_file(b)) for a, b in zip(x, y)]
    assert ssimulacra2(x, y).tolist() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("noise", NOISE)
def test_agrees_with_the_package_for_blur(noise):
    """Noise adds edges; this takes them away, and reaches the channels of colour."""
    pytest.importorskip("ssimulacra2")
    x, y = rounded(232, 256, noise=noise)
    y = F.avg_pool2d(y, 5, 1, 2, count_include_pad=False)
    y[:, 2] = y[:, 2].mean()
    y = (y * 255).round() / 255
    expected = [metrics.ssimulacra2(as_file(a), as_file(b)) for a, b in zip(x, y)]
    assert ssimulacra2(x, y).tolist() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("size", [(130, 128), (100, 64), (41, 40), (8, 9)])
def test_smaller_images_have_the_scales_that_are_left(monkeypatch, size):
    """The package takes weights as they come, so it is given those of the scales it will find."""
    package = pytest.importorskip("ssimulacra2.ssimulacra2")
    scales = min(6, 1 + sum(-(-min(size) // 2**halvings) >= 8 for halvings in range(1, 6)))
    left = package.weights.reshape(3, 6, 2, 3)[:, :scales]
    monkeypatch.setattr(package, "weights", (left * package.weights.sum() / left.sum()).ravel())
    x, y = rounded(*size, noise=0.03)
    expected = [
        package.compute_ssimulacra2(metrics._as_file(as_file(a)), metrics._as_file(as_file(b))) for a, b in zip(x, y)
    ]
    assert ssimulacra2(x, y).tolist() == pytest.approx(expected, abs=0.01)


def test_scores_without_the_package():
    """Scores of the package 0.3.0 for ramps of three colours: in steps of 16 levels, and with blue as red is."""
    rows, columns = np.mgrid[:240, :232]
    levels = np.stack([rows, columns, rows + columns]) % 256
    changed = np.stack([levels // 16 * 16, levels[[0, 1, 0]]])
    x, y = (torch.tensor(values, dtype=torch.float32) / 255 for values in (np.stack([levels, levels]), changed))
    assert ssimulacra2(x, y).tolist() == pytest.approx([-2.9833, -60.6412], abs=0.01)


@pytest.mark.parametrize("size", [(256, 256), (64, 96)])
def test_its_gradient_leads_to_the_original(size):
    x, y = pair(*size)
    y.requires_grad_()
    before, distance = ssimulacra2(x, y), ssimulacra2_distance(x, y)
    distance.sum().backward()
    assert torch.isfinite(y.grad).all() and (y.grad.flatten(1).norm(dim=1) > 0).all()
    step = 0.02 * y.grad / y.grad.abs().amax((1, 2, 3), keepdim=True)
    assert (ssimulacra2(x, y.detach() - step) > before).all()


def test_the_distance_has_the_slope_of_finite_differences():
    x, y = pair(64, 64)
    way = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)) * 1e-3
    y = (0.1 + 0.8 * y).requires_grad_()  # no pixel near the ends, where it is clipped
    slope = (torch.autograd.grad(ssimulacra2_distance(x, y).sum(), y)[0] * way).sum((1, 2, 3))
    with torch.no_grad():
        change = (ssimulacra2_distance(x, y + way) - ssimulacra2_distance(x, y - way)) / 2
    assert torch.allclose(slope, change, rtol=0.02)


@pytest.mark.parametrize("side", [256, 128, 64, SMALLEST_SIDE])
def test_the_original_itself(side):
    """A score of 100, a distance of 0, and no gradient that is not a number, black and white included."""
    x, _ = pair(side, side)
    x[0, :, : side // 2], x[0, :, side // 2 :] = 0, 1
    y = x.clone().requires_grad_()
    assert ssimulacra2(x, y).tolist() == [100, 100]
    distance = ssimulacra2_distance(x, y)
    distance.sum().backward()
    assert distance.tolist() == [0, 0] and torch.isfinite(y.grad).all()


def test_near_the_original_the_distance_is_linear_in_the_error():
    x, y = pair(128, 128, 0.02)
    whole, half = ssimulacra2_distance(x, y), ssimulacra2_distance(x, x + (y - x) / 2)
    assert (whole / half > 1.7).all() and (whole / half < 3).all()  # edges are linear, structure is squared


@pytest.mark.parametrize("size", [(256, 256), (65, 130)])
def test_a_batch_equals_single_images(size):
    x, y = pair(*size)
    single = torch.cat([ssimulacra2_distance(x[n : n + 1], y[n : n + 1]) for n in range(2)])
    assert torch.allclose(ssimulacra2_distance(x, y), single, rtol=1e-5)


def test_an_image_smaller_than_a_scale_is_refused():
    x, y = pair(SMALLEST_SIDE, 64)
    with pytest.raises(ValueError, match="at least 8"):
        ssimulacra2_distance(x[:, :, 1:], y[:, :, 1:])


def test_constants_serve_gradients_whatever_asked_for_them_first():
    x, y = pair(32, 32)
    _constants.cache_clear()
    with torch.inference_mode():
        ssimulacra2(x, y)
    ssimulacra2_distance(x, y.requires_grad_()).sum().backward()


@settings(max_examples=30)
@given(st.integers(SMALLEST_SIDE, 70), st.integers(SMALLEST_SIDE, 70))
def test_any_size_has_a_finite_slope(height, width):
    x, y = pair(height, width)
    y.requires_grad_()
    distance = ssimulacra2_distance(x, y)
    distance.sum().backward()
    assert (distance > 0).all() and torch.isfinite(y.grad).all()


def test_what_lies_outside_is_clipped():
    x, y = pair(64, 64)
    outside = (y + (y - 0.5) * 2).requires_grad_()
    distance = ssimulacra2_distance(x, outside)
    assert torch.equal(distance, ssimulacra2_distance(x, outside.clamp(0, 1)))
    distance.sum().backward()
    assert torch.isfinite(outside.grad).all()


def test_autocast_changes_nothing():
    x, y = pair(64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssimulacra2_distance(x, y.bfloat16()), ssimulacra2_distance(x, y.bfloat16().float()))
