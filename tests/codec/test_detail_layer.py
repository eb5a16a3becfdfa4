"""A file's detail layer: the dial goes on with it to any PSNR, and a reader that stops at the base ignores it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from leechcodec.codec import api, drafts
from leechcodec.codec.detail_layer import detail_chunk, with_detail
from leechcodec.codec.dial import ENTRY, dial_quality
from leechcodec.codec.distortion import psnr
from leechcodec.codec.model_store import load_model
from leechcodec.codec.pipeline import prepare
from leechcodec.codec.token_coding import encode_tokens
from leechcodec.codec.weight_storage import read_weights, write_weights
from leechcodec.detail import strips
from leechcodec.errors import ConfigError, CorruptError, TooLargeError
from leechcodec.formats.container import Chunk, ChunkKind, read_file, write_file
from leechcodec.testing import detail_reference
from leechcodec.testing.files import without


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (70, 65, 3), dtype=np.uint8)


def test_size_and_psnr_rise_along_the_dial(tiny_folder, noise):
    points = []
    for quality in (ENTRY, 92.5, 95, 97.5, 100):
        seen = []
        data = api.compress(
            Image.fromarray(noise), quality=quality, model=tiny_folder, measured=seen.append, verify=True
        )
        decoded = np.asarray(api.decompress(data, model=tiny_folder))
        assert psnr(decoded, noise) == pytest.approx(seen[0])
        points.append((len(data), seen[0]))
    assert points == sorted(points) and len({size for size, _ in points}) == 5
    assert points[-1][1] > 50


@pytest.mark.parametrize("target", [42.0, *(pytest.param(target, marks=pytest.mark.slow) for target in (30.0, 49.0))])
def test_any_psnr_is_reached(tiny_folder, noise, target):
    seen = []
    data, found = api.compress_to(
        Image.fromarray(noise), psnr=target, verify=True, model=tiny_folder, measured=seen.append
    )
    reached = psnr(np.asarray(api.decompress(data, model=tiny_folder)), noise)
    assert found.quality > ENTRY and target <= reached < target + 0.3
    assert reached == pytest.approx(found.value) == pytest.approx(seen[0])


def test_a_size_above_the_entry_is_used(tiny_folder, noise):
    image = Image.fromarray(noise)
    base = len(api.compress(image, quality=ENTRY, model=tiny_folder))
    data, found = api.compress_to(image, size=base + 6000, model=tiny_folder)
    assert found.quality > ENTRY and found.close and 0.98 * (base + 6000) <= len(data) <= base + 6000


def test_drafts_with_a_layer_code_their_tokens_once(tiny_folder, noise, monkeypatch):
    image, qualities, coded = Image.fromarray(noise), (91, 95, 97, 80), []
    wanted = [api.compress(image, quality=quality, model=tiny_folder) for quality in qualities]

    def counted(tokens, *others):
        coded.append(tokens.quality)
        return encode_tokens(tokens, *others)

    monkeypatch.setattr(drafts, "encode_tokens", counted)
    drawing = drafts.Drawing(load_model(tiny_folder), prepare(image))
    assert [drawing.file(drawing.draft(quality)) for quality in qualities] == wanted
    assert coded == [ENTRY, 80]


def test_a_search_makes_the_tokens_below_a_layer_once_for_each_effort(tiny_folder, noise, monkeypatch):
    drawing, made = drafts.Drawing(load_model(tiny_folder), prepare(Image.fromarray(noise))), []
    shown = drawing._shown
    monkeypatch.setattr(drawing, "_shown", lambda quality, effort, _: made.append(effort) or shown(quality, effort, _))
    for quality, effort in ((92, 1), (94, 2), (93, 1), (95, 2)):
        drawing.draft(quality, effort)
    assert made == [1, 2]


def test_what_stops_at_the_base_ignores_it(tiny_folder, noise):
    data = api.compress(Image.fromarray(noise), quality=91.5, model=tiny_folder)
    base = without(data, ChunkKind.DETAIL)
    assert base == api.compress(Image.fromarray(noise), quality=ENTRY, model=tiny_folder)
    small = api.decompress(data, model=tiny_folder, shrink=4)
    assert np.array_equal(small, api.decompress(base, model=tiny_folder, shrink=4))
    partial, missing = api.decompress_partial(data, model=tiny_folder)
    assert not missing and np.array_equal(partial, api.decompress(data, model=tiny_folder))
    partial, missing = api.decompress_partial(data[:-5], model=tiny_folder)
    assert missing and np.array_equal(partial, api.decompress(base, model=tiny_folder))


def test_damaged_layers_are_refused(tiny_folder, noise):
    data = api.compress(Image.fromarray(noise), quality=93, model=tiny_folder)
    header, chunks = read_file(data)
    for payload in (b"", chunks[-1].payload[:100], chunks[-1].payload[:700], chunks[-1].payload + bytes(8)):
        forged = write_file(header, [*chunks[:-1], Chunk(ChunkKind.DETAIL, payload)])
        with pytest.raises(CorruptError):
            api.decompress(forged, model=tiny_folder)


def test_a_large_picture_has_a_layer_in_strips(tiny_folder, noise, monkeypatch):
    image, options = Image.fromarray(noise), {"quality": 98, "model": tiny_folder}
    whole = api.compress(image, **options)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 24 * noise.shape[1])
    seen = []
    data = api.compress(image, verify=True, measured=seen.append, **options)
    decoded = np.asarray(api.decompress(data, model=tiny_folder))
    assert psnr(decoded, noise) == pytest.approx(seen[0]) and seen[0] > 44
    chunks = read_file(data)[1]
    assert dial_quality(read_file(data)[0], chunks) == 98

    below = np.asarray(api.decompress(api.compress(image, quality=ENTRY, model=tiny_folder), model=tiny_folder))
    monkeypatch.setattr(detail_reference, "STRIP_PIXELS", 24 * noise.shape[1])
    found = detail_reference.strips(chunks[-1].payload, noise.shape[:2])
    assert len(found) == 3
    for row, column in ((0, 0), (23, 64), (24, 3), (69, 30)):
        pixel = below[row, column] + found[row // 24].residual(below, row, column)
        assert np.allclose(pixel.clip(0, 255), decoded[row, column], atol=0.501)

    other = np.asarray(api.decompress(whole, model=tiny_folder))  # a layer in one piece, as older files have it
    assert psnr(other, noise) == pytest.approx(seen[0], abs=0.1)
    for end in (1, 200, 2000):
        forged = [*chunks[:-1], Chunk(ChunkKind.DETAIL, chunks[-1].payload[:-end])]
        with pytest.raises(CorruptError):
            api.decompress(write_file(read_file(data)[0], forged), model=tiny_folder)


def test_limits():
    with pytest.raises(TooLargeError, match="in one piece"):
        with_detail(Image.new("RGB", (4096, 4097)), [Chunk(ChunkKind.DETAIL, b"")])
    with pytest.raises(ConfigError, match="no detail layer"):
        detail_chunk(np.zeros((8, 8, 3), dtype=np.uint8), Image.new("RGB", (8, 8)), 80.0)


def test_a_layer_is_for_the_pixels_that_it_was_made_for(tiny_folder, noise, tmp_path):
    data = api.compress(Image.fromarray(noise), quality=95, model=tiny_folder)
    shutil.copytree(tiny_folder, tmp_path / "other")
    path = tmp_path / "other" / "weights.safetensors"
    tensors = read_weights(path)
    write_weights(path, tensors | {"synthesis.head.bias": tensors["synthesis.head.bias"] + np.float16(0.1)}, {})
    other = tmp_path / "other"
    tokens_alone = np.asarray(api.detokenize(api.read_tokens(data, model=other), model=other))
    assert np.array_equal(np.asarray(api.decompress(data, model=other)), tokens_alone)
    assert psnr(np.asarray(api.decompress(data, model=tiny_folder)), noise) > psnr(tokens_alone, noise) + 10
