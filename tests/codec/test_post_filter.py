"""A file's post-filter: pictures come nearer to the original, and files without one show what they did."""

import io

import numpy as np
import pytest
from PIL import Image

import leechcodec
from leechcodec.codec import pipeline, post_filter
from leechcodec.codec.drafts import Drawing
from leechcodec.codec.model_store import load_model
from leechcodec.codec.post_filter import filter_chunk, with_filter
from leechcodec.errors import CorruptError
from leechcodec.formats import strips
from leechcodec.formats.container import Chunk, ChunkKind, read_file, write_file
from leechcodec.postfilter.coding import unpack
from leechcodec.testing.files import without
from tests.pictures import gradient

TRADE_OFF = 0.01


def pair(size=(90, 70), cast=(6, -4, 3)):
    """An original, uint8 (H, W, 3), and a decoded picture with a cast."""
    original = np.asarray(gradient(*size))
    return original, Image.fromarray((original.astype(int) + cast).clip(0, 255).astype(np.uint8))


def error(original, picture):
    return np.square(original.astype(float) - np.asarray(picture)).mean()


def kinds(data):
    return {chunk.kind for chunk in read_file(data)[1]}


def test_a_cast_is_taken_away():
    original, decoded = pair()
    chunk = filter_chunk(original, decoded, TRADE_OFF)
    assert chunk is not None and len(chunk.payload) < 60
    assert error(original, with_filter(decoded, [chunk])) < 0.1 * error(original, decoded)


def test_no_chunk_where_none_is_worth_it():
    original, _ = pair()
    assert filter_chunk(original, Image.fromarray(original), TRADE_OFF) is None
    assert filter_chunk(*pair(), lmbda=1e-9) is None


def test_without_a_chunk_the_picture_is_the_same():
    _, decoded = pair()
    assert with_filter(decoded, []) is decoded


def test_of_a_grey_picture_luma_alone_is_filtered():
    original = np.asarray(gradient(80, 60).convert("L").convert("RGB"))
    decoded = Image.fromarray((original.astype(int) + np.array((6, 2, 5))).clip(0, 255).astype(np.uint8))
    chunk = filter_chunk(original, decoded, TRADE_OFF, grey=True)
    assert chunk is not None
    numbers, _ = unpack(chunk.payload)
    assert numbers[0].any() and not numbers[1:].any()


@pytest.mark.parametrize("pixels", [1, 90 * 7, 90 * 32])
def test_strips_and_threads_make_no_difference(monkeypatch, pixels):
    original, decoded = pair()
    chunk = filter_chunk(original, decoded, TRADE_OFF)
    assert chunk is not None
    whole = np.asarray(with_filter(decoded, [chunk])).astype(int)
    monkeypatch.setattr(post_filter, "_STRIP_PIXELS", pixels)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 3 * pixels)
    assert np.abs(np.asarray(with_filter(decoded, [chunk])) - whole).max() <= 1


def test_a_bad_chunk_is_refused():
    _, decoded = pair()
    with pytest.raises(CorruptError, match="post-filter"):
        with_filter(decoded, [Chunk(ChunkKind.FILTER, b"\x72")])


@pytest.mark.parametrize("quality", [20, 60, 95])
def test_a_file_with_it_is_nearer_to_its_original(tiny_folder, quality):
    image = gradient(128, 192, 3)
    data = leechcodec.compress(image, quality=quality, model=tiny_folder, verify=True)
    assert ChunkKind.FILTER in kinds(data)
    pictures = [leechcodec.decompress(file, model=tiny_folder) for file in (data, without(data))]
    assert error(np.asarray(image), pictures[0]) < error(np.asarray(image), pictures[1])


def test_the_psnr_that_is_told_is_the_files(tiny_folder):
    image, told = gradient(128, 128, 3), []
    data = leechcodec.compress(image, quality=40, model=tiny_folder, measured=told.append)
    found = -10 * np.log10(error(np.asarray(image), leechcodec.decompress(data, model=tiny_folder)) / 255**2)
    assert told == [pytest.approx(found, abs=1e-6)]


def test_a_smaller_picture_has_it_where_all_tokens_are_decoded(tiny_folder):
    image = gradient(128, 128, 3)
    data = leechcodec.compress(image, quality=40, model=tiny_folder)
    for shrink, filtered in ((2, True), (8, False)):
        both = [leechcodec.decompress(file, model=tiny_folder, shrink=shrink) for file in (data, without(data))]
        assert (both[0].tobytes() != both[1].tobytes()) is filtered


def test_a_bad_filter_leaves_a_salvaged_picture(tiny_folder):
    header, chunks = read_file(leechcodec.compress(gradient(128, 128, 3), quality=40, model=tiny_folder))
    bad = [chunk if chunk.kind != ChunkKind.FILTER else Chunk(chunk.kind, b"\x72") for chunk in chunks]
    with pytest.raises(CorruptError, match="post-filter"):
        leechcodec.decompress(write_file(header, bad), model=tiny_folder)
    image, missing = leechcodec.decompress_partial(write_file(header, bad), model=tiny_folder)
    assert image.size == (128, 128) and len(missing) == 1 and "post-filter" in missing[0]


def test_a_detail_layer_lies_on_the_filtered_picture(tiny_folder):
    loaded = load_model(tiny_folder)
    drawing = Drawing(loaded, pipeline.prepare(gradient(96, 64, 3)))
    draft = drawing.draft(97, shown=True)
    assert [chunk.kind for chunk in draft.layers] == [ChunkKind.FILTER, ChunkKind.DETAIL]
    data = drawing.file(draft)
    drawing.check(data, draft)
    assert draft.picture is not None
    assert leechcodec.decompress(data, model=tiny_folder).tobytes() == draft.picture.tobytes()


def test_metadata_and_transparency_go_with_it(tiny_folder):
    image = gradient(128, 128, 3)
    image.putalpha(Image.linear_gradient("L").resize((128, 128)))
    data = leechcodec.compress(image, quality=40, model=tiny_folder, verify=True)
    assert {ChunkKind.ALPHA, ChunkKind.FILTER} <= kinds(data)
    found = leechcodec.decompress(data, model=tiny_folder)
    assert found.mode == "RGBA" and np.array_equal(np.asarray(found)[..., 3], np.asarray(image)[..., 3])
    found.save(io.BytesIO(), "PNG")
