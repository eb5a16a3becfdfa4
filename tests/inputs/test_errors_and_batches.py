"""Rows 6 to 9: what plugins read, typed errors, many files, poor results."""

import io
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import leechcodec.pillow  # noqa: F401 (registers .lq)
from leechcodec.apps.batch import coding
from leechcodec.apps.cli import main
from leechcodec.codec import api, batch, token_files
from leechcodec.errors import ImageError, LqError
from leechcodec.formats import plugins
from leechcodec.formats.images import load_image
from tests.inputs import make

HEADS = {
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08free",
    "heif": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0\0\0\x08free",
    "jxl": b"\xff\x0a" + bytes(30),
    "jxl container": b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl ",
}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(make.png(make.photo(), 8, 2))
    return path


# --- 6. ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["encode", "tokenize", "view"])
@pytest.mark.parametrize("kind", HEADS)
def test_6b_a_missing_package_is_named(kind, verb, run, tmp_path, monkeypatch):
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("HEIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, name, raising=False)
    path = tmp_path / "x.jpg"
    path.write_bytes(HEADS[kind])
    package = "pillow-heif" if kind.startswith("hei") else "pillow-jxl-plugin"
    message = run(verb, path, code=1).stderr
    assert "x.jpg: " in message and f"pip install {package}" in message and message.count("\n") == 1


def test_6b_writing_names_the_package_too(run, photo, tmp_path, monkeypatch):
    run("encode", photo)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for registry in (Image.OPEN, Image.SAVE):
        monkeypatch.delitem(registry, "HEIF", raising=False)
    assert "pip install pillow-heif" in run("decode", tmp_path / "a.lq", "-o", tmp_path / "a.heic", code=1).stderr


@pytest.mark.parametrize("module, suffix", [("pillow_heif", ".heic"), ("pillow_jxl", ".jxl")])
def test_6a_read_and_written_where_the_package_is(module, suffix, run, photo, tmp_path, encoded):
    pytest.importorskip(module)
    run("encode", photo)
    run("decode", tmp_path / "a.lq", "-o", tmp_path / f"a{suffix}")
    found = encoded((tmp_path / f"a{suffix}").read_bytes(), "b.bin")
    assert found.size == (96, 64)
    run("tokenize", tmp_path / f"a{suffix}")


# --- 7. ----------------------------------------------------------------------------------------------------


def closed():
    image = Image.open(io.BytesIO(make.png(make.photo(), 8, 2)))
    image.close()
    return image


def closed_below():
    buffer = io.BytesIO(make.png(make.photo(), 8, 2))
    image = Image.open(buffer)
    buffer.close()
    return image


def cut(data):
    return lambda: Image.open(io.BytesIO(data[: len(data) * 2 // 3]))


BAD = {
    "closed": closed,
    "closed file": closed_below,
    "jpeg": cut(make.jpeg(make.photo(200, 150))),
    "png": cut(make.png(make.photo(200, 150), 8, 2)),
    "tiff": cut(make.save(Image.fromarray(make.photo()), "TIFF")),
    "gif": cut(make.save(Image.fromarray(make.photo()), "GIF")),
    "webp": cut(make.save(Image.fromarray(make.photo()), "WEBP")),
}


@pytest.mark.parametrize("kind", BAD)
def test_7a_7b_a_bad_image_is_an_lqerror(kind, tiny_folder, tmp_path):
    calls = (api.compress, api.tokenize, lambda image, **how: api.compress_to(image, bpp=1, **how))
    for call in calls:
        try:
            image = BAD[kind]()
        except (OSError, SyntaxError):
            return  # Pillow refuses it itself
        with pytest.raises(LqError):
            call(image, model=tiny_folder)
    with pytest.raises((OSError, ValueError)):  # Pillow's own load comes first
        BAD[kind]().save(tmp_path / "x.lq", model=tiny_folder)
    assert not (tmp_path / "x.lq").exists()


WRONG = {
    "tokens": [
        lambda _: api.detokenize(5),
        lambda _: token_files.serialize_tokens(None),
        lambda _: token_files.tokens_to_indices(None),
        lambda _: api.write_tokens("x"),
    ],
    "data": [lambda _: token_files.deserialize_tokens(None), lambda _: token_files.deserialize_tokens("x")],
    "size": [
        lambda how: api.compress_to(picture(), size="100", **how),
        lambda how: token_files.deserialize_tokens(b"", size=5, quality=50),
    ],
    "psnr": [lambda how: api.compress_to(picture(), psnr="x", **how)],
    "bpp": [lambda how: api.compress_to(picture(), bpp="x", **how), lambda how: api.compress_to(picture(), bpp=[1])],
    "max_pixels": [
        lambda _: api.decompress(b"x", max_pixels="1"),
        lambda _: api.decompress_partial(b"x", max_pixels=()),
    ],
    "model": [
        lambda _: api.compress(picture(), model=5),
        lambda _: api.decompress(b"x", model=5),
        lambda _: token_files.vocabulary(model=b"x"),
        lambda _: list(batch.compress_many([picture()], model=5)),
    ],
    "progress": [
        lambda how: api.compress(picture(), progress=5, **how),
        lambda how: api.tokenize(picture(), progress=1),
    ],
    "workers": [
        lambda _: batch.compress_many([picture()], workers="2"),
        lambda _: batch.decompress_many([b""], workers=2.5),
    ],
    "shrink": [
        lambda _: api.decompress(b"x", shrink=2.0),
        lambda _: api.decompress(b"x", shrink=[2]),
        lambda _: batch.decompress_many([b""], shrink="2"),
    ],
    "images": [lambda _: batch.compress_many(5)],
    "indices": [lambda how: token_files.indices_to_tokens([[1, 2]], 8, 8, quality=50, **how)],
    "width": [lambda how: token_files.indices_to_tokens(np.zeros(3, int), "8", 8, quality=50, **how)],
    "quality": [
        lambda how: api.compress(picture(), quality="x", **how),
        lambda how: api.compress(picture(), quality=None),
    ],
    "effort": [lambda how: api.compress(picture(), effort=[1], **how), lambda how: api.compress(picture(), effort=1.5)],
}


def picture():
    return Image.fromarray(make.photo())


@pytest.mark.parametrize("name", WRONG)
def test_7c_wrong_types_name_their_argument(name, tiny_folder):
    for call in WRONG[name]:
        with pytest.raises((LqError, TypeError), match=name):
            call({"model": tiny_folder})


@pytest.mark.parametrize("name", ["size", "psnr", "bpp"])
def test_7c_numbers_that_are_none(name, tiny_folder):
    with pytest.raises(LqError):
        api.compress_to(picture(), model=tiny_folder, **{name: float("nan")})


@pytest.mark.parametrize(
    "options",
    [
        {"model": 5},
        {"model": "none"},
        {"size": "x"},
        {"icc_profile": "abc"},
        {"quality": 500},
        {"psnr": 200},
        {"effort": 0},
    ],
)
def test_7d_8e_a_failed_save_raises_oserror_and_spares_the_file(options, tiny_folder, tmp_path):
    for path in (tmp_path / "x.lq", str(tmp_path / "y.LQ"), os.fsencode(tmp_path / "z.lq")):
        name = os.fsdecode(path)
        with open(name, "wb") as file:
            file.write(b"old")
        with pytest.raises(OSError):
            picture().save(path, **{"model": tiny_folder, **options})
        with open(name, "rb") as file:
            assert file.read() == b"old"
        picture().save(path, "LQ", model=tiny_folder)
        assert Image.open(path).size == (96, 64)
    with pytest.raises(OSError):
        Image.new("F", (8, 8)).save(tmp_path / "new.lq", model=tiny_folder)
    assert not (tmp_path / "new.lq").exists()


def test_8e_other_formats_are_saved_as_before(tmp_path):
    picture().save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="unknown file extension"):
        picture().save(tmp_path / "x.unknown")
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    assert buffer.getvalue() == (tmp_path / "x.png").read_bytes()


@pytest.mark.parametrize("verb", ["encode", "tokenize"])
def test_7e_an_lq_file_is_one_already(run, photo, tmp_path, verb):
    run("encode", photo)
    shutil.copy(tmp_path / "a.lq", tmp_path / "fake.png")
    if verb == "encode":
        for name in ("a.lq", "fake.png"):
            message = run("encode", tmp_path / name, "-o", tmp_path / "y.lq", code=1).stderr
            assert name in message and ".lq file already" in message
        with pytest.raises(ImageError, match="already"):
            load_image(tmp_path / "a.lq")
    else:
        run("tokenize", tmp_path / "fake.png")


@pytest.mark.parametrize("name", ["x.eps", "x.jpg", "x.png"])
@pytest.mark.parametrize("data", [EPS, b"\xc5\xd0\xd3\xc6" + bytes(28) + EPS])
def test_7f_no_other_program_is_started(name, data, run, tmp_path, monkeypatch, photo, tiny_folder):
    (tmp_path / "bin").mkdir()
    script, started = tmp_path / "bin" / "gs", tmp_path / "started"
    script.write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / name).write_bytes(data)
    for arguments in (("encode", tmp_path / name), ("tokenize", tmp_path / name), ("compare", photo, tmp_path / name)):
        assert "PostScript" in run(*arguments, code=1).stderr
    assert "PostScript" in run("encode", "-", "-o", tmp_path / "y.lq", data=data, code=1).stderr
    if data is EPS:
        with pytest.raises(ImageError, match="PostScript"):
            api.compress(Image.open(tmp_path / name), model=tiny_folder)
    assert not started.exists()


def broken(chunk):
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


@pytest.mark.parametrize("kind", [b"tEXt", b"gAMA", b"eXIf", b"iCCP", b"zTXt", b"pHYs", b"tIME"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_7g_6b_a_wrong_checksum_beside_the_pixels(kind, where, encoded):
    extra = {where: [broken(make.chunk(kind, b"Comment\0hello world"))]}
    found = encoded(make.png(make.photo(), 8, 2, **extra))
    assert found.size == (96, 64)
    assert where == "after" or kind.decode() in found.warnings[0]


def test_7g_a_wrong_checksum_of_the_pixels_is_named(run, tmp_path):
    data = make.png(make.photo(), 8, 2)
    at = data.index(b"IHDR")
    (tmp_path / "x.png").write_bytes(data[: at + 17] + b"\0\0\0\0" + data[at + 21 :])
    assert "IHDR" in run("encode", tmp_path / "x.png", code=1).stderr


def test_7g_empty(run, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    assert "x.jpg: the file is empty" in run("encode", tmp_path / "x.jpg", code=1).stderr


# --- 8. ----------------------------------------------------------------------------------------------------


def test_8a_equal_stems_keep_their_extension(run, tmp_path, photo):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "b.png", "a.b.png"):
        picture().save(folder / name)
    run("encode", folder, "-o", out)
    assert sorted(os.listdir(out)) == ["a.b.lq", "a.jpg.lq", "a.png.lq", "b.lq"]
    run("encode", folder, "-o", out, "--skip-existing")
    run("encode", folder, "-o", tmp_path / "all", "--keep-extension")
    assert sorted(os.listdir(tmp_path / "all")) == ["a.b.png.lq", "a.jpg.lq", "a.png.lq", "b.png.lq"]
    run("encode", photo, "--keep-extension")
    assert (tmp_path / "a.png.lq").exists()


def test_8b_skip_existing(run, tmp_path, photo):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        picture().save(folder / name)
    run("encode", folder, "-o", out)
    (out / "a.lq").write_bytes(b"kept")
    (out / "b.lq").unlink()
    run("encode", folder, "-o", out, code=1)
    run("encode", folder, "-o", out, "--skip-existing")
    assert (out / "a.lq").read_bytes() == b"kept" and (out / "b.lq").stat().st_size > 50
    (out / "b.lq").unlink()
    run("encode", folder, "-o", out, "--skip-existing", "--json")
    (out / "a.lq").unlink()
    run("encode", folder, "-o", out, "--skip-existing")
    run("decode", out, "--skip-existing")
    (out / "a.png").write_bytes(b"kept")
    run("decode", out, "--skip-existing")
    assert (out / "a.png").read_bytes() == b"kept"
    run("encode", photo, "-o", out / "a.lq", "--skip-existing")
    run("encode", photo, "-o", out / "a.lq", "--skip-existing", "-f", code=2)


def test_8c_one_file_keeps_its_time_stamp(run, tmp_path, photo):
    os.utime(photo, (1_000_000_000, 1_000_000_001))
    run("encode", photo, "-o", tmp_path / "t.lq")
    assert (tmp_path / "t.lq").stat().st_mtime == 1_000_000_001
    run("decode", tmp_path / "t.lq", "-o", tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_mtime == 1_000_000_001
    run("encode", "-", "-o", tmp_path / "u.lq", data=photo.read_bytes())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
@pytest.mark.parametrize("kind", [str, os.fsencode, lambda path: path])
def test_8d_opened_files_hold_no_descriptor(kind, tmp_path, tiny_folder):
    picture().save(tmp_path / "x.lq", model=tiny_folder)
    before = len(os.listdir("/proc/self/fd"))
    images = [Image.open(kind(tmp_path / "x.lq")) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before
    with (tmp_path / "x.lq").open("rb") as file:
        mine = Image.open(file)
        assert not file.closed and mine.size == images[0].size
    for image in images:
        image.verify()
    with images[0]:
        pass
    images[1].close()


# --- 9. ----------------------------------------------------------------------------------------------------


def speckles(width=160, height=96):
    page = np.random.default_rng(0).choice(np.array((0, 255), np.uint8), (height, width))
    return np.repeat(page[:, :, None], 3, 2)


def stripes():
    line = np.where((np.arange(128) % 2)[:, None] == 0, (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    return np.tile(line[None], (96, 1, 1))


@pytest.mark.parametrize("pixels", [speckles, stripes])
@pytest.mark.parametrize("quality", [50, 90])
def test_9a_a_poor_result_is_told(pixels, quality, released, tmp_path):
    (tmp_path / "p.png").write_bytes(make.png(pixels(), 8, 2))
    result = CliRunner().invoke(main, ["encode", str(tmp_path / "p.png"), "-q", str(quality), "--json"])
    psnr = json.loads(result.stdout)["psnr"]
    told = re.search(r"p\.png: ([0-9.]+) dB", result.stderr)  # both numbers are rounded
    assert psnr < 22 and told and abs(float(told[1]) - psnr) < 0.06 and "PNG" in result.stderr


def test_9a_a_photograph_is_not(released, tmp_path):
    (tmp_path / "p.png").write_bytes(make.png(make.photo(192, 128), 8, 2))
    for quality in ("20", "90"):
        result = CliRunner().invoke(main, ["encode", str(tmp_path / "p.png"), "-q", quality, "--json", "-f"])
        assert not result.stderr and json.loads(result.stdout)["psnr"] > 25


@pytest.mark.parametrize("options", [[], ["--effort", "2"], ["--bpp", "1.5"], ["--psnr", "8"], ["--quiet"]])
def test_9a_json_has_the_psnr_of_the_file(options, run, photo, tmp_path):
    told = json.loads(run("encode", photo, "--json", *options).stdout)["psnr"]
    run("decode", tmp_path / "a.lq", "-o", tmp_path / "b.png")
    error = np.asarray(Image.open(tmp_path / "b.png"), float) - make.photo()
    assert told == pytest.approx(-10 * np.log10(np.mean(error**2) / 255**2), abs=0.01)


def test_9a_measuring_changes_nothing(tiny_folder):
    found = []
    image = picture()
    data = api.compress(image, model=tiny_folder, measured=found.append)
    assert data == api.compress(image, model=tiny_folder) and len(found) == 1
    assert coding.POOR > 0 and plugins.kind_of(b"") is None
