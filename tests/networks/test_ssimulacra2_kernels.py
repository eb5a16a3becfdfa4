"""The kernels say what torch's operators do, and so do their slopes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.networks import ssimulacra2_kernels as kernels
from leechcodec.networks.ssimulacra2 import C2, SMALLEST_SIDE, _constants, _PlaneScale, _Scale
from leechcodec.threads import set_threads, threads
from tests.networks.test_ms_ssim import pair


@pytest.fixture
def two_threads():
    before = threads()
    set_threads(2)
    yield
    set_threads(before)


def both(x, y, scale):
    """Errors and their gradients by y at one of the six scales' weights: of the kernels, and of torch's operators."""
    weights = _constants(x.device)[0][:, scale]
    found = []
    for original in (_PlaneScale(x), _Scale(x)):
        own = y.clone().requires_grad_()
        errors = original.errors(own, weights)
        found.append((errors.detach(), torch.autograd.grad((errors * torch.arange(1, len(y) + 1)).sum(), own)[0]))
    return found


@settings(max_examples=25)
@given(st.integers(SMALLEST_SIDE, 60), st.integers(SMALLEST_SIDE, 60), st.integers(0, 5), st.sampled_from((0.01, 0.2)))
def test_agrees_with_the_operators(height, width, scale, noise):
    x, y = pair(height, width, noise)
    (errors, gradient), (expected, slope) = both(x, y, scale)
    assert torch.allclose(errors, expected, rtol=1e-4, atol=1e-6)
    assert torch.allclose(gradient, slope, rtol=1e-3, atol=1e-4 * float(slope.abs().max()))


def test_threads_change_nothing(two_threads):
    x, y = pair(50, 40)
    together = both(x, y, 3)[0]
    set_threads(1)
    alone = both(x, y, 3)[0]
    assert all(torch.equal(a, b) for a, b in zip(together, alone))


def test_moments_are_those_of_the_window():
    x, _ = pair(33, 70)
    mean, variance = kernels.moments(x)
    expected = _Scale(x)
    assert torch.allclose(mean, expected.mean, atol=1e-6) and torch.allclose(variance, expected.variance, atol=1e-6)


def test_no_gradient_is_made_where_none_is_wanted():
    x, y = pair(20, 20)
    known = (y, x, *kernels.moments(x), _constants(x.device)[0][:, 1], C2)
    errors, gradient = kernels.errors(*known, False)
    assert gradient.numel() == 0 and torch.equal(errors, kernels.errors(*known, True)[0])
