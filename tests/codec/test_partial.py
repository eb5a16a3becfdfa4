"""Damaged and truncated files: an error, or a picture of what is whole, never a silently wrong one."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import leechcodec.pillow  # noqa: F401 (registers the format)
from leechcodec.codec import api
from leechcodec.errors import CorruptError, LqError, TruncatedError
from leechcodec.formats.container import FRAME_SIZE, HEADER_SIZE, Chunk, ChunkKind, read_file, write_file
from leechcodec.networks import layout
from tests.pictures import gradient


@pytest.fixture
def file(tiny_folder, monkeypatch):
    """With its tokens in three chunks, as those of larger pictures are."""
    monkeypatch.setattr(layout, "FEW", 0)
    image = gradient(70, 65)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info["xmp"] = b"<x/>"
    return api.compress(image, quality=80, model=tiny_folder)


def ends(data):
    """Where each chunk ends, by kind."""
    position, found = HEADER_SIZE, {}
    for chunk in read_file(data)[1]:
        position += FRAME_SIZE + len(chunk.payload)
        found[chunk.kind] = position
    return found


def test_a_sound_file_misses_nothing(tiny_folder, file):
    image, missing = api.decompress_partial(file, model=tiny_folder)
    whole = api.decompress(file, model=tiny_folder)
    assert missing == [] and image.info["xmp"] == b"<x/>"
    assert np.array_equal(np.asarray(image), np.asarray(whole))


def test_every_prefix(tiny_folder, file):
    tokens = api.read_tokens(file, model=tiny_folder)
    end = ends(file)
    shown = {}
    for length in range(len(file)):
        with pytest.raises(LqError):
            api.decompress(file[:length], model=tiny_folder)
        held = tuple(kind for kind in end if end[kind] <= length)
        if ChunkKind.TOKENS_0 not in held:
            with pytest.raises(LqError):
                api.decompress_partial(file[:length], model=tiny_folder)
            continue
        if length not in (*end.values(), *(value - 1 for value in end.values())):
            continue  # between chunks nothing changes, and decoding takes its time
        image, missing = api.decompress_partial(file[:length], model=tiny_folder)
        assert missing and image.mode == ("RGBA" if ChunkKind.ALPHA in held else "RGB")
        pixels = np.asarray(image.convert("RGB"))
        assert np.array_equal(shown.setdefault((held[:3], ChunkKind.FILTER in held), pixels), pixels)
    assert len(tokens.codes) == 5 and len(shown) == 4  # one for each number of token chunks, one with the post-filter


def test_a_damaged_middle_leaves_the_coarse_picture_and_the_metadata(tiny_folder, file):
    end = ends(file)
    damaged = bytearray(file)
    damaged[end[ChunkKind.TOKENS_1] - 1] ^= 1
    image, missing = api.decompress_partial(bytes(damaged), model=tiny_folder)
    coarse, _ = api.decompress_partial(file[: end[ChunkKind.TOKENS_0]], model=tiny_folder)
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(coarse))
    assert image.mode == "RGBA" and image.info["xmp"] == b"<x/>"
    assert "chunk 2 of 6" in missing[0] and "3 of 5 token stages" in missing[1]


def test_nothing_to_show(tiny_folder, file):
    with pytest.raises(TruncatedError):
        api.decompress_partial(file[:HEADER_SIZE], model=tiny_folder)
    for position in (12, HEADER_SIZE + FRAME_SIZE):  # the header; the coarsest tokens
        damaged = bytearray(file)
        damaged[position] ^= 1
        with pytest.raises(CorruptError):
            api.decompress_partial(bytes(damaged), model=tiny_folder)


def test_where_the_transparency_alone_is_no_picture(tiny_folder):
    image = gradient(70, 65).convert("L").convert("RGB")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info["xmp"] = b"<x/>"
    header, chunks = read_file(api.compress(image, quality=80, model=tiny_folder))
    chunks = [replace(chunk, payload=b"none") if chunk.kind == ChunkKind.ALPHA else chunk for chunk in chunks]
    shown, missing = api.decompress_partial(write_file(header, chunks), model=tiny_folder)
    assert len(missing) == 1 and shown.mode == "RGB" and shown.info["xmp"] == b"<x/>"
    red, green, blue = shown.split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_a_bad_layer_whose_checksum_holds_is_left_out(tiny_folder):
    data = api.compress(gradient(70, 65), quality=95, model=tiny_folder)
    header, chunks = read_file(data)
    forged = write_file(header, [*chunks[:-1], Chunk(ChunkKind.DETAIL, b"\xff\xff")])
    with pytest.raises(CorruptError):
        api.decompress(forged, model=tiny_folder)
    image, missing = api.decompress_partial(forged, model=tiny_folder)
    assert len(missing) == 1 and "detail" in missing[0]
    assert np.array_equal(image, api.decompress(write_file(header, chunks[:-1]), model=tiny_folder))


@pytest.mark.parametrize("bad", [1, 2])
def test_a_chunk_that_holds_no_tokens_though_its_checksum_holds(tiny_folder, file, bad):
    header, chunks = read_file(file)
    garbage = bytes(255 - byte for byte in chunks[bad].payload)
    forged = write_file(header, [*chunks[:bad], Chunk(chunks[bad].kind, garbage), *chunks[bad + 1 :]])
    with pytest.raises(CorruptError):
        api.decompress(forged, model=tiny_folder)
    image, missing = api.decompress_partial(forged, model=tiny_folder)
    coarse, _ = api.decompress_partial(file[: ends(file)[chunks[bad - 1].kind]], model=tiny_folder)
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(coarse))
    assert "token" in missing[0] and missing[1].endswith("token stages, the finest")


def test_the_tokens_of_a_small_picture_are_there_or_not(tiny_folder, file, monkeypatch):
    header, apart = read_file(file)
    monkeypatch.undo()
    (chunk,) = read_file(api.write_tokens(api.read_tokens(file, model=tiny_folder), model=tiny_folder))[1]
    assert chunk.kind == ChunkKind.TOKENS
    small = write_file(header, [chunk, *apart[3:]])
    assert len(file) - 32 <= len(small) <= len(file) - 20
    for shrink in (1, 4, 8):
        shown = [np.asarray(api.decompress(data, model=tiny_folder, shrink=shrink)) for data in (file, small)]
        assert np.array_equal(*shown)
    assert api.decompress_partial(small, model=tiny_folder)[1] == []
    end = HEADER_SIZE + FRAME_SIZE + len(chunk.payload)
    for damaged in (small[: end - 1], small[: end - 1] + bytes([small[end - 1] ^ 1]) + small[end:]):
        with pytest.raises(LqError):
            api.decompress_partial(damaged, model=tiny_folder)
    both = write_file(header, [apart[0], chunk])
    with pytest.raises(CorruptError, match="too many"):
        api.decompress(both, model=tiny_folder)
    assert api.decompress_partial(both, model=tiny_folder)[1] == []


def test_a_bad_grey_chunk_hides_no_picture(tiny_folder, file):
    header, chunks = read_file(file)
    forged = write_file(header, [*chunks, Chunk(ChunkKind.GREY, b"x")])
    with pytest.raises(CorruptError, match="grey"):
        api.decompress(forged, model=tiny_folder)
    image, missing = api.decompress_partial(forged, model=tiny_folder)
    assert missing == ["the grey chunk is not empty"] and image.mode == "RGBA"
    with pytest.raises(OSError, match="grey"):
        Image.open(io.BytesIO(forged))
