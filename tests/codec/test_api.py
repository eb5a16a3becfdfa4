import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import leechcodec
from leechcodec.codec import api, pipeline
from leechcodec.codec.drafts import Drawing
from leechcodec.codec.model_store import load_model, save_model
from leechcodec.errors import (
    ConfigError,
    CorruptError,
    ImageError,
    LqError,
    ModelError,
    NotLqError,
    TokensError,
    TooLargeError,
    UnknownModelError,
)
from leechcodec.formats.container import Chunk, ChunkKind, Header, read_file, write_file
from leechcodec.networks import layout
from leechcodec.testing.files import without
from leechcodec.testing.tiny import tiny_model
from tests.pictures import gradient
from tests.places import SAMPLE


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (65, 3), (64, 64), (130, 90)])
@pytest.mark.parametrize("quality", [1, 45.25, 80])
def test_any_size_round_trips(tiny_folder, size, quality):
    image = gradient(*size)
    tokens = api.tokenize(image, quality=quality, model=tiny_folder)
    data = api.compress(image, quality=quality, model=tiny_folder)
    read = api.read_tokens(data, model=tiny_folder)
    assert read.quality == quality and (read.width, read.height) == size
    assert all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True))
    decoded = api.decompress(data, model=tiny_folder)
    assert decoded.size == size and decoded.mode == "RGB"
    decoded = api.decompress(without(data), model=tiny_folder)
    assert np.array_equal(decoded, api.detokenize(tokens, model=tiny_folder))


@settings(max_examples=15)
@given(st.integers(1, 150), st.integers(1, 150), st.floats(1, 80), st.integers(0, 9))
def test_tokens_survive_the_file(tiny_folder, width, height, quality, seed):
    image = gradient(width, height, seed)
    tokens = api.tokenize(image, quality=quality, model=tiny_folder)
    read = api.read_tokens(api.compress(image, quality=quality, model=tiny_folder), model=tiny_folder)
    assert all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True))


def test_an_image_over_the_pixel_limit_is_refused(tiny_folder):
    image = Image.new("L", (10_001, 10_000))
    with pytest.raises(TooLargeError, match="10001 x 10000"):
        api.compress(image, model=tiny_folder)


def test_file_size_is_the_cross_entropy(tiny_folder):
    image = gradient(300, 200)
    tokens = api.tokenize(image, quality=80, model=tiny_folder)
    ideal = sum(api.ideal_bits(tokens, model=tiny_folder)) / 8
    size = len(api.compress(image, quality=80, model=tiny_folder))
    assert ideal < size <= 1.01 * ideal + 72 + 12


def test_verify_decodes_what_was_written(tiny_folder, monkeypatch):
    image, unpack = gradient(90, 70), pipeline.unpack
    data = api.compress(image, verify=True, model=tiny_folder)
    assert data == api.compress(image, model=tiny_folder)

    def spoiled(*arguments, **options):
        read = unpack(*arguments, **options)
        read.codes[-1][0, 0] = -read.codes[-1][0, 0]
        return read

    monkeypatch.setattr(pipeline, "unpack", spoiled)
    with pytest.raises(CorruptError, match="own tokens"):
        api.compress(image, verify=True, model=tiny_folder)


def test_threads_do_not_change_the_file(tiny_folder):
    image, threads = gradient(200, 150), torch.get_num_threads()
    tokens, files = api.tokenize(image, quality=80, model=tiny_folder), []
    loaded = load_model(tiny_folder)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            files.append(pipeline.pack(loaded, tokens))
            read = api.read_tokens(files[0], model=tiny_folder)
            assert all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True))
    finally:
        torch.set_num_threads(threads)
    assert files[0] == files[1]


@pytest.mark.parametrize("quality", [1, 40, 100])
def test_a_draft_is_what_decoding_gives(tiny_folder, quality):
    drawing = Drawing(load_model(tiny_folder), pipeline.prepare(gradient(130, 70)))
    draft = drawing.draft(quality, shown=True)
    plain = drawing.draft(quality)
    assert all(np.array_equal(a, b) for a, b in zip(draft.tokens.codes, plain.tokens.codes, strict=True))
    decoded = api.decompress(drawing.file(plain), model=tiny_folder)
    assert np.abs(np.asarray(draft.picture, dtype=int) - np.asarray(decoded, dtype=int)).max() <= 1
    assert drawing.psnr(draft) == pytest.approx(drawing.psnr(plain), abs=0.02)


def test_indices_name_the_codewords(tiny_folder):
    tokens = api.tokenize(gradient(64, 64), model=tiny_folder)
    from leechcodec.lattice import leech

    for indices, codes in zip(tokens.indices(), tokens.codes, strict=True):
        assert np.array_equal(leech.index_to_vector(indices), codes)


def test_tokens_that_are_not_their_qualitys_cannot_be_written(tiny_folder):
    tokens = api.tokenize(gradient(70, 64), quality=40, model=tiny_folder)
    too_few = replace(tokens, codes=tokens.codes[:-1])
    for odd in (too_few, replace(tokens, quality=10.0), replace(tokens, width=64)):
        with pytest.raises(TokensError, match="stages of tokens that are not"):
            api.write_tokens(odd, model=tiny_folder)
    assert api.read_tokens(api.write_tokens(tokens, model=tiny_folder), model=tiny_folder).digest() == tokens.digest()


def test_tokens_that_are_no_codewords_have_one_error(tiny_folder):
    tokens = api.tokenize(gradient(70, 64), quality=40, model=tiny_folder)
    odd = tuple(codes.copy() for codes in tokens.codes)
    odd[1][0, 0] = 3
    forged = [replace(tokens, codes=tuple(codes.astype(kind) for codes in tokens.codes)) for kind in (int, float)]
    forged += [replace(tokens, codes=tuple(codes[:, :1] for codes in tokens.codes)), replace(tokens, codes=())]
    for function in (api.write_tokens, api.token_bits, api.ideal_bits):
        for wrong in (*forged, replace(tokens, codes=odd)):
            with pytest.raises(TokensError):
                function(wrong, model=tiny_folder)
    for wrong in forged:
        with pytest.raises(TokensError):
            api.detokenize(wrong, model=tiny_folder)
    with pytest.raises(TooLargeError):
        api.detokenize(replace(tokens, width=10**9), model=tiny_folder)


def test_coarse_tokens_alone_have_a_picture_and_bits(tiny_folder):
    tokens = api.tokenize(gradient(70, 64), quality=40, model=tiny_folder)
    coarse = replace(tokens, codes=tokens.codes[:2])
    assert api.detokenize(coarse, model=tiny_folder).size == (70, 64)
    bits = api.token_bits(tokens, model=tiny_folder)
    assert all(map(np.array_equal, api.token_bits(coarse, model=tiny_folder), bits))


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_of_any_kind_are_read(kind, tiny_folder):
    data = api.compress(gradient(70, 64), quality=95, model=tiny_folder)
    image = api.decompress(data, model=tiny_folder)
    assert api.decompress(kind(data), model=tiny_folder).tobytes() == image.tobytes()
    assert api.decompress_partial(kind(data), model=tiny_folder)[0].tobytes() == image.tobytes()
    assert api.read_tokens(kind(data), model=tiny_folder).digest() == api.read_tokens(data, model=tiny_folder).digest()


def test_damaged_payloads_raise_typed_errors_only(tiny_folder):
    """Payloads with right checksums but wrong contents: the container cannot help here."""
    data = api.compress(gradient(100, 100), quality=70, model=tiny_folder)
    header, chunks = read_file(data)
    rng = np.random.default_rng(0)
    for trial in range(30):
        damaged = []
        for chunk in chunks:
            payload = bytearray(chunk.payload)
            for _ in range(rng.integers(0, 4)):
                payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
            cut = len(payload) - 4 * rng.integers(0, 3) if trial % 2 else len(payload)
            damaged.append(Chunk(chunk.kind, bytes(payload[: max(cut, 0)])))
        with contextlib.suppress(LqError):
            api.decompress(write_file(header, damaged), model=tiny_folder)


def test_a_huge_claim_is_refused_before_anything_is_allocated(tiny_folder):
    loaded = load_model(tiny_folder)
    header = Header(loaded.token_model, loaded.synthesis, 8000, 8000, 100)
    with pytest.raises(CorruptError, match="cannot hold"):
        api.decompress(
            write_file(header, [Chunk(ChunkKind.TOKENS_0, b"1234"), Chunk(ChunkKind.TOKENS_1, b"")]), model=tiny_folder
        )


def test_chunks_of_tokens_of_the_wrong_kinds(tiny_folder, monkeypatch):
    monkeypatch.setattr(layout, "FEW", 0)
    header, chunks = read_file(without(api.compress(gradient(64, 64), quality=25, model=tiny_folder)))
    assert [chunk.kind for chunk in chunks] == [ChunkKind.TOKENS_0, ChunkKind.TOKENS_1]
    for kinds in ((ChunkKind.TOKENS_0, ChunkKind.TOKENS_2), (ChunkKind.TOKENS_1, ChunkKind.TOKENS_2)):
        forged = [Chunk(kind, chunk.payload) for kind, chunk in zip(kinds, chunks, strict=True)]
        with pytest.raises(CorruptError, match="tokens before the last"):
            api.decompress(write_file(header, forged), model=tiny_folder)


@pytest.mark.parametrize(("effort", "error"), [("3", ConfigError), (20, ConfigError), (1.5, ConfigError)])
def test_an_effort_that_is_none_is_refused_before_a_target_is_looked_for(effort, error, tiny_folder):
    tried = []
    with pytest.raises(error, match="effort must be a whole number from 1 to 9"):
        api.compress_to(gradient(64, 64), bpp=1, effort=effort, model=tiny_folder, progress=lambda *_: tried.append(1))
    assert not tried


def test_wrong_number_of_token_chunks(tiny_folder, monkeypatch):
    monkeypatch.setattr(layout, "FEW", 0)
    data = api.compress(gradient(64, 64), quality=100, model=tiny_folder)
    header, chunks = read_file(data)
    with pytest.raises(CorruptError, match="token chunks"):
        api.decompress(write_file(header, chunks[:1]), model=tiny_folder)


def test_files_of_other_models_are_refused(tiny_folder, tmp_path):
    save_model(tmp_path / "other", tiny_model(seed=1))
    data = api.compress(gradient(64, 64), model=tmp_path / "other")
    with pytest.raises(UnknownModelError, match="token model"):
        api.decompress(data, model=tiny_folder)


@pytest.mark.parametrize("quality", [0, 100.5, float("nan")])
def test_quality_out_of_range(tiny_folder, quality):
    with pytest.raises(ConfigError, match="quality"):
        api.compress(gradient(8, 8), quality=quality, model=tiny_folder)


def test_photographs_that_lie_on_their_side_are_turned_upright(tiny_folder):
    image = Image.effect_noise((90, 70), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    lying, upright = Image.open(buffer), image.transpose(Image.Transpose.ROTATE_270)
    data = api.compress(lying, quality=60, model=tiny_folder)
    expected = api.compress(upright, quality=60, model=tiny_folder)
    decoded = api.decompress(data, model=tiny_folder)
    assert decoded.tobytes() == api.decompress(expected, model=tiny_folder).tobytes()
    assert dict(decoded.getexif()) == {0x010F: "maker", 0x0112: 1}
    tokens, expected = (api.tokenize(each, quality=60, model=tiny_folder) for each in (lying, upright))
    assert (tokens.width, tokens.height) == (70, 90) and all(map(np.array_equal, tokens.codes, expected.codes))
    found = api.compress_to(lying, psnr=10, model=tiny_folder)[0]
    assert api.decompress(found, model=tiny_folder).size == (70, 90)


@pytest.mark.parametrize("wrong", ["photo.png", np.zeros((8, 8, 3), np.uint8)])
def test_what_is_no_image_is_named(tiny_folder, wrong):
    for function in (api.compress, api.tokenize):
        with pytest.raises(ImageError, match=type(wrong).__name__):
            function(wrong, model=tiny_folder)
    with pytest.raises(ImageError):
        api.compress_to(wrong, size=100, model=tiny_folder)
    with pytest.raises(NotLqError, match="str"):
        api.decompress("photo.lq", model=tiny_folder)
    with pytest.raises(ConfigError, match="number"):
        api.compress(Image.new("RGB", (8, 8)), quality="60", model=tiny_folder)


def test_models_that_cannot_be_loaded(tiny_folder, tmp_path):
    with pytest.raises(ModelError, match="no model"):
        load_model("no-such-model")
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "weights.safetensors"):
        (broken / name).write_bytes((tiny_folder / name).read_bytes()[:300])
    with pytest.raises(LqError):
        load_model(broken)


@pytest.mark.parametrize("quantizer", ["leech-ball", "bsq-18"])
def test_files_of_other_quantizers_round_trip(tmp_path, quantizer):
    folder = tmp_path / quantizer
    save_model(folder, tiny_model(quantizer))
    image = gradient(100, 70)
    tokens = api.tokenize(image, quality=80, model=folder)
    if quantizer == "leech-ball":
        assert any((codes == 0).all(-1).any() for codes in tokens.codes)
    read = api.read_tokens(api.compress(image, quality=80, model=folder), model=folder)
    assert all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True))


def test_released_model_on_the_sample_photograph(released):
    image = Image.open(SAMPLE)
    sizes, errors = [], []
    for quality in (20, 50, 80):
        data = leechcodec.compress(image, quality=quality)
        decoded = np.asarray(leechcodec.decompress(data), dtype=np.float64)
        sizes.append(len(data))
        errors.append(np.square(decoded - np.asarray(image)).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert 10 * np.log10(255**2 / errors[1]) > 26


def test_a_target_with_an_effort_takes_few_refined_encodings(released):
    image = Image.open(SAMPLE).convert("RGB").crop((200, 100, 328, 228))
    reported = []
    data, found = api.compress_to(
        image, size=1000, effort=2, model=released, progress=lambda done, _: reported.append(done)
    )
    assert data == api.compress(image, quality=found.quality, effort=2, model=released)
    assert len(data) == found.value <= 1000 and 3 * reported[-1] < len(reported)


def test_smaller_pictures(tiny_folder):
    image = gradient(330, 201)
    data = api.compress(image, quality=100, model=tiny_folder)
    whole = api.decompress(data, model=tiny_folder)
    for shrink in (1, 2):
        assert api.decompress(data, model=tiny_folder, shrink=shrink) == whole.reduce(shrink)
    for shrink in (4, 8, 16):
        small = api.decompress(data, model=tiny_folder, shrink=shrink)
        assert small.size == whole.reduce(shrink).size
    with pytest.raises(ConfigError, match="shrink"):
        api.decompress(data, model=tiny_folder, shrink=3)
    with pytest.raises(LqError):
        api.decompress(data[:-40], model=tiny_folder, shrink=8)
