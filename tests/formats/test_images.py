import contextlib
import io
import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from leechcodec.errors import ImageError, TooLargeError
from leechcodec.formats import strips
from leechcodec.formats.images import apply_orientation, encode_image, from_array, load_image, to_array, to_rgb
from leechcodec.formats.modes import opaque_rgb, split
from tests.places import SAMPLE


def saved(image: Image.Image, file_format: str = "PNG", **options) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return io.BytesIO(buffer.getvalue())


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_modes_become_rgb(mode):
    image = Image.new("RGB", (5, 4), (200, 100, 50)).convert(mode)
    assert to_rgb(image).mode == "RGB"
    assert np.array_equal(to_array(image), np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_is_scaled():
    image = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
    assert to_array(image)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white_with_a_warning(mode):
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 0)).convert(mode)
    with pytest.warns(UserWarning, match="white"):
        assert to_array(image)[0, 0].tolist() == [255, 255, 255]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_rgb(Image.new("RGBA", (1, 1), (9, 9, 9, 255)))


def test_a_transparent_colour_is_transparency():
    image = Image.new("RGB", (2, 1), (9, 9, 9))
    image.putpixel((1, 0), (1, 2, 3))
    with pytest.warns(UserWarning, match="white"):
        assert to_array(load_image(saved(image, transparency=(9, 9, 9)))).tolist() == [[[255] * 3, [1, 2, 3]]]


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_all_modes_with_opacity_are_read(mode):
    image = Image.new("RGBA", (3, 2), (200, 200, 200, 100))
    image = image.convert("LA").convert(mode) if mode.startswith("L") else image.convert(mode)
    if mode == "PA":
        image.putalpha(100)  # which older Pillows forget
    colours, alpha = split(image)
    assert alpha is not None and alpha.getextrema() == (100, 100)
    assert opaque_rgb(colours).getpixel((0, 0)) == pytest.approx((200, 200, 200), abs=4)


def test_opacity_in_a_palette_is_read():
    image = Image.new("P", (3, 2))
    image.putpalette([10, 20, 30, 128] * 256, "RGBA")
    colours, alpha = split(image)
    assert alpha is not None and alpha.getextrema() == (128, 128) and colours.getpixel((1, 1)) == (10, 20, 30)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "L"])
def test_empty_images_are_refused(mode):
    with pytest.raises(ImageError, match="0 x 5 pixels"):
        to_rgb(Image.new(mode, (0, 5)))


def test_16_bits_are_rounded_to_8(monkeypatch):
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (grey / 257).round()
    for at_once in (strips.STRIP_PIXELS, 1000):
        monkeypatch.setattr(strips, "STRIP_PIXELS", at_once)
        for values in (grey, grey.astype(np.int32)):
            assert np.array_equal(np.asarray(opaque_rgb(Image.fromarray(values)))[..., 0], expected)


@pytest.mark.parametrize("suffix", [".ico", ".icns", ".lq", ".xyz"])
def test_formats_that_would_shrink_a_picture_are_not_written(suffix):
    with pytest.raises(ImageError, match="cannot write images of type"):
        encode_image(Image.new("RGB", (300, 20)), suffix)


def test_float_images_are_refused():
    with pytest.raises(ImageError, match="floating-point"):
        to_rgb(Image.new("F", (2, 2)))


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(saved(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).size == (4, 8)


def test_of_an_animation_the_first_picture_is_taken_with_a_warning(tmp_path, recwarn):
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="a.gif: the first of several pictures is taken"):
        assert load_image(tmp_path / "a.gif").convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    recwarn.clear()
    with warnings.catch_warnings(action="error"):
        load_image(saved(frames[0], "TIFF"))
    frames[0].save(tmp_path / "b.mpo", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "b.mpo").size == (8, 4)
    assert ["b.mpo: not kept: 2 further pictures" in str(found.message) for found in recwarn] == [True]


def test_the_pages_of_a_tiff_are_not_counted(monkeypatch):
    def counted(_):
        pytest.fail("in the square of their number")

    monkeypatch.setattr(TiffImageFile, "n_frames", property(counted))
    pages = [Image.new("RGB", (8, 4), colour) for colour in ("red", "green", "blue")]
    file = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match="the first of several pictures is taken"):
        assert load_image(file).getpixel((0, 0)) == (255, 0, 0)


def test_damaged_exif_does_not_spoil_the_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.new("RGB", (8, 4), (200, 100, 50)), "WEBP", exif=exif, lossless=True).getvalue()
    assert b"*\0\0\0\x08" in data
    with pytest.warns(UserWarning, match="EXIF"):
        image = load_image(io.BytesIO(data.replace(b"*\0\0\0\x08", b"\xff\0\0\0\x08")))
    assert image.size == (8, 4)
    with warnings.catch_warnings(action="error"):  # once is enough
        assert apply_orientation(image) is image


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TGA"])
def test_damaged_files_raise_typed_errors_only(file_format):
    rng = np.random.default_rng(0)
    data = saved(from_array(rng.integers(0, 255, (12, 15, 3), dtype=np.uint8)), file_format).getvalue()
    for _ in range(200):
        damaged = bytearray(data[: rng.integers(len(data) // 2, len(data) + 1)])
        damaged[rng.integers(min(len(damaged), 200))] ^= 1 << rng.integers(8)
        with warnings.catch_warnings(), contextlib.suppress(ImageError, TooLargeError):
            warnings.simplefilter("ignore")
            load_image(io.BytesIO(bytes(damaged)))


def test_whatever_a_plugin_raises_is_typed(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("planes failed")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(ImageError, match="standard input: planes failed"):
        load_image(io.BytesIO(b""))


@pytest.mark.parametrize("data", [b"", b"hello, this is text", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_an_image(tmp_path, data):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"x\.png"):
        load_image(path)


def test_truncated_and_missing(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8))
    path = tmp_path / "cut.png"
    path.write_bytes(saved(noise).getvalue()[:2000])
    with pytest.raises(ImageError, match=r"cut\.png"):
        load_image(path)
    with pytest.raises(ImageError, match="no such file"):
        load_image(tmp_path / "missing.png")


def test_limit_of_pixels():
    with pytest.raises(TooLargeError, match="100 x 100"):
        load_image(saved(Image.new("RGB", (100, 100))), max_pixels=9999)


def test_encoding_by_suffix():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(Image.open(io.BytesIO(encode_image(from_array(pixels), ".PNG"))), pixels)
    with pytest.raises(ImageError, match="type"):
        encode_image(from_array(pixels), ".xyz")


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_a_lossy_format_costs_a_decoded_picture_little(suffix):
    path = SAMPLE
    picture = Image.open(path).convert("RGB").resize((192, 128))
    error = np.asarray(Image.open(io.BytesIO(encode_image(picture, suffix))), float) - np.asarray(picture)
    assert -10 * np.log10(np.mean(error**2) / 255**2) > 36
