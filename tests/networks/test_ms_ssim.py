"""MS-SSIM in the loss is the MS-SSIM that the laboratory measures."""

import pytest
import torch

from leechcodec.networks.ms_ssim import ms_ssim


def pair(height, width, noise=0.1):
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand(2, 3, height // 8 + 1, width // 8 + 1, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    return x, (x + noise * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("size", [(176, 192), (163, 201)])
def test_agrees_with_pytorch_msssim(size):
    reference = pytest.importorskip("pytorch_msssim")
    x, y = pair(*size)
    expected = reference.ms_ssim(x, y, data_range=1.0, size_average=False)
    assert torch.allclose(ms_ssim(x, y), expected, atol=2e-5)


def test_an_image_of_one_scale_is_compared_by_ssim():
    reference = pytest.importorskip("pytorch_msssim")
    x, y = pair(20, 30)
    assert torch.allclose(ms_ssim(x, y), reference.ssim(x, y, data_range=1.0, size_average=False), atol=2e-5)
    with pytest.raises(ValueError, match="at least 11"):
        ms_ssim(x[..., :10], y[..., :10])


def test_its_gradient_leads_to_the_original():
    x, y = pair(64, 64)
    y.requires_grad_()
    before = ms_ssim(x, y)
    before.sum().backward()
    assert torch.isfinite(y.grad).all()
    assert (ms_ssim(x, y.detach() + 50 * y.grad) > before).all()
    assert torch.allclose(ms_ssim(x, x), torch.ones(2), atol=1e-5)
