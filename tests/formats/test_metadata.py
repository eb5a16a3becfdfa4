"""EXIF, XMP and profiles through files that are odd but read."""

import gzip
import io
import struct
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from leechcodec.formats import exif
from leechcodec.formats.images import apply_orientation, encode_image, load_image
from leechcodec.formats.writing import stripped

INTEROPERABILITY = {1: "R98", 2: b"0100"}


def tags(**directories):
    """EXIF of a maker and an orientation, and of directories."""
    made = Image.Exif()
    made[0x010F], made[0x0112] = "Maker", 6
    made.get_ifd(0x8769).update({0x9000: b"0230", 0xA005: INTEROPERABILITY})
    made[0x8769] = made.get_ifd(0x8769)
    return made


def file_of(form, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 100, 50)).save(buffer, form, **options)
    return io.BytesIO(buffer.getvalue())


def with_exif(data):
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = data
    return image


def quiet(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*arguments)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("dots", [(0xFFFFFFFF, 1), (70_000, 1), (1, 0xFFFFFFFF)])
def test_a_resolution_beyond_what_formats_hold_spoils_no_picture(suffix, dots):
    entries = b"".join(struct.pack("<HHII", tag, 5, 1, place) for tag, place in ((0x011A, 38), (0x011B, 46)))
    data = b"II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + struct.pack("<IIII", *dots, *dots)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # BMP holds no EXIF
        written = encode_image(with_exif(exif.PREFIX + data), suffix)
    assert Image.open(io.BytesIO(written)).size == (8, 8)
    told = Image.open(io.BytesIO(written)).info.get("dpi", (0,))
    assert suffix == ".tif" or max(map(float, told)) <= 65_536


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp"])
def test_the_directory_of_interoperability_is_kept(suffix):
    written = quiet(encode_image, with_exif(tags().tobytes()), suffix)
    found = Image.open(io.BytesIO(written)).getexif()
    assert {tag: found.get_ifd(0xA005)[tag] for tag in INTEROPERABILITY} == INTEROPERABILITY


def test_the_directory_of_interoperability_of_a_tiff_is_kept():
    image = quiet(load_image, file_of("TIFF", exif=tags()))
    assert not exif.is_damaged(image.info["exif"])
    found = Image.Exif()
    found.load(image.info["exif"])
    assert found.get_ifd(0xA005)[1] == "R98" and found[0x010F] == "Maker"


def test_a_directory_of_interoperability_that_is_elsewhere_is_damage():
    data = tags().tobytes()
    assert not exif.is_damaged(data)
    order = "<" if data[6:8] == b"II" else ">"
    place = data.index(struct.pack(order + "H", 0xA005)) + 8
    assert exif.is_damaged(data[:place] + struct.pack(order + "I", len(data)) + data[place + 4 :])


@pytest.mark.parametrize("after", [False, True])
def test_a_text_named_exif_does_not_stand_for_exif(after):
    text = PngImagePlugin.PngInfo()
    text.add(b"tEXt", b"exif\0hi", after_idat=after)
    with pytest.warns(UserWarning, match="not kept"):
        image = load_image(file_of("PNG", exif=tags(), pnginfo=text))
    assert image.size == (64, 96)
    found = Image.Exif()
    found.load(image.info["exif"])
    assert found[0x010F] == "Maker" and found[0x0112] == 1


@pytest.mark.parametrize("packet", ["<x a='caf\xe9'/>".encode("latin-1"), "<x/>".encode("utf-16")])
def test_xmp_that_is_no_utf_8_is_left_out_of_a_png_and_told(packet):
    image = Image.new("RGB", (8, 8))
    image.info["xmp"] = packet
    with pytest.warns(UserWarning, match="left out: XMP"):
        written = encode_image(image, ".png")
    assert "xmp" not in Image.open(io.BytesIO(written)).info
    assert Image.open(io.BytesIO(quiet(encode_image, image, ".jpg"))).info["xmp"] == packet


@pytest.mark.parametrize("tag", [0x013B, 0x0132])
def test_a_tag_of_a_tiff_that_cannot_be_written_is_told_and_leaves_the_others(tag):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[0x010F], directory[tag] = "Maker", 1.5
    directory.tagtype[tag] = 12
    with pytest.warns(UserWarning, match="damaged EXIF tags, left out"):
        image = load_image(file_of("TIFF", tiffinfo=directory))
    found = Image.Exif()
    found.load(image.info["exif"])
    assert found[0x010F] == "Maker" and tag not in found


@pytest.mark.parametrize("kind", [3, 4])
def test_a_profile_that_is_a_number_is_told_and_stops_nothing(kind):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[34675] = 7
    directory.tagtype[34675] = kind
    with pytest.warns(UserWarning, match="a colour profile that is none"):
        image = load_image(file_of("TIFF", tiffinfo=directory))
    assert image.size == (96, 64) and "icc_profile" not in image.info


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_no_file_stays_open(form, tmp_path):
    path = tmp_path / f"a.{form.lower()}"
    pages = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue")]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match="first of several"):
        image = load_image(path)
    assert image.size == (9, 8)
    if sys.platform == "linux":
        opened = [link.resolve() for link in Path("/proc/self/fd").iterdir() if link.exists()]
        assert path.resolve() not in opened


def test_a_stream_that_unpacks_is_not_taken_for_its_file(tmp_path):
    packed = tmp_path / "a.png.gz"
    packed.write_bytes(gzip.compress(file_of("PNG").getvalue()) + b"\0" * 100)
    with gzip.open(packed) as stream:
        assert quiet(apply_orientation, Image.open(stream)).size == (96, 64)


def test_the_image_of_the_caller_is_left_as_it_is():
    image = Image.new("RGB", (8, 8))
    image.info["icc_profile"] = b"none that can be read"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        encode_image(image, ".bmp")
        stripped(image)
    assert image.info == {"icc_profile": b"none that can be read"}
