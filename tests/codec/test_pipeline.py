"""prepare → analyse → pack, and that a search prepares once."""

import numpy as np
import pytest
from PIL import Image

from leechcodec.codec import api, model_store, pipeline
from leechcodec.codec.distortion import PSNR_CAP, psnr
from leechcodec.codec.efforts import STEPS
from leechcodec.codec.model_store import load_model
from leechcodec.errors import ConfigError, ImageError, TooLargeError
from leechcodec.formats import side_data
from leechcodec.formats.container import read_file
from leechcodec.testing.files import without
from tests.pictures import gradient


def transparent(width: int = 90, height: int = 70) -> Image.Image:
    image = gradient(width, height)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info["xmp"] = b"<x/>"
    return image


def test_the_steps_make_what_compress_makes(tiny_folder):
    image, loaded = transparent(), load_model(tiny_folder)
    prepared = pipeline.prepare(image)
    assert prepared.pixels.shape == (1, 3, 128, 128) and prepared.size == (70, 90)
    assert np.array_equal(prepared.colours, np.asarray(image.convert("RGB")))
    for quality in (10, 80):
        tokens = pipeline.analyse(loaded, prepared.pixels, prepared.size, quality=quality)
        data = pipeline.pack(loaded, tokens, prepared.side_data)
        assert data == without(api.compress(image, quality=quality, model=tiny_folder))
        read = pipeline.unpack(loaded, *read_file(data))
        assert read.digest() == tokens.digest()
        decoded = api.decompress(data, model=tiny_folder).convert("RGB")
        assert np.array_equal(np.asarray(pipeline.synthesise(loaded, read)), np.asarray(decoded))


def test_too_large_an_image_costs_no_work(monkeypatch):
    monkeypatch.setattr(pipeline, "separate", None)
    with pytest.raises(TooLargeError):
        pipeline.prepare(Image.new("1", (20_000, 20_000)))


def test_a_search_prepares_once(tiny_folder, monkeypatch):
    written, loaded = [], []
    write, load = side_data._write_alpha, model_store.load_model
    monkeypatch.setattr(side_data, "_write_alpha", lambda channel: written.append(channel) or write(channel))
    monkeypatch.setattr(api, "load_model", lambda model=None, **more: loaded.append(model) or load(model, **more))
    image = transparent()
    size = len(api.compress(image, quality=45, model=tiny_folder))
    written.clear(), loaded.clear()
    data, found = api.compress_to(image, size=size, model=tiny_folder)
    assert len(written) == len(loaded) == 1
    assert len(data) == found.value <= size and data == api.compress(image, quality=found.quality, model=tiny_folder)
    written.clear(), loaded.clear()
    api.compress_to(image, psnr=5, model=tiny_folder, verify=True)
    assert len(written) == len(loaded) == 1


def test_steps_are_counted_through_analysis_and_packing(tiny_folder):
    steps = []
    api.compress(gradient(90, 70), quality=80, effort=2, model=tiny_folder, progress=lambda *step: steps.append(step))
    done, total = zip(*steps)
    assert set(total) == {1 + STEPS[2] + 5} and done[0] == 1 and done[-1] == total[0] and list(done) == sorted(done)


def test_what_cannot_be_prepared_or_analysed(tiny_folder):
    with pytest.raises(ImageError):
        pipeline.prepare(Image.new("RGB", (0, 5)))
    prepared = pipeline.prepare(gradient(64, 64))
    with pytest.raises(ConfigError, match="effort"):
        pipeline.analyse(load_model(tiny_folder), prepared.pixels, prepared.size, quality=50, effort=10)


def test_psnr():
    a = np.zeros((2, 3, 3), dtype=np.uint8)
    assert psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4) and psnr(a, a) == PSNR_CAP and psnr(a, 255 - a) == 0
