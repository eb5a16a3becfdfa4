"""Rows 3 and n1: EXIF, XMP and what else lies beside a picture."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import leechcodec.pillow  # noqa: F401 (registers .lq)
from leechcodec.codec import api
from leechcodec.errors import ImageError
from leechcodec.formats import exif, xmp
from leechcodec.formats import jpeg as jpeg_layout
from leechcodec.formats.images import apply_orientation, load_image
from leechcodec.formats.side_data import separate
from leechcodec.formats.writing import encode_image
from tests.inputs import make

LYING, STANDING = (96, 64), (64, 96)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:Rating="5"%s/></x:xmpmeta>'
FORMATS = (".png", ".jpg", ".webp", ".tif", ".avif", ".mpo", ".pdf", ".bmp", ".gif")


def jpeg(data=None, *segments, packet=None):
    """A JPEG file that lies on its side, with EXIF data, an XMP packet, other segments."""
    first = [] if data is None else [make.app(1, data)]
    second = [] if packet is None else [make.app(1, b"http://ns.adobe.com/xap/1.0/\0" + packet)]
    return make.jpeg_with(make.jpeg(make.half_dark()), *first, *second, *segments)


def png(*before, after=()):
    return make.png(make.half_dark(), 8, 2, before, after)


def exif_png(data):
    return png(after=[make.chunk(b"eXIf", data.removeprefix(exif.PREFIX))])


def damaged(kind, order="<"):
    """EXIF data of orientation 6 with something else wrong."""
    data = bytearray(make.camera_exif(6, order=order))
    model = bytes(data).index(struct.pack(order + "HHI", 0x0110, 2, 8))
    sub = bytes(data).index(struct.pack(order + "HHI", 0x8769, 4, 1))
    if kind == "points outside":
        data[model + 8 : model + 12] = struct.pack(order + "I", 0x00F00000)
    elif kind == "huge count":
        data[model + 4 : model + 8] = struct.pack(order + "I", 0x7FFFFFFF)
    elif kind == "unknown type":
        data[model + 2 : model + 4] = struct.pack(order + "H", 99)
    elif kind == "directory outside":
        data[sub + 8 : sub + 12] = struct.pack(order + "I", 0x7FFFFFFF)
    elif kind == "cut":
        del data[6 + 8 + 2 + 12 * 8 + 4 :]
    elif kind == "cut within":
        del data[6 + 8 + 2 + 12 * 4 :]
    elif kind == "loop":
        data[sub + 8 : sub + 12] = struct.pack(order + "I", 8)
    elif kind == "text":
        return make.exif([(0x0112, 3, 6), (0x011A, 2, "seventy-two"), (0x0128, 3, 2)], order=order)
    return bytes(data)


KINDS = ("points outside", "huge count", "unknown type", "directory outside", "cut", "cut within", "loop", "text")


@pytest.mark.parametrize("order", ["<", pytest.param(">", marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", [jpeg, pytest.param(exif_png, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_3a_3b_3h_orientation_whatever_else_is_broken(kind, form, order, encoded, run):
    data = damaged(kind, order)
    found = encoded(form(data), "x.jpg")
    assert found.size == STANDING and exif.orientation(found.exif) == 1
    assert exif.upright(data).removeprefix(exif.PREFIX) == found.exif.removeprefix(exif.PREFIX)
    dark = np.asarray(apply_orientation(Image.open(io.BytesIO(form(data)))))
    assert dark[:32].mean() < 60 < dark[-32:].mean()  # the left third is on top
    for suffix in FORMATS:
        target = found.path.with_suffix(suffix)
        run("decode", found.path, "-o", target, "-f")
        if suffix != ".pdf":
            assert Image.open(target).size == STANDING


@pytest.mark.parametrize("orientation", [1, 6])
def test_3c_thumbnail_and_maker_note_are_kept(orientation, encoded):
    maker, thumbnail = b"MAKER\0" + bytes(range(256)), make.tiny_jpeg()
    data = make.camera_exif(orientation, maker=maker, thumbnail=thumbnail)
    found = encoded(jpeg(data), "x.jpg")
    assert not found.warnings and len(found.exif) == len(data)
    assert maker in found.exif and thumbnail in found.exif
    image = Image.open(io.BytesIO(encode_image(api_image(found), ".jpg")))
    assert maker in image.info["exif"] and image.getexif()[0x0112] == 1


def api_image(found):
    image = Image.new("RGB", found.size)
    image.info.update(found.extras.metadata)
    return image


@pytest.mark.parametrize("kind", ["exif", "EXIF", "APP1", "app1"])
@pytest.mark.parametrize("where", ["zTXt", "tEXt", "behind"])
def test_3d_3e_exif_in_png_text_is_applied_and_kept(kind, where, encoded):
    chunk = make.raw_profile(kind, make.camera_exif(6))
    if where == "tEXt":
        name, packed = chunk[8:-4].split(b"\0\0", 1)
        chunk = make.chunk(b"tEXt", name + b"\0" + zlib.decompress(packed))
    found = encoded(png(after=[chunk]) if where == "behind" else png(chunk))
    assert found.size == STANDING and exif.orientation(found.exif) == 1 and b"Model 1" in found.exif
    assert not found.warnings


@pytest.mark.parametrize("kind", ["xmp", "APP1"])
def test_3e_xmp_in_png_text_is_kept(kind, encoded):
    packet = XMP % b' tiff:Orientation="6"'
    prefix = b"http://ns.adobe.com/xap/1.0/\0" if kind == "APP1" else b""
    found = encoded(png(make.raw_profile(kind, prefix + packet)))
    assert found.xmp == packet.replace(b'"6"', b'"1"') and found.size == STANDING


def test_3e_a_profile_in_png_text_is_kept(encoded):
    assert encoded(png(make.raw_profile("icc", make.rgb_profile()))).icc == make.rgb_profile()


@pytest.mark.parametrize("text", ["", "exif", "exif\n99\nzz", "exif\n  -3\n00", "exif\n 5\n123"])
def test_3e_broken_text_is_passed_over(text, encoded):
    chunk = make.chunk(b"tEXt", b"Raw profile type exif\0" + text.encode())
    assert encoded(png(chunk)).size in (LYING, STANDING)


def tiff(**more):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x010F], tags[0x0110], tags[0x0112], tags[0x013B] = "Maker", "Model 1", 6, "Artist"
    tags[0x010E], tags[0x8298] = "A view", "Someone"
    return make.save(Image.fromarray(make.half_dark()), "TIFF", tiffinfo=tags, **more)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw"])
def test_3f_tags_of_a_tiff_are_kept_as_exif(compression, encoded, run):
    found = encoded(tiff(compression=compression, dpi=(300, 300)), "x.tif")
    kept = Image.Exif()
    kept.load(found.exif)
    assert found.size == STANDING and kept.get(0x0112, 1) == 1
    assert (kept[0x010F], kept[0x0110], kept[0x013B], kept[0x010E]) == ("Maker", "Model 1", "Artist", "A view")
    assert exif.resolution(found.exif) == (300, 300)
    run("decode", found.path, "-o", found.path.with_name("back.tif"))
    back = Image.open(found.path.with_name("back.tif"))
    assert back.size == STANDING and back.tag_v2[0x013B] == "Artist"


@pytest.mark.parametrize(
    "tag, said, size",
    [
        (1, b' tiff:Orientation="6"', LYING),
        (6, b" tiff:Orientation='6'", STANDING),
        (None, b' tiff:Orientation="6"', STANDING),
    ],
)
def test_3f_the_tag_of_a_tiff_rules_over_its_xmp(tag, said, size, encoded):
    tags = Image.Exif()
    tags[0x010F], tags[700] = "Maker", XMP % said
    if tag is not None:
        tags[0x0112] = tag
    found = encoded(make.save(Image.fromarray(make.half_dark()), "TIFF", exif=tags), "x.tif")
    assert found.size == size and b"6" not in found.xmp.partition(b"Orientation")[2][:4]


def test_3f_jpeg_xl_stands_as_its_own_orientation_says(encoded):
    pytest.importorskip("pillow_jxl")
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "Maker"
    found = encoded(make.save(Image.fromarray(make.half_dark()), "JXL", exif=tags.tobytes(), effort=1), "x.jxl")
    assert found.size == LYING and exif.orientation(found.exif) == 1 and b"Maker" in found.exif


def test_3f_xmp_of_jpeg_xl_is_kept(encoded):
    pytest.importorskip("pillow_jxl")
    packet = XMP % b' tiff:Orientation="6"'
    data = make.save(Image.fromarray(make.half_dark()), "JXL", use_container=True, effort=1)
    box = struct.pack(">I4s", 8 + len(packet), b"xml ") + packet
    found = encoded(data + box, "x.jxl")
    assert found.size == LYING and found.xmp == packet.replace(b'"6"', b'"1"') and not found.warnings
    found = encoded(data + struct.pack(">I4s4s", 20, b"brob", b"Exif") + bytes(8), "y.jxl")
    assert "compressed EXIF" in found.warnings[0]


def test_3f_exif_that_speaks_of_a_size_does_not_spoil_a_tiff():
    image = Image.new("RGB", (30, 20))
    image.info["exif"] = make.exif([(0x0100, 4, 96), (0x0101, 4, 64), (0x0103, 3, 7), (0x010F, 2, "Maker")])
    image.info["xmp"] = XMP % b""
    back = Image.open(io.BytesIO(encode_image(image, ".tif")))
    back.load()
    assert back.size == (30, 20) and back.tag_v2[0x010F] == "Maker" and back.info["xmp"] == XMP % b""


@pytest.mark.parametrize("form", [jpeg, exif_png])
def test_3g_3i_exif_that_is_none_is_told_and_stops_nothing(form, encoded, run):
    found = encoded(form(exif.PREFIX + bytes(range(7, 107))), "x.jpg")
    assert len(found.warnings) == 1 and "EXIF" in found.warnings[0] and found.size == LYING
    for suffix in FORMATS:
        result = run("decode", found.path, "-o", found.path.with_suffix(suffix), "-f")
        assert "EXIF" in result.stderr and "left out" in result.stderr
        assert found.path.with_suffix(suffix).stat().st_size > 100


@pytest.mark.parametrize("form", [jpeg, exif_png])
def test_3i_the_api_warns_alike(form, tiny_folder):
    image = Image.open(io.BytesIO(form(exif.PREFIX + bytes(range(7, 107)))))
    with pytest.warns(UserWarning, match="EXIF"):
        api.compress(image, model=tiny_folder)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", FORMATS)
def test_3j_exif_of_80_kb_is_left_out_where_it_does_not_fit(suffix, orientation, encoded, run):
    data = make.camera_exif(orientation, maker=make.noise(80_000), prefix=b"")
    found = encoded(exif_png(data))
    assert len(found.exif) > 80_000
    result = run("decode", found.path, "-o", found.path.with_suffix(suffix))
    written = found.path.with_suffix(suffix).read_bytes()
    held = make.noise(80_000) in written
    assert held == (suffix in (".png", ".webp", ".tif", ".avif")) and ("EXIF" in result.stderr) != held


@pytest.mark.parametrize("suffix", FORMATS)
def test_3l_xmp_of_70_kb_is_left_out_where_it_does_not_fit(suffix, encoded, run):
    packet = XMP % (b' xmp:Label="' + make.noise(36_000).hex().encode() + b'"')
    chunk = make.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet))
    found = encoded(png(chunk))
    assert found.xmp == packet
    result = run("decode", found.path, "-o", found.path.with_suffix(suffix))
    assert ("XMP" in result.stderr) == (packet not in found.path.with_suffix(suffix).read_bytes() and suffix != ".png")


def test_3k_decode_strip(encoded, run):
    image = Image.fromarray(np.dstack([make.photo(), make.ramp_alpha()]))
    data = make.save(image, "WEBP", lossless=True, exif=make.camera_exif(1), icc_profile=make.rgb_profile(swap=True))
    found = encoded(data, "x.webp")
    target = found.path.with_name("y.png")
    run("decode", found.path, "-o", target, "--strip")
    bare = Image.open(target)
    bare.load()
    assert not {"icc_profile", "exif", "xmp"} & set(bare.info) and bare.mode == "RGBA"
    run("decode", found.path, "-o", target, "-f")
    kept = Image.open(target)
    assert kept.info["icc_profile"] == make.rgb_profile(swap=True)
    means = [np.asarray(each.convert("RGB")).mean((0, 1)) for each in (bare, kept)]
    assert np.abs(means[0] - means[1][::-1]).max() < 12  # colours converted


def test_3m_what_is_not_kept_is_named(encoded):
    iptc = make.app(13, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", 14) + b"\x1c\x02\x78\0\x09a caption")
    comment = b"\xff\xfe" + struct.pack(">H", 9) + b"comment"
    (warning,) = encoded(jpeg(None, iptc, comment), "x.jpg").warnings
    assert "IPTC" in warning and "comment" in warning
    (warning,) = encoded(jpeg(None, comment), "x.jpg").warnings
    assert "IPTC" not in warning
    (warning,) = encoded(png(make.chunk(b"tEXt", b"Author\0me"), make.raw_profile("iptc", b"caption"))).warnings
    assert "Author" in warning and "IPTC" in warning
    gif = make.save(Image.fromarray(make.photo()).quantize(), "GIF", comment=b"hello")
    assert "comment" in encoded(gif, "x.gif").warnings[0]
    assert not encoded(png(make.chunk(b"tEXt", b"Software\0tool"))).warnings


@pytest.mark.parametrize("form", ["png", "jpeg", "jpeg cm", "tiff", "bmp", "jpeg exif"])
def test_3m_a_resolution_is_kept(form, encoded, run):
    image = Image.fromarray(make.photo())
    data = {
        "png": lambda: png(make.chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))),
        "jpeg": lambda: make.save(image, "JPEG", dpi=(300, 300)),
        "jpeg cm": lambda: make.save(image, "JPEG", dpi=(300, 300)).replace(b"\1\1,\1,", b"\2\0\x76\0\x76"),
        "tiff": lambda: make.save(image, "TIFF", dpi=(300, 300)),
        "bmp": lambda: make.save(image, "BMP", dpi=(300, 300)),
        "jpeg exif": lambda: make.save(image, "JPEG", dpi=(300, 300), exif=make.exif([(0x010F, 2, "Maker")])),
    }[form]()
    found = encoded(data, "x.bin")
    assert not found.warnings and exif.resolution(found.exif) == pytest.approx((300, 300), abs=0.5)
    for suffix in (".png", ".jpg", ".bmp", ".tif"):
        run("decode", found.path, "-o", found.path.with_suffix(suffix), "-f")
        back = Image.open(found.path.with_suffix(suffix))
        assert tuple(map(float, back.info["dpi"])) == pytest.approx((300, 300), abs=0.6)
    if form == "jpeg exif":
        assert load_image(found.path.with_suffix(".jpg")).getexif()[0x010F] == "Maker"


def test_3m_a_screens_resolution_is_none(encoded):
    for dots in (72, 96):
        assert encoded(make.save(Image.fromarray(make.photo()), "JPEG", dpi=(dots, dots)), "x.jpg").exif is None


def test_3n_no_reference_to_a_second_part_of_xmp(encoded):
    packet = XMP % (b' xmpNote:HasExtendedXMP="' + b"A" * 32 + b'"')
    extended = b"A" * 32 + struct.pack(">II", 12, 0) + b"<x>more</x> "
    second = make.app(1, b"http://ns.adobe.com/xmp/extension/\0" + extended)
    for segments in ((second,), ()):
        found = encoded(jpeg(None, *segments, packet=packet), "x.jpg")
        assert found.xmp == XMP % b"" and "XMP" in found.warnings[0]
    element = b"<a><xmpNote:HasExtendedXMP>AA</xmpNote:HasExtendedXMP></a>"
    assert xmp.without_extension(element) == b"<a></a>"


def test_an_orientation_that_is_a_fraction_neither_turns_nor_stays_behind(encoded):
    """Pillow takes 6/1 for 6; a reader that keeps to EXIF sees none, and it cannot be set to 1 where it stands."""
    found = encoded(jpeg(make.exif([(0x0112, 5, [(6, 1)])])), "x.jpg")
    assert found.size == make.photo().shape[1::-1]


def test_3o_text_for_xmp_is_kept(tiny_folder, tmp_path):
    image, packet = Image.fromarray(make.photo()), "<x>é</x>"
    image.save(tmp_path / "x.lq", xmp=packet, model=tiny_folder)
    assert Image.open(tmp_path / "x.lq").info["xmp"] == packet.encode()
    image.info["xmp"] = packet
    assert api.decompress(api.compress(image, model=tiny_folder), model=tiny_folder).info["xmp"] == packet.encode()
    image.save(tmp_path / "x.lq", model=tiny_folder)
    assert Image.open(tmp_path / "x.lq").info["xmp"] == packet.encode()


@pytest.mark.parametrize("name", ["exif", "icc_profile"])
@pytest.mark.parametrize("value", ["text", 5, ["a", "b"]])
def test_3o_other_metadata_that_are_no_bytes_are_refused_by_name(name, value, tiny_folder, tmp_path):
    image = Image.fromarray(make.photo())
    with pytest.raises(OSError, match=name):
        image.save(tmp_path / "x.lq", model=tiny_folder, **{name: value})
    image.info[name] = value
    with pytest.raises(ImageError, match=name):
        api.compress(image, model=tiny_folder)


def test_3o_bytes_of_other_kinds_are_kept(tiny_folder):
    image = Image.fromarray(make.photo())
    image.info.update(xmp=bytearray(b"<x/>"), exif=memoryview(make.camera_exif(1)))
    found = api.decompress(api.compress(image, model=tiny_folder), model=tiny_folder).info
    assert found["xmp"] == b"<x/>" and found["exif"] == make.camera_exif(1)
    image.info["exif"] = Image.Exif()
    image.info["exif"][0x010F] = "Maker"
    assert b"Maker" in api.decompress(api.compress(image, model=tiny_folder), model=tiny_folder).info["exif"]


# --- n1. second pictures ------------------------------------------------------------

GAIN = b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + make.noise(3000)


def test_n1_a_gain_map(encoded):
    gain = make.jpeg(make.photo(48, 32, 4)[..., 0])
    data = make.mpf(jpeg(packet=XMP % GAIN), [gain])
    found = encoded(data, "x.jpg")
    assert "gain map" in found.warnings[0] and found.xmp == XMP % b""
    found = encoded(jpeg(packet=XMP % GAIN) + gain, "x.jpg")
    assert "gain map" in found.warnings[0] and b"hdrgm" not in found.xmp
    found = encoded(jpeg(packet=XMP % GAIN), "x.jpg")  # promised, and not there
    assert found.warnings and b"hdrgm" not in found.xmp


def test_n1_a_second_view_and_previews(encoded):
    stereo = make.mpf(make.jpeg(make.photo()), [make.jpeg(make.photo(seed=8))])
    assert "second picture" in encoded(stereo, "x.mpo").warnings[0]
    preview = bytearray(stereo)
    entry = stereo.index(b"MPF\0") + 4 + 8 + 2 + 36 + 4 + 16
    preview[entry : entry + 4] = struct.pack("<I", 0x010001)
    assert not encoded(bytes(preview), "x.mpo").warnings
    found = encoded(stereo + VIDEO, "x.mpo").warnings[0]
    assert "second picture" in found and "video" in found


def test_n1_no_more_pictures_are_searched_for_than_cameras_write():
    """A segment of 64 kB could name four thousand, each as large as the file."""
    assert len(jpeg_layout.layout(make.mpf(make.jpeg(make.photo()), [b"x" * 40] * 500)).others) == 31


def test_n1_a_video_behind_the_picture(encoded):
    found = encoded(jpeg(packet=XMP % b' GCamera:MotionPhoto="1"') + VIDEO, "x.jpg")
    assert "video" in found.warnings[0] and b"MotionPhoto" not in found.xmp
    assert "video" in encoded(png() + VIDEO).warnings[0]
    assert not encoded(jpeg() + bytes(4096), "x.jpg").warnings  # padding
    assert re.search("1,000 bytes behind", encoded(jpeg() + make.noise(1000), "x.jpg").warnings[0])


def test_separate_leaves_nothing_in_the_colours():
    image = load_image(io.BytesIO(jpeg(make.camera_exif(6))))
    colours, extras = separate(image)
    assert not colours.info and extras.metadata


@pytest.mark.parametrize("suffix", [".jpg", ".mpo"])
def test_3_exif_without_a_prefix_reaches_a_jpeg(suffix):
    """As WebP hands it over."""
    image = Image.fromarray(make.half_dark())
    image.info["exif"] = make.camera_exif(1).removeprefix(exif.PREFIX)
    back = Image.open(io.BytesIO(encode_image(image, suffix)))
    assert back.info["exif"].startswith(exif.PREFIX) and back.getexif()[0x0110]
