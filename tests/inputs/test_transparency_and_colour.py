"""Rows 1 and 2: the alpha chunk, transparent colours, profiles and the numbers that stand for one."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from leechcodec.apps.serve.work import read_photograph
from leechcodec.codec import api
from leechcodec.errors import CorruptError, ImageError
from leechcodec.formats import colour, png
from leechcodec.formats.container import ChunkKind, read_file
from leechcodec.formats.images import apply_orientation, load_image, to_rgb
from leechcodec.formats.side_data import SideData, as_coded, comparable, flattened, separate
from leechcodec.lab.metrics import psnr
from leechcodec.testing.files import without
from tests.inputs import make


def opened(data):
    return load_image(io.BytesIO(data))


def alpha_of(image):
    with_alpha = SideData(separate(image)[1].alpha, {}).add_to(Image.new("RGB", image.size))
    return np.asarray(with_alpha.convert("RGBA").getchannel("A"))


def kinds(data):
    return [chunk.kind for chunk in png.chunks(data)]


def rgba(*before):
    return make.png(np.dstack([make.photo(), make.ramp_alpha()]), 8, 6, before)


# --- 1. side data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strip", [(), ("--strip",)])
def test_1a_1b_the_alpha_chunk_is_a_bare_png(encoded, strip):
    found = encoded(rgba(make.chunk(b"tEXt", b"Comment\0private"), make.iccp(make.rgb_profile())), "a.png", *strip)
    assert kinds(found.chunks["ALPHA"]) == [b"IHDR", b"IDAT", b"IEND"]
    assert (found.icc is None) == bool(strip)
    assert np.array_equal(np.asarray(found.alpha), make.ramp_alpha())


def test_1c_a_large_profile_is_kept_once(encoded, run, tmp_path):
    profile = make.padded_profile(1_100_000)
    image = Image.fromarray(np.dstack([make.photo(), make.ramp_alpha()]))
    data = make.save(image, "WEBP", lossless=True, method=0, icc_profile=profile)
    found = encoded(data, "a.webp", "--verify")
    assert found.icc == profile and len(found.path.read_bytes()) < 1_200_000
    run("decode", found.path, "-o", tmp_path / "back.webp")
    assert Image.open(tmp_path / "back.webp").info["icc_profile"] == profile
    found = encoded(data, "a.webp", "--strip")
    assert found.icc is None and len(found.path.read_bytes()) < 100_000


def test_1c_a_png_with_a_profile_that_pillow_does_not_unpack_is_read(encoded):
    profile = make.padded_profile(1_100_000)
    assert encoded(rgba(make.iccp(profile))).icc == profile


def test_1c_files_made_before_decode(tiny_folder):
    image = Image.fromarray(np.dstack([make.photo(), make.ramp_alpha()]))
    stuffed = make.png(make.ramp_alpha(), 8, 0, [make.iccp(make.padded_profile(1_100_000))])
    found = SideData(stuffed, {}).add_to(image.convert("RGB"))
    assert np.array_equal(np.asarray(found.getchannel("A")), make.ramp_alpha())


@pytest.mark.parametrize("spoil", ["alpha", "icc", "exif", "lost"])
def test_1d_verify_compares_alpha_and_metadata(tiny_folder, monkeypatch, spoil):
    image = Image.fromarray(np.dstack([make.photo(), make.ramp_alpha()]))
    image.info.update(icc_profile=make.rgb_profile(), exif=make.camera_exif(1))
    api.compress(image, verify=True, model=tiny_folder)

    def spoiled(self):
        alpha = make.png(255 - make.ramp_alpha(), 8, 0) if spoil == "alpha" else self.alpha
        changed = {"icc": "icc_profile", "exif": "exif"}.get(spoil)
        kept = {name: value[:-1] if name == changed else value for name, value in self.metadata.items()}
        return chunks(SideData(None if spoil == "lost" else alpha, kept, self.grey))

    chunks = SideData.chunks
    monkeypatch.setattr(SideData, "chunks", spoiled)
    with pytest.raises(CorruptError, match="decode"):
        api.compress(image, verify=True, model=tiny_folder)


# --- 2. modes and colour ----------------------------------------------------------------------------------------------


def steps(depth):
    top = 2**depth - 1
    return (np.add.outer(np.arange(64) // 8, np.arange(96) // 8) % (top + 1)).astype(np.uint16)


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_2a_a_transparent_grey_of_every_depth(depth, loaded):
    samples = steps(depth)
    for key in {0, 1, 2**depth - 1}:
        image = Image.open(io.BytesIO(make.png(samples, depth, 0, [make.chunk(b"tRNS", struct.pack(">H", key))])))
        if loaded:
            image.load()
        assert np.array_equal(alpha_of(apply_orientation(image)), np.where(samples == key, 0, 255))


@pytest.mark.parametrize("key", [1, 3, 15])
def test_2a_a_transparent_grey_of_8_bits_that_no_pixel_has(key):
    """Where all others might be of 2 or 4 bits, scaled."""
    image = opened(make.png(255 * steps(1), 8, 0, [make.chunk(b"tRNS", struct.pack(">H", key))]))
    assert (alpha_of(image) == 255).all()


def test_2b_a_transparent_grey_of_16_bits():
    deep = make.grey16()
    deep[:, :24] = 0x1234
    deep[:, 24:26] = 0x1235
    image = opened(make.png(deep, 16, 0, [make.chunk(b"tRNS", struct.pack(">H", 0x1234))]))
    colours, extras = separate(image)
    assert np.array_equal(alpha_of(image), np.where(deep == 0x1234, 0, 255)) and extras.grey
    assert np.array_equal(np.asarray(to_rgb(colours))[..., 0], (deep / 257).round())


@pytest.mark.parametrize("key", [(0x0A40, 0x0A40, 0x0A40), (0x0A0A, 0x1414, 0x1E1E), (0x000A, 0x0014, 0x001E)])
def test_2c_a_transparent_colour_of_16_bits(key, tmp_path):
    pixels = make.photo().astype(np.uint16) * 257
    pixels[:, :24] = key
    pixels[:, 24:30] = np.array(key) ^ 1  # the other by one of 65,536
    pixels[:, 30:36] = np.array(key) ^ 0x100
    data = make.png(pixels, 16, 2, [make.chunk(b"tRNS", struct.pack(">3H", *key))])
    wanted = np.where((pixels == key).all(-1), 0, 255)
    assert np.array_equal(alpha_of(opened(data)), wanted)
    (tmp_path / "x.png").write_bytes(data)
    for source in (tmp_path / "x.png", io.BytesIO(data)):
        image = Image.open(source)
        assert np.array_equal(alpha_of(apply_orientation(image)), wanted)
        assert np.array_equal(alpha_of(apply_orientation(image)), wanted)  # loaded by now
    image = Image.open(tmp_path / "x.png")
    image.load()
    assert np.array_equal(alpha_of(apply_orientation(image)), wanted)


@pytest.mark.parametrize("kind", ["rgb", "grey", "palette", "grey16"])
def test_2d_an_alpha_channel_put_over_a_transparent_colour(kind, tiny_folder):
    key = make.chunk(b"tRNS", {"rgb": bytes(6), "palette": bytes(range(0, 256, 4))}.get(kind, bytes(2)))
    quantized = Image.fromarray(make.photo()).quantize(64)
    palette = make.chunk(b"PLTE", bytes(quantized.getpalette()[:192]))
    data = {
        "rgb": lambda: make.png(make.photo(), 8, 2, [key]),
        "grey": lambda: make.png(make.photo()[..., 0], 8, 0, [key]),
        "grey16": lambda: make.png(make.grey16(), 16, 0, [key]),
        "palette": lambda: make.png(np.asarray(quantized), 8, 3, [palette, key]),
    }[kind]()
    image = Image.open(io.BytesIO(data))
    if kind == "grey16":
        image = image.convert("L")
    image.putalpha(Image.new("L", image.size, 128))
    decoded = api.decompress(api.compress(image, model=tiny_folder), model=tiny_folder)
    assert decoded.getchannel("A").getextrema() == (128, 128)


@pytest.mark.parametrize("kind", ["alpha", "alpha16", "key", "key16", "rgba"])
def test_2e_a_grey_profile_and_transparency(kind):
    grey, profile = make.photo()[..., 1], make.iccp(make.grey_profile(1.0))
    plain = np.asarray(as_coded(opened(make.png(grey, 8, 0, [profile]))))
    assert plain.mean() > 185
    ramp = make.ramp_alpha()
    key = make.chunk(b"tRNS", struct.pack(">H", int(grey[0, 0]) * (257 if kind == "key16" else 1)))
    data = {
        "alpha": lambda: make.png(np.dstack([grey, ramp]), 8, 4, [profile]),
        "alpha16": lambda: make.png(np.dstack([grey, ramp]).astype(np.uint16) * 257, 16, 4, [profile]),
        "key": lambda: make.png(grey, 8, 0, [profile, key]),
        "key16": lambda: make.png(grey.astype(np.uint16) * 257, 16, 0, [profile, key]),
        "rgba": lambda: make.png(np.dstack([grey, grey, grey, ramp]), 8, 6, [profile]),
    }[kind]()
    colours, extras = separate(opened(data))
    assert extras.alpha and extras.grey and "icc_profile" not in extras.metadata
    assert np.abs(np.asarray(to_rgb(colours)).astype(int) - plain).max() <= 1


def palette_with(*before, colours=64):
    warm = make.photo()
    warm[..., 2] //= 3
    quantized = Image.fromarray(warm).quantize(colours)
    table = make.chunk(b"PLTE", bytes(quantized.getpalette()[: colours * 3]))
    first = [chunk for chunk in before if chunk[4:8] == b"iCCP"]
    later = [chunk for chunk in before if chunk[4:8] != b"iCCP"]
    return make.png(np.asarray(quantized), 8, 3, [*first, table, *later]), np.asarray(quantized.convert("RGB"))


@pytest.mark.parametrize("transparent", [False, True])
def test_2f_a_profile_on_a_palette(transparent, encoded, tmp_path):
    profile = make.iccp(make.rgb_profile(swap=True))
    key = [make.chunk(b"tRNS", bytes([0] * 4 + [255] * 60))] if transparent else []
    data, pixels = palette_with(profile, *key)
    wanted = np.asarray(flattened(opened(make.png(pixels, 8, 2, [profile]))))
    assert np.abs(wanted.mean((0, 1)) - pixels.mean((0, 1))[::-1]).max() < 8  # red and blue exchanged
    colours, extras = separate(opened(data), metadata=False)
    assert np.array_equal(np.asarray(to_rgb(colours)), wanted) and bool(extras.alpha) == transparent
    assert not encoded(data, "p.png", "--strip").warnings
    shown = np.asarray(read_photograph(data, 10**6)[0])
    flat = np.asarray(flattened(opened(data)))
    assert np.array_equal(shown, flat)
    opaque = alpha_of(opened(data)) == 255 if transparent else np.ones(wanted.shape[:2], bool)
    assert np.array_equal(flat[opaque], wanted[opaque]) and (flat[~opaque] == 255).all()


def test_2f_an_rgb_profile_on_grey_is_applied_when_stripped(encoded):
    data = make.png(make.photo()[..., 1], 8, 0, [make.iccp(make.rgb_profile(1.0))])
    assert encoded(data).icc and not encoded(data, "g.png", "--strip").warnings
    assert np.asarray(flattened(opened(data))).mean() > 180


@pytest.mark.parametrize("strip", [(), ("--strip",)])
@pytest.mark.parametrize("kind", ["grey", "swapped", "alpha", "gamma"])
def test_2g_compare_sees_the_picture_that_was_encoded(kind, strip, encoded, run):
    data = {
        "grey": lambda: make.png(make.photo()[..., 1], 8, 0, [make.iccp(make.grey_profile(1.0))]),
        "swapped": lambda: make.png(make.photo(), 8, 2, [make.iccp(make.rgb_profile(swap=True))]),
        "gamma": lambda: make.png(make.photo(), 8, 2, [make.gama(1.0)]),
        "alpha": lambda: make.png(
            np.dstack([make.photo()[..., 1], make.ramp_alpha()]), 8, 4, [make.iccp(make.grey_profile(1.0))]
        ),
    }[kind]()
    found = encoded(data, "x.png", *strip)
    original, lossless = opened(data), separate(opened(data), metadata=not strip)
    perfect = lossless[1].add_to(to_rgb(lossless[0]).copy())
    first, second = comparable(original, perfect)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(second)).max() <= 1
    run("decode", found.path, "-o", found.path.with_name("y.png"))
    row = json.loads(run("compare", found.path.with_name("x.png"), found.path.with_name("y.png"), "--json").stdout)[0]
    decoded = comparable(original, load_image(found.path.with_name("y.png")))
    assert row["psnr"] == pytest.approx(psnr(*map(np.asarray, decoded)), abs=1e-3)


def test_2g_eval_sees_the_picture_that_was_encoded(tmp_path):
    from leechcodec.lab.datasets import pixels_of

    path = tmp_path / "x.png"
    path.write_bytes(make.png(make.photo()[..., 1], 8, 0, [make.iccp(make.grey_profile(1.0))]))
    assert np.array_equal(np.asarray(pixels_of(path)), np.asarray(as_coded(load_image(path))))
    assert np.asarray(pixels_of(path)).mean() > 185


def cicp(*points):
    return make.chunk(b"cICP", bytes((*points, 0, 1)))


@pytest.mark.parametrize("mode", ["rgb", "grey", "rgba", "palette", "rgb16"])
def test_2h_a_gamma_is_honoured(mode):
    wanted = 255 * (make.photo() / 255.0) ** (1 / 2.2)
    if mode in ("grey", "rgba"):
        samples = make.photo()[..., 1] if mode == "grey" else np.dstack([make.photo(), make.ramp_alpha()])
        data = make.png(samples, 8, 0 if mode == "grey" else 6, [make.gama(1.0)])
        wanted = wanted[..., 1:2].repeat(3, 2) if mode == "grey" else wanted
    elif mode == "palette":
        data, pixels = palette_with()
        data = data.replace(make.SIGNATURE + data[8:33], make.SIGNATURE + data[8:33] + make.gama(1.0))
        wanted = 255 * (pixels / 255.0) ** (1 / 2.2)
    else:
        deep = mode == "rgb16"
        data = make.png(make.photo().astype(np.uint16) * (257 if deep else 1), 16 if deep else 8, 2, [make.gama(1.0)])
    colours, _ = separate(opened(data), metadata=False)
    assert np.abs(np.asarray(to_rgb(colours)) - wanted).mean() < 4
    kept = separate(opened(data))[1].metadata["icc_profile"]
    assert colour.space_of(kept) == b"RGB " and not colour.is_damaged(kept)


def test_2h_chromaticities_and_code_points_say_the_same():
    pixels = make.photo()
    by_xy = opened(make.png(pixels, 8, 2, [make.gama(1 / 2.2), make.chrm(*make.P3_XY)]))
    by_points = opened(make.png(pixels, 8, 2, [cicp(12, 13)]))
    converted = [np.asarray(flattened(image)).astype(int) for image in (by_xy, by_points)]
    assert np.abs(converted[0] - converted[1]).mean() < 1.5
    assert 2 < np.abs(converted[1] - pixels).mean() < 20
    grey = np.repeat(pixels[..., :1], 3, 2)
    assert np.abs(np.asarray(flattened(opened(make.png(grey, 8, 2, [cicp(12, 13)])))).astype(int) - grey).max() <= 1


@pytest.mark.parametrize("before", [[make.gama(1 / 2.2)], [make.chunk(b"sRGB", b"\0"), make.gama(1.0)], [cicp(1, 13)]])
def test_2h_srgb_stays_as_it_is_silently(before, encoded):
    found = encoded(make.png(make.photo(), 8, 2, before))
    assert not found.warnings and found.icc is None


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("transfer", [16, 18])
def test_2h_hdr_is_told(depth, transfer, encoded):
    found = encoded(
        make.png(make.photo().astype(np.uint16) * (1 if depth == 8 else 257), depth, 2, [cicp(9, transfer)])
    )
    assert "HDR" in found.warnings[0] and bytes((9, transfer, 0, 1)) in found.icc
    bright = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    shown = colour.to_srgb(Image.fromarray(bright).convert("RGB"), found.icc)
    levels = np.asarray(shown)[..., 1].reshape(-1).astype(int)
    assert (np.diff(levels) >= 0).all() and levels[0] == 0 and levels[-1] >= 250


@pytest.mark.parametrize("chunk", [cicp(99, 13), cicp(1, 99), make.gama(30.0), make.chrm(*[0.0] * 8)])
def test_2h_numbers_that_name_no_colours_are_told(chunk, encoded):
    found = encoded(make.png(make.photo(), 8, 2, [chunk]))
    assert len(found.warnings) == 1 and found.icc is None


def test_2i_code_points_go_before_a_profile(encoded):
    found = encoded(make.png(make.photo(), 8, 2, [cicp(9, 16), make.iccp(make.rgb_profile())]))
    assert b"cicp" in found.icc and found.warnings
    assert encoded(make.png(make.photo(), 8, 2, [cicp(1, 13), make.iccp(make.rgb_profile(swap=True))])).icc is None


@pytest.mark.parametrize("low, high", [(0, 1_966_050_000), (-5, 200), (0, 65_536)])
def test_n2_integers_of_32_bits_are_refused(low, high, tiny_folder, run, tmp_path):
    values = np.linspace(low, high, 64 * 96).astype(np.int32).reshape(64, 96)
    with pytest.raises(ImageError, match="32 bits"):
        api.compress(Image.fromarray(values), model=tiny_folder)
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert "x.tif: " in run("encode", tmp_path / "x.tif", code=1).stderr
    assert "x.tif: " in run("tokenize", tmp_path / "x.tif", code=1).stderr


def test_n2_integers_of_16_bits_in_32_are_scaled():
    values = np.array([[0, 257, 65535]], dtype=np.int32)
    assert np.asarray(to_rgb(Image.fromarray(values)))[0, :, 0].tolist() == [0, 1, 255]


def test_n3_a_cut_profile_is_told(encoded):
    found = encoded(make.jpeg_with(make.jpeg(make.photo()), *make.icc_segments(make.rgb_profile()[:150])), "x.jpg")
    assert "profile" in found.warnings[0] and found.icc == make.rgb_profile()[:150]
    found = encoded(make.jpeg(make.photo(), icc_profile=make.rgb_profile()), "x.jpg")
    assert found.icc == make.rgb_profile() and not found.warnings


def test_alpha_costs_one_chunk(tiny_folder):
    data = api.compress(opened(rgba()), model=tiny_folder)
    assert [chunk.kind for chunk in read_file(without(data))[1]][1:] == [ChunkKind.ALPHA]
