import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from leechcodec.codec import api
from leechcodec.errors import CorruptError, ImageError
from leechcodec.formats.container import Chunk, ChunkKind, read_file
from leechcodec.formats.images import encode_image, load_image
from leechcodec.formats.png import SIGNATURE
from leechcodec.formats.side_data import SideData, flattened, separate
from leechcodec.testing.files import without

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(mode: str = "RGBA", size: tuple[int, int] = (40, 30)) -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 4), dtype=np.uint8), "RGBA")
    return coarse.resize(size, Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_lossless(tiny_folder, mode):
    image = picture("RGBA").convert(mode)
    if mode == "PA":  # older Pillows lose the transparency on the way to it
        image.putalpha(picture("RGBA").getchannel("A"))
    decoded = api.decompress(api.compress(image, quality=20, model=tiny_folder), model=tiny_folder)
    assert decoded.mode == "RGBA"
    assert np.array_equal(decoded.getchannel("A"), image.convert("RGBA").getchannel("A"))


def test_an_opaque_alpha_channel_costs_nothing(tiny_folder):
    image = picture("RGB")
    plain = api.compress(image, model=tiny_folder)
    image.putalpha(255)
    assert api.compress(image, model=tiny_folder) == plain
    assert api.decompress(plain, model=tiny_folder).mode == "RGB"


def test_metadata_survives_and_strips(tiny_folder):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image = picture("RGB")
    kept = {"icc_profile": SRGB, "exif": exif.tobytes(), "xmp": b"<x:xmpmeta/>"}
    image.info.update(kept)
    decoded = api.decompress(api.compress(image, model=tiny_folder), model=tiny_folder)
    assert {name: decoded.info[name] for name in kept} == kept
    stripped = api.compress(image, metadata=False, model=tiny_folder)
    assert not api.decompress(stripped, model=tiny_folder).info


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_metadata_reaches_the_decoded_file(suffix):
    image = picture("RGB")
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image.info.update({"icc_profile": SRGB, "exif": exif.tobytes(), "xmp": b"<x:xmpmeta/>"})
    again = Image.open(io.BytesIO(encode_image(image, suffix)))
    assert again.info["icc_profile"] == SRGB
    assert again.getexif()[0x010F] == "Maker"
    assert b"xmpmeta" in again.info["xmp"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "I;16"])
def test_a_picture_without_colours_comes_back_without(tiny_folder, mode):
    grey = picture("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = grey.convert(mode)
    data = without(api.compress(image, quality=60, model=tiny_folder))
    decoded = np.asarray(api.decompress(data, model=tiny_folder).convert("RGB"))
    assert (decoded == decoded[..., :1]).all()
    assert ChunkKind.GREY in {chunk.kind for chunk in read_file(data)[1]}
    tokens = api.detokenize(api.read_tokens(data, model=tiny_folder), model=tiny_folder)
    channels = np.asarray(tokens).astype(float)
    assert np.array_equal(decoded[..., 0], np.round(channels.mean(-1)))
    coloured = api.decompress(without(data, ChunkKind.GREY), model=tiny_folder)
    assert (np.asarray(coloured.convert("RGB")) != decoded).any()


def test_a_picture_with_one_coloured_pixel_has_colours(tiny_folder):
    image = picture("L").convert("RGB")
    image.putpixel((3, 4), (80, 80, 81))
    _, chunks = read_file(api.compress(image, model=tiny_folder))
    assert ChunkKind.GREY not in {chunk.kind for chunk in chunks}


def test_transparency_is_laid_on_white_where_a_format_has_none():
    with pytest.warns(UserWarning, match="white"):
        assert Image.open(io.BytesIO(encode_image(picture(), ".jpg"))).mode == "RGB"
    assert Image.open(io.BytesIO(encode_image(picture(), ".png"))).mode == "RGBA"


def test_orientation_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture("RGB")
    image.save(tmp_path / "turned.jpg", exif=exif)
    upright, extras = separate(load_image(tmp_path / "turned.jpg"))
    assert upright.size == (30, 40)
    kept = Image.Exif()
    kept.load(extras.metadata.get("exif", b""))
    assert kept[0x0112] == 1


def test_a_profile_of_another_colour_space_is_used_up():
    grey = picture("L")
    grey.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    with pytest.warns(UserWarning, match="profile"):
        colours, extras = separate(grey)
    assert not extras.metadata and colours.size == grey.size


def test_what_tokens_alone_can_hold_is_flat_and_srgb():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.info["icc_profile"] = SRGB
    with pytest.warns(UserWarning, match="white"):
        flat = flattened(image)
    assert flat.mode == "RGB" and flat.getpixel((0, 0)) == (255, 255, 255)
    grey = picture("L")
    assert flattened(grey).size == grey.size and flattened(grey).mode == "RGB"
    coloured = picture("RGB")
    coloured.info["icc_profile"] = SRGB
    assert np.abs(np.asarray(flattened(coloured)).astype(int) - np.asarray(picture("RGB"))).max() <= 1


def of_four_bits(size):
    """A grey PNG of four bits a pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((1 + -(-size[0] // 2)) * size[1] * b"\0")
    header = struct.pack(">IIBBBBB", *size, 4, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_grey_chunk_is_empty():
    assert SideData.of_chunks([Chunk(ChunkKind.GREY, b"")]).grey
    with pytest.raises(CorruptError, match="grey chunk is not empty"):
        SideData.of_chunks([Chunk(ChunkKind.GREY, b"1")])


def test_damaged_alpha_is_a_typed_error():
    image = picture("RGB")
    small = io.BytesIO()
    picture("L", (5, 5)).save(small, "PNG")
    for payload in (
        b"",
        b"text",
        small.getvalue(),
        encode_image(image, ".png"),
        encode_image(picture("L"), ".png")[:60],
        of_four_bits(picture("RGB").size),
    ):
        with pytest.raises(CorruptError, match="alpha"):
            SideData.of_chunks([Chunk(ChunkKind.ALPHA, payload)]).add_to(image.copy())


def test_modes_without_colours_are_refused(tiny_folder):
    with pytest.raises(ImageError, match="floating-point"):
        api.compress(Image.new("F", (3, 3)), model=tiny_folder)


def test_pillow_s_limit_is_not_that_of_an_alpha_channel(tiny_folder, monkeypatch):
    data = api.compress(picture(), quality=20, model=tiny_folder)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert api.decompress(data, model=tiny_folder).mode == "RGBA"
