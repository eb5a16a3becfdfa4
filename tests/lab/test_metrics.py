import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter

from leechcodec.lab import metrics
from tests.lab.lab_files import noisy, picture


def test_psnr_by_hand():
    a = np.zeros((2, 2, 3), dtype=np.uint8)
    b = a.copy()
    b[0, 0] = (3, 0, 0)
    b[1, 1] = (0, 4, 0)
    # squared errors 9 and 16 over 12 values
    assert metrics.psnr(a, b) == pytest.approx(10 * np.log10(255**2 * 12 / 25))
    assert metrics.psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert metrics.psnr(a, a) == metrics.PSNR_CAP
    assert metrics.psnr(a, 255 - a) == 0  # no wrap-around of unsigned bytes


def window() -> torch.Tensor:
    """The 11 x 11 Gaussian of standard deviation 1.5, built in two dimensions."""
    x = torch.arange(11, dtype=torch.float64) - 5
    kernel = torch.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / (2 * 1.5**2))
    return kernel / kernel.sum()


def luminance_and_structure(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over the image of l·c·s and of c·s (Wang et al. 2003, with K1 = 0.01, K2 = 0.03), one a channel."""

    def blur(x):
        return F.conv2d(x, window()[None, None])

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur((a - 0) ** 2) - mean_a**2, blur(b**2) - mean_b**2, blur(a * b) - mean_a * mean_b
    cs = (2 * cov + c2) / (var_a + var_b + c2)
    lcs = cs * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return lcs.mean((1, 2, 3)), cs.mean((1, 2, 3))


def reference_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale SSIM from the paper's definition: contrast and structure at four scales, all three at the fifth."""
    x, y = (torch.tensor(p, dtype=torch.float64).permute(2, 0, 1)[:, None] for p in (a, b))
    product = torch.ones(3, dtype=torch.float64)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, weight in enumerate(weights):
        lcs, cs = luminance_and_structure(x, y)
        product = product * (lcs if scale == 4 else cs).clamp(min=0) ** weight
        x, y = (F.avg_pool2d(p, 2, padding=[side % 2 for side in p.shape[2:]]) for p in (x, y))
    return product.mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("amplitude", [4, 40])
def test_ms_ssim_and_ssim_against_a_second_implementation(amplitude):
    image = picture(190, 176)
    a, b = np.asarray(image), np.asarray(noisy(image, amplitude))
    assert metrics.ms_ssim(a, b) == pytest.approx(reference_ms_ssim(a, b), abs=2e-5)
    x, y = (torch.tensor(p, dtype=torch.float64).permute(2, 0, 1)[:, None] for p in (a, b))
    assert metrics.ssim(a, b) == pytest.approx(luminance_and_structure(x, y)[0].mean().item(), abs=2e-5)
    assert metrics.ms_ssim(a, a) == pytest.approx(1, abs=1e-6)


def test_small_images_have_no_ms_ssim():
    for width, height, known in ((161, 161, True), (300, 160, False), (12, 12, False)):
        image = picture(width, height)
        found = metrics.scores(image, noisy(image, 3))
        assert (found.ms_ssim is not None) == known
        assert 0 < found.ssim < 1 and found.lpips is None and 30 < found.psnr < 50
    tiny = picture(10, 300)
    assert metrics.scores(tiny, tiny) == metrics.Scores(metrics.PSNR_CAP, None, None, None, None)


def degraded(image: Image.Image) -> dict[str, tuple[Image.Image, float]]:
    """(what is scored, score of libjxl 0.11.2's ssimulacra2): no codec is in it, so that no version changes it."""
    levels = (np.round(np.asarray(image) / 24) * 24).clip(0, 255).astype(np.uint8)
    blocks = image.resize((80, 64), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)
    return {
        "the same": (image, 100.0),
        "little noise": (noisy(image, 4), 85.5747),
        "much noise": (noisy(image, 20), 30.5528),
        "blur": (image.filter(ImageFilter.BoxBlur(1)), 83.8345),
        "blocks": (blocks, 80.7954),
        "few levels": (Image.fromarray(levels), 33.8638),
    }


@pytest.mark.slow
def test_ssimulacra2_against_libjxl():
    """The package's Gaussian ends otherwise at the borders, and so do low scores: 3.2 below at most here."""
    pytest.importorskip("ssimulacra2")
    image = picture(320, 256)
    for kind, (other, wanted) in degraded(image).items():
        found = metrics.ssimulacra2(np.asarray(image), np.asarray(other))
        assert found == pytest.approx(wanted, abs=0.5 if wanted > 50 else 4), kind
    assert metrics.scores(picture(225, 225), picture(225, 225)).ssimulacra2 == 100
    assert metrics.scores(picture(224, 300), picture(224, 300)).ssimulacra2 is None


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="pixels"):
        metrics.scores(picture(20, 20), picture(20, 21))
