import io

import pytest
from PIL import Image

from leechcodec.errors import ImageError, TooLargeError
from leechcodec.formats.boxes import boxes, jxl_size
from leechcodec.formats.images import load_image

BEGINNINGS = {
    "ff0a0090010013080100b400": (1, 1),
    "ff0a41060013080100b40067": (8, 8),
    "ff0a28d0010013080100b800": (10, 6),
    "ff0af8be010013080100ccc1": (640, 480),
    "ff0a3dfe0013080100f40067": (256, 248),
    "ff0af807000e0013080100b8": (257, 256),
    "ff0ac8d2010013080100f400": (160, 90),
    "ff0ada1500c00013080100a8": (1, 700),
    "ff0ae8805ec90013080100b8": (1200, 30),
    "ff0a10003f9c180013080100": (20_000, 3),
}
"""Of files that libjxl 0.11 made."""
SIDES = [(1, 1), (8, 8), (10, 6), (640, 480), (256, 248), (257, 256), (160, 90), (1, 700), (1200, 30)]


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl_picture(size, container):
    pytest.importorskip("pillow_jxl")
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JXL", effort=1, use_container=container)
    assert jxl_size(buffer.getvalue()) == size


@pytest.mark.parametrize("beginning, size", BEGINNINGS.items())
def test_the_size_that_a_codestream_begins_with(beginning, size):
    data = bytes.fromhex(beginning)
    assert jxl_size(data) == size
    for kind, body in (b"jxlc", data), (b"jxlp", bytes(4) + data):
        box = (8 + len(body)).to_bytes(4, "big") + kind + body
        assert jxl_size(b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x09junk." + box) == size


def test_what_is_none_has_no_size():
    assert jxl_size(b"") is None and jxl_size(b"\0\0\0\x0cJXL \r\n\x87\n") is None
    assert jxl_size(b"\0\0\0\x0ajxlc\xff\x0a") == (1, 1)  # cut off: zeros


def test_a_jpeg_xl_file_is_refused_before_it_is_decoded(monkeypatch):
    plugin = pytest.importorskip("pillow_jxl.JpegXLImagePlugin")
    buffer = io.BytesIO()
    Image.new("L", (300, 200)).save(buffer, "JXL", effort=1)
    monkeypatch.setattr(plugin, "Decoder", None)
    with pytest.raises(TooLargeError, match="300 x 200 pixels"):
        load_image(buffer, max_pixels=1000)
    with pytest.raises(ImageError, match="a damaged JPEG XL file"):
        load_image(io.BytesIO(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60)))


def test_boxes_of_every_kind_of_length():
    data = b"\0\0\0\x0aaaaaxy" + b"\0\0\0\1bbbb" + (18).to_bytes(8, "big") + b"zw" + b"\0\0\0\0ccccrest"
    assert list(boxes(data)) == [(b"aaaa", b"xy"), (b"bbbb", b"zw"), (b"cccc", b"rest")]
    assert list(boxes(b"\0\0\0\3dddd")) == [(b"dddd", b"")]
