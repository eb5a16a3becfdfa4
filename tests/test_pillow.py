import copy
import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

import leechcodec.pillow
from leechcodec.codec import api
from tests.inputs import make

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = {"LQ": {}, "WEBP": {}, "AVIF": {"speed": 10}}


@pytest.fixture(autouse=True)
def tiny_default(tiny_folder, monkeypatch):
    """The tiny model stands in for the default one: a plugin's user names none."""
    load, for_file = api.load_model, api.model_for_file
    monkeypatch.setattr(api, "load_model", lambda model=None, **more: load(model or tiny_folder, **more))
    monkeypatch.setattr(
        api, "model_for_file", lambda token_model, model=None, *_: for_file(token_model, model or tiny_folder)
    )


@pytest.fixture(params=FORMATS)
def file_format(request):
    if request.param not in Image.SAVE:
        Image.init()
    if request.param not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {request.param}")
    return request.param


def picture(mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 4), dtype=np.uint8), "RGBA")
    return coarse.resize((50, 40), Image.Resampling.BICUBIC).convert(mode)


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **FORMATS[file_format], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_save_and_open(file_format, mode, tmp_path):
    path = tmp_path / f"x.{file_format.lower()}"
    picture(mode).save(path, quality=60)
    with Image.open(path) as image:
        assert image.format == file_format
        assert image.size == (50, 40)
        assert image.mode in ({"RGB", "L"} if mode == "L" else {mode})
        assert np.asarray(image).shape[:2] == (40, 50)
    path.rename(path.with_suffix(".moved"))  # nothing holds the file


@pytest.mark.parametrize("kind", [str, os.fsencode, lambda path: path], ids=["str", "bytes", "Path"])
def test_paths_of_every_kind(file_format, kind, tmp_path):
    path = tmp_path / f"x.{file_format.lower()}"
    picture().save(kind(path))
    image = Image.open(kind(path))
    assert image.size == (50, 40) and image.filename == os.fspath(kind(path))
    image.load()
    path.unlink()
    assert image.getpixel((0, 0)) is not None


def test_file_objects_are_left_open_and_written_where_they_stand(file_format, tmp_path):
    path = tmp_path / "x"
    with path.open("wb") as file:
        picture().save(file, file_format, **FORMATS[file_format])
        assert not file.closed
    with path.open("rb") as file:
        image = Image.open(file)
        image.load()
        assert image.format == file_format and not file.closed
    buffer = io.BytesIO()
    buffer.write(b"before")
    picture().save(buffer, file_format, **FORMATS[file_format])
    assert buffer.getvalue() == b"before" + path.read_bytes()


def test_a_stream_that_cannot_seek(file_format):
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        tell = seek

    assert Image.open(Pipe(saved(picture(), file_format))).convert("RGB").size == (50, 40)


def test_metadata_before_decoding(file_format):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    data = saved(picture(), file_format, icc_profile=SRGB, exif=exif, xmp=xmp)
    image = Image.open(io.BytesIO(data))
    assert image.info["icc_profile"] == SRGB and image.info["xmp"] == xmp
    assert image.getexif()[0x010F] == "Maker"
    image.load()
    assert image.info["icc_profile"] == SRGB and image.copy().info["xmp"] == xmp
    kept = {name: image.info[name] for name in ("icc_profile", "exif", "xmp")}
    again = Image.open(io.BytesIO(saved(image, file_format, **kept)))
    assert again.info["icc_profile"] == SRGB and again.info["xmp"] == xmp
    assert again.getexif()[0x010F] == "Maker"


def test_a_profile_that_was_made_of_code_points_is_kept(tmp_path):
    """Of a PNG's cICP chunk, not in Pillow's info."""
    points = make.chunk(b"cICP", bytes((12, 13, 0, 1)))
    image = Image.open(io.BytesIO(make.png(make.photo(), 8, 2, [points])))
    image.save(tmp_path / "x.lq", quality=5)
    kept = Image.open(tmp_path / "x.lq").info["icc_profile"]
    assert kept == api.decompress(api.compress(image, quality=5)).info["icc_profile"]


def test_verify_reads_and_closes(file_format, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(saved(picture(), file_format))
    image = Image.open(path)
    image.verify()
    assert image.fp is None
    path.unlink()
    with pytest.raises((OSError, SyntaxError)):
        Image.open(io.BytesIO(b"RIFF    or something else")).verify()


def test_one_frame(file_format):
    image = Image.open(io.BytesIO(saved(picture(), file_format)))
    image.seek(0)
    assert image.tell() == 0 and getattr(image, "n_frames", 1) == 1
    with pytest.raises(EOFError):
        image.seek(1)


def test_copies_are_images_of_their_own(file_format):
    image = Image.open(io.BytesIO(saved(picture("RGBA"), file_format)))
    before = image.tobytes()
    for twin in (image.copy(), copy.copy(image), copy.deepcopy(image), pickle.loads(pickle.dumps(image))):
        assert (twin.mode, twin.size, twin.tobytes(), twin.info) == (image.mode, image.size, before, image.info)
        twin.putpixel((1, 1), (1, 2, 3, 4))
        assert twin.getpixel((1, 1)) == (1, 2, 3, 4) and image.tobytes() == before
    image.putpixel((1, 1), (1, 2, 3, 4))
    assert image.getpixel((1, 1)) == (1, 2, 3, 4)


def test_draft_is_a_wish(file_format):
    image = Image.open(io.BytesIO(saved(picture(), file_format)))
    changed = image.draft("L", (12, 10))
    assert image.mode == "RGB" and image.size == ((50, 40) if changed is None else (13, 10))
    assert (changed is None) == (file_format != "LQ")
    image.thumbnail((10, 10))
    assert image.size == (10, 8) and image.mode == "RGB"


def test_the_name_of_the_format():
    assert Image.registered_extensions()[".lq"] == "LQ"
    assert Image.open(io.BytesIO(saved(picture(), "LQ")), formats=["LQ"]).get_format_mimetype() == "image/x-lq"


def test_opening_is_lazy(monkeypatch):
    data = saved(picture(), "LQ")
    monkeypatch.setattr(api, "decompress", None)
    image = Image.open(io.BytesIO(data))
    assert image.size == (50, 40) and image.mode == "RGB" and image.info["quality"] == 50
    image.verify()


def test_operations_load(file_format):
    data = saved(picture(), file_format)
    opened = [Image.open(io.BytesIO(data)) for _ in range(4)]
    opened[0].thumbnail((10, 10))
    assert max(opened[0].size) == 10
    assert opened[1].resize((5, 5)).size == (5, 5)
    assert opened[2].copy().getpixel((3, 3)) == opened[3].getpixel((3, 3))
    assert pickle.loads(pickle.dumps(opened[3])).tobytes() == opened[2].tobytes()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_errors(file_format, share):
    data = saved(picture(), file_format)
    with pytest.raises((OSError, SyntaxError)):
        Image.open(io.BytesIO(data[: int(share * len(data))])).load()


def test_any_damage_is_found_on_opening():
    data = saved(picture(), "LQ", quality=20)
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 4
        with pytest.raises(OSError):
            Image.open(io.BytesIO(damaged))


def test_a_save_that_fails_leaves_no_file(file_format, tmp_path):
    path = tmp_path / f"x.{file_format.lower()}"
    with pytest.raises((OSError, ValueError, TypeError)):
        picture().resize((20, 20)).save(path, quality="excellent")
    assert not path.exists()


def test_many_threads_read_one_file(file_format, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(saved(picture(), file_format))
    with ThreadPoolExecutor(4) as pool:
        pixels = list(pool.map(lambda _: Image.open(path).tobytes(), range(8)))
    assert len(set(pixels)) == 1


def test_many_threads_load_one_image():
    data = saved(picture(), "LQ")
    image, expected = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data)).tobytes()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: image.tobytes(), range(8))) == {expected}


def test_quality_changes_the_size():
    assert len(saved(picture(), "LQ", quality=1)) < len(saved(picture(), "LQ", quality=100))
    with pytest.raises(OSError, match="quality"):
        saved(picture(), "LQ", quality=0)
    assert len(saved(picture(), "LQ", size=900)) <= 900
    with pytest.raises(OSError, match="exactly one"):
        saved(picture(), "LQ", size=900, psnr=20)


def test_other_formats_import_no_torch(tmp_path):
    path = tmp_path / "x.png"
    picture().save(path)
    script = f"import sys, leechcodec.pillow; from PIL import Image; Image.open({str(path)!r}).load(); "
    script += "sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_reading_size_and_mode_of_1000_files_imports_no_torch(tmp_path):
    data = saved(picture(), "LQ", quality=1)
    for number in range(1000):
        (tmp_path / f"{number}.lq").write_bytes(data)
    script = """
import sys, leechcodec.pillow
from pathlib import Path
from PIL import Image
found = set()
for path in Path(sys.argv[1]).iterdir():
    with Image.open(path) as image:
        found.add((image.size, image.mode))
assert found == {((50, 40), "RGB")}, found
sys.exit("torch" in sys.modules or "numba" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == 0


def test_thumbnails_leave_the_finest_tokens_out(tmp_path, monkeypatch):
    path = tmp_path / "x.lq"
    picture("RGBA").resize((330, 200)).save(path, quality=100)
    asked = []
    decompress = api.decompress
    monkeypatch.setattr(api, "decompress", lambda data, shrink: asked.append(shrink) or decompress(data, shrink=shrink))
    with Image.open(path) as image:
        image.thumbnail((24, 24))
        assert image.size == (24, 15) and image.mode == "RGBA"
    with Image.open(path) as image:
        assert image.draft("RGB", (100, 20)) == ("RGBA", (0, 0, 165, 100))
        assert image.size == (165, 100) and image.load() and image.size == (165, 100)
        assert image.draft("RGB", (10, 10)) is None
    with Image.open(path) as image:
        assert image.draft(None, (300, 200))[1] == (0, 0, 330, 200) and image.size == (330, 200)
    assert asked == [4, 2]


def test_what_is_damaged_says_so_to_those_who_open_it_directly(tmp_path):
    (tmp_path / "bad.lq").write_bytes(b"\x89LQ\n\x01")
    with pytest.raises(OSError, match="truncated"):
        leechcodec.pillow.LqImageFile(tmp_path / "bad.lq")


def test_an_image_goes_to_a_text_stream_that_has_bytes_below(tiny_folder):
    below = io.BytesIO()
    stream = io.TextIOWrapper(below)
    Image.new("RGB", (8, 8)).save(stream, "LQ", model=tiny_folder)
    assert Image.open(io.BytesIO(below.getvalue())).size == (8, 8)
