import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

import leechcodec.pillow  # noqa: F401 (registers the format)
from leechcodec import codec

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = {"LQ": {}, "WEBP": {}, "AVIF": {"speed": 10}}


@pytest.fixture(autouse=True)
def tiny_default(tiny_folder, monkeypatch):
    """The tiny model stands in for the default one: a plugin's user names none."""
    load, for_file = codec.load_model, codec.model_for_file
    monkeypatch.setattr(codec, "load_model", lambda model=None: load(model or tiny_folder))
    monkeypatch.setattr(
        codec, "model_for_file", lambda token_model, model=None: for_file(token_model, model or tiny_folder)
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


def test_metadata_before_decoding(file_format):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image = Image.open(io.BytesIO(saved(picture(), file_format, icc_profile=SRGB, exif=exif)))
    assert image.info["icc_profile"] == SRGB
    assert image.getexif()[0x010F] == "Maker"


def test_opening_is_lazy(monkeypatch):
    data = saved(picture(), "LQ")
    monkeypatch.setattr(codec, "decompress", None)
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


def test_truncated_files_are_errors(file_format):
    data = saved(picture(), file_format)
    with pytest.raises((OSError, SyntaxError)):
        Image.open(io.BytesIO(data[: len(data) // 2])).load()


def test_many_threads_read_one_file(file_format, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(saved(picture(), file_format))
    with ThreadPoolExecutor(4) as pool:
        pixels = list(pool.map(lambda _: Image.open(path).tobytes(), range(8)))
    assert len(set(pixels)) == 1


def test_quality_changes_the_size():
    assert len(saved(picture(), "LQ", quality=1)) < len(saved(picture(), "LQ", quality=100))
    with pytest.raises(OSError, match="quality"):
        saved(picture(), "LQ", quality=0)


def test_other_formats_import_no_torch(tmp_path):
    path = tmp_path / "x.png"
    picture().save(path)
    script = f"import sys, leechcodec.pillow; from PIL import Image; Image.open({str(path)!r}).load(); "
    script += "sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_thumbnails_leave_the_finest_tokens_out(tmp_path, monkeypatch):
    path = tmp_path / "x.lq"
    picture("RGBA").resize((330, 200)).save(path, quality=100)
    asked = []
    decompress = codec.decompress
    monkeypatch.setattr(
        codec, "decompress", lambda data, shrink: asked.append(shrink) or decompress(data, shrink=shrink)
    )
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
