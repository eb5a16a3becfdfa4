import numpy as np
import pytest
from PIL import Image

from leechcodec.codec.canvas import Canvas, padded_pixels
from leechcodec.codec.distortion import psnr
from leechcodec.codec.pipeline import prepare
from leechcodec.formats import strips
from tests.lab.lab_files import picture


@pytest.mark.parametrize("strip", [1, 700, 1 << 21])
def test_padding_repeats_the_last_row_and_column(strip, monkeypatch):
    monkeypatch.setattr(strips, "STRIP_PIXELS", strip)
    image = picture(70, 90)
    pixels = np.asarray(image)
    found = padded_pixels(image)
    assert found.shape == (1, 3, 128, 128) and found.dtype == np.uint8
    padding = ((0, 128 - pixels.shape[0]), (0, 128 - pixels.shape[1]), (0, 0))
    assert np.array_equal(found[0].transpose(1, 2, 0), np.pad(pixels, padding, mode="edge"))


@pytest.mark.parametrize("rows", [1, 7, 64, 128])
def test_what_is_drawn_in_rows(rows):
    """Rows of padding are left out, also where a part has no others."""
    x_hat = np.random.default_rng(0).uniform(-1.2, 1.2, (1, 3, 128, 64)).astype(np.float32)
    drawn = Canvas((70, 50))
    for top in range(0, 128, rows):
        drawn.draw(x_hat[:, :, top : top + rows].copy())
    expected = np.rint((x_hat[0, :, :70, :50] + 1) * np.float32(127.5)).clip(0, 255).astype(np.uint8)
    assert np.array_equal(np.asarray(drawn.image), expected.transpose(1, 2, 0))


def test_no_picture_before_it_is_drawn():
    drawn = Canvas((70, 50))
    drawn.draw(np.zeros((1, 3, 64, 64), dtype=np.float32))
    with pytest.raises(RuntimeError, match="64 of 70"):
        _ = drawn.image


def test_psnr_in_strips(monkeypatch):
    image, other = picture(70, 90), picture(70, 90).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    prepared = prepare(image)
    expected = psnr(np.asarray(image), np.asarray(other))
    monkeypatch.setattr(strips, "STRIP_PIXELS", 300)
    assert prepared.psnr(other) == expected < 40
