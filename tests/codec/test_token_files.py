"""Tokens as integers and as files: every format there and back, and whatever can be wrong with one."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leechcodec.apps.cli.tokenizing import FORMATS as CLI_FORMATS
from leechcodec.codec import api
from leechcodec.codec.model_store import load_model, save_model
from leechcodec.codec.token_files import (
    FORMATS,
    MAX_ENTRIES,
    describe,
    deserialize_tokens,
    indices_to_tokens,
    serialize_tokens,
    tokens_to_indices,
    vocabulary,
)
from leechcodec.errors import ConfigError, LqError, TokensError, TooLargeError, UnknownModelError
from leechcodec.networks.layout import TokenLayout
from leechcodec.testing.tiny import tiny_model
from tests.families import SMALL_SOME_SLOW
from tests.lab.lab_files import picture

SIZE = (100, 70)
PROPERTY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
WIDE = {"round-7"}
"""Quantizers whose codes need 64 bits."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models, by quantizer, made when asked for."""
    made = {}

    def folder(quantizer):
        if quantizer not in made:
            made[quantizer] = tmp_path_factory.mktemp("models") / quantizer
            save_model(made[quantizer], tiny_model(quantizer))
        return made[quantizer]

    return folder


@pytest.fixture(scope="module")
def tokens(tiny_folder):
    return api.tokenize(picture(*SIZE), quality=80, model=tiny_folder)


def serialized(tokens, form, model):
    return serialize_tokens(tokens, form, model=model)


def read(data, form, model):
    given_ = {"size": SIZE, "quality": 80} if form == "npy" else {}
    return deserialize_tokens(data, model=model, **given_)


# --- there and back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SMALL_SOME_SLOW)
def test_every_quantizer_in_every_format(models, name, form):
    model = models(name)
    tokens = api.tokenize(picture(*SIZE), quality=80, model=model)
    indices = tokens_to_indices(tokens, model=model)
    assert all(stage.dtype == (np.int64 if name in WIDE else np.int32) for stage in indices)
    assert all(stage.min() >= 0 and stage.max() < vocabulary(model=model) for stage in indices)
    again = read(serialized(tokens, form, model), form, model)
    assert again.digest() == tokens.digest()
    assert (again.width, again.height, again.quality, again.token_model) == (*SIZE, 80, tokens.token_model)
    assert api.detokenize(again, model=model).tobytes() == api.detokenize(tokens, model=model).tobytes()


@pytest.mark.parametrize("name", ["leech-ball", "bsq-12", "fsq-8x5x3", "vq-6-6", "d4x3", "round-7"])
@PROPERTY
@given(data=st.data())
def test_any_indices_survive(models, name, data):
    model, size = models(name), vocabulary(model=models(name))
    width, height = data.draw(st.tuples(st.integers(1, 130), st.integers(1, 130)))
    quality = data.draw(st.integers(100, 10000)) / 100
    config = load_model(model).config
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    edges = st.sampled_from([0, size - 1])
    indices = []
    layout = TokenLayout(config, quality, (height, width))
    for stage in range(layout.stages):
        indices.append(draw.integers(0, size, layout.grid(stage)))
        indices[-1].flat[0] = data.draw(edges)
    tokens = indices_to_tokens(indices, width, height, quality=quality, model=model)
    form = data.draw(st.sampled_from(FORMATS))
    own = {"size": (width, height), "quality": quality} if form == "npy" else {}
    again = deserialize_tokens(serialized(tokens, form, model), model=model, **own)
    found = tokens_to_indices(again, model=model)
    assert again.quality == quality and all(np.array_equal(a, b) for a, b in zip(found, indices, strict=True))


def test_the_layout_is_stages_rows_columns(tiny_folder, tokens):
    flat = np.load(io.BytesIO(serialized(tokens, "npy", tiny_folder)), allow_pickle=False)
    quantizer, position = load_model(tiny_folder).networks.quantizer, 0
    for codes, stride in zip(tokens.codes, (64, 32, 16, 16, 8), strict=True):
        assert codes.shape[:2] == (128 // stride, 128 // stride)
        for row in codes:
            for code in row:
                assert flat[position] == quantizer.codes_to_indices(torch.from_numpy(code))
                position += 1
    assert position == len(flat) and flat.dtype == np.int32


def test_the_files_are_those_of_the_formats_own_libraries(tiny_folder, tokens, tmp_path):
    data = serialized(tokens, "safetensors", tiny_folder)
    assert data == serialized(tokens, "safetensors", tiny_folder)
    (tmp_path / "photo.safetensors").write_bytes(data)
    flat = np.load(io.BytesIO(serialized(tokens, "npy", tiny_folder)), allow_pickle=False)
    with safetensors.safe_open(tmp_path / "photo.safetensors", "numpy") as file:
        metadata = file.metadata()
        stages = [file.get_tensor(name) for name in sorted(file.keys())]
    assert metadata["width"] == "100" and metadata["quality"] == "80.0" and metadata["vocabulary"] == "196560"
    assert metadata["token_model"] == tokens.token_model.hex() and metadata["strides"] == "[64, 32, 16, 16, 8]"
    assert np.array_equal(np.concatenate([stage.ravel() for stage in stages]), flat)
    assert data.endswith(flat.tobytes())  # the data section is the flat array
    with np.load(io.BytesIO(serialized(tokens, "npz", tiny_folder)), allow_pickle=False) as file:
        assert json.loads(str(file["metadata"])) == describe(tokens, model=tiny_folder)
        assert np.array_equal(np.concatenate([file[f"stage_{n:02}"].ravel() for n in range(5)]), flat)


def test_files_of_others_are_read(tiny_folder, tokens):
    """Written by the libraries themselves, in another order of keys and another integer type."""
    data = serialized(tokens, "safetensors", tiny_folder)
    arrays = {name: array.astype(np.uint32) for name, array in safetensors.numpy.load(data).items()}
    strings = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    again = safetensors.numpy.save(arrays, dict(reversed(strings.items())))
    assert deserialize_tokens(again, model=tiny_folder).digest() == tokens.digest()
    buffer = io.BytesIO()
    np.savez(buffer, metadata=json.dumps(describe(tokens, model=tiny_folder)), **arrays)
    assert deserialize_tokens(buffer.getvalue(), model=tiny_folder).digest() == tokens.digest()
    buffer = io.BytesIO()
    flat = np.concatenate([stage.ravel() for stage in tokens_to_indices(tokens, model=tiny_folder)])
    np.save(buffer, flat.astype(">i8"))
    assert deserialize_tokens(buffer.getvalue(), size=SIZE, quality=80, model=tiny_folder).digest() == tokens.digest()


def test_the_command_line_knows_the_formats():
    assert CLI_FORMATS == FORMATS


# --- what can be wrong -----------------------------------------------------------------------------------------


def flat_of(tokens, model):
    return np.concatenate([stage.ravel() for stage in tokens_to_indices(tokens, model=model)])


def test_indices_that_are_none(tiny_folder, tokens):
    def refused(indices, match, error=TokensError, **changes):
        image = {"width": SIZE[0], "height": SIZE[1], "quality": 80, **changes}
        with pytest.raises(error, match=match):
            indices_to_tokens(indices, **image, model=tiny_folder)

    flat, stages = flat_of(tokens, tiny_folder), tokens_to_indices(tokens, model=tiny_folder)
    for value in (-1, 196_560, 2**31 - 1):
        wrong = [stage.copy() for stage in stages]
        wrong[1][2, 3] = value
        refused(wrong, f"stage 1, row 2, column 3: index {value} is not in 0..196559")
    refused(np.full_like(flat, 2**63, dtype=np.uint64), "index 9223372036854775808 is not")
    refused(flat.astype(np.float32), "float32 values, not integers")
    refused(np.full(flat.shape, np.nan), "float64 values, not integers")
    refused(flat.astype(bool), "bool values, not integers")
    refused(flat[:-1], r"shape \(403,\), not \(404,\), the tokens of 100 x 70 pixels at quality 80")
    refused(flat[None], "indices of shape")
    refused(stages[:-1], "4 stages of tokens, not the 5")
    refused([*stages[:-1], stages[0]], r"stage 4 has tokens of shape \(2, 2\)")
    refused(stages, "quality", ConfigError, quality=101)
    refused(stages, "quality", ConfigError, quality=float("nan"))
    refused(stages, "0 x 70", width=0)
    refused(stages, "limit", TooLargeError, width=10**9)


def test_codes_that_cannot_be_numbered(models, tmp_path):
    model = models("round-13")
    tokens = api.tokenize(picture(20, 20), model=model)
    for work in (tokens_to_indices, serialize_tokens, describe):
        with pytest.raises(TokensError, match=r"round-13 has 2.64.4 codes, more than 64 bits"):
            work(tokens, model=model)
    with pytest.raises(TokensError, match="round-13"):
        vocabulary(model=model)
    with pytest.raises(TokensError, match="round-13"):
        indices_to_tokens(np.zeros(1, dtype=int), 20, 20, quality=1, model=model)


def test_tokens_of_another_model(models, tokens, tiny_folder):
    for form in ("safetensors", "npz"):
        with pytest.raises(UnknownModelError, match=tokens.token_model.hex()):
            deserialize_tokens(serialized(tokens, form, tiny_folder), model=models("bsq-12"))
    with pytest.raises(UnknownModelError):
        serialize_tokens(tokens, model=models("bsq-12"))


def changed(data, tensors=None, raw=None, **metadata):
    """A safetensors file with other metadata or tensors. raw: metadata as they stand, None removes one."""
    arrays = {**safetensors.numpy.load(data), **(tensors or {})}
    strings = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    strings |= {name: json.dumps(value) for name, value in metadata.items()} | (raw or {})
    return safetensors.numpy.save(
        {name: array for name, array in arrays.items() if array is not None},
        {name: value for name, value in strings.items() if value is not None},
    )


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"width": 200}, "stage 0 has tokens of shape"),
        ({"width": "100"}, "width is '100', not a number"),
        ({"height": 0}, "an image needs pixels, got 100 x 0"),
        ({"quality": 20}, "5 stages of tokens, not the 3"),
        ({"quality": 1000}, "quality"),
        ({"raw": {"quality": "NaN"}}, "quality"),
        ({"raw": {"quality": "[" * 100_000}}, "no JSON"),
        ({"raw": {"height": None}}, "height is None"),
        ({"raw": {"format": "other"}}, "not a file of tokens"),
        ({"raw": {"format": None}}, "not a file of tokens"),
        ({"layout": 2}, "layout 2; this release knows layout 1"),
        ({"raw": {"token_model": "xyz"}}, "no token model"),
        ({"raw": {"token_model": None}}, "no token model"),
        ({"raw": {"quantizer": "bsq-18"}}, "quantizer is 'bsq-18', but its token model's is 'leech'"),
        ({"vocabulary": 5}, "vocabulary is 5"),
        ({"strides": [64, 32, 32]}, "strides are .64, 32, 32., but its token model's are"),
        ({"raw": {"strides": None}}, "strides are None"),
        ({"tensors": {"stage_02": None}}, "holds stage_00, stage_01, stage_03"),
        ({"tensors": {"more": np.zeros(1, np.int32)}}, "more"),
        ({"tensors": {"stage_00": np.zeros((2, 2), np.float32)}}, "stage 0 holds float32"),
        ({"tensors": {"stage_00": np.full((2, 2), -1)}}, "stage 0, row 0, column 0: index -1"),
    ],
)
def test_files_that_contradict_themselves(tiny_folder, tokens, changes, match):
    data = changed(serialized(tokens, "safetensors", tiny_folder), **changes)
    with pytest.raises(TokensError, match=match):
        deserialize_tokens(data, model=tiny_folder)


@pytest.mark.parametrize("form", FORMATS)
@PROPERTY
@given(data=st.data())
def test_damage_is_a_typed_error_or_other_tokens(tiny_folder, tokens, form, data):
    whole = bytearray(serialized(tokens, form, tiny_folder))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, min(len(whole), 1500) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    try:
        found = read(bytes(whole[:kept]), form, tiny_folder)
    except LqError as error:
        assert str(error)
    else:
        assert len(found.codes) <= 5


def test_what_a_file_must_not_hold(tiny_folder, tokens):
    def refused(data, match, **own):
        with pytest.raises(TokensError, match=match):
            deserialize_tokens(data, model=tiny_folder, **own)

    own, buffer = {"size": SIZE, "quality": 80}, io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    refused(buffer.getvalue(), "object", **own)
    huge = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }"
    refused(huge.ljust(127) + b"\n", "0 bytes for int64", **own)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, stage_00=np.zeros(10))
    refused(buffer.getvalue(), "compressed")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(MAX_ENTRIES + 1):
            archive.writestr(f"{number}.npy", b"")
    refused(buffer.getvalue(), "65 arrays")
    for text in ("[]", "no"):
        buffer = io.BytesIO()
        np.savez(buffer, metadata=text)
        refused(buffer.getvalue(), "metadata")
    buffer = io.BytesIO()
    np.savez(buffer, stage_00=np.zeros(1))
    refused(buffer.getvalue(), "no metadata")
    refused(b"", "not a safetensors")
    refused(b"PK\x03\x04 and no more", "damaged")


def test_a_npy_needs_to_be_told_and_the_others_must_not_be(tiny_folder, tokens):
    with pytest.raises(ConfigError, match="give the image's size"):
        deserialize_tokens(serialized(tokens, "npy", tiny_folder), quality=80, model=tiny_folder)
    with pytest.raises(ConfigError, match="its own size"):
        deserialize_tokens(serialized(tokens, "npz", tiny_folder), quality=80, model=tiny_folder)
    with pytest.raises(ConfigError, match="no token format 'pt'"):
        serialize_tokens(tokens, "pt", model=tiny_folder)


def test_tokens_that_are_no_codes(tiny_folder, tokens):
    codes = [stage.copy() for stage in tokens.codes]
    codes[0][0, 0] = 1
    with pytest.raises(TokensError, match="not leech's"):
        tokens_to_indices(type(tokens)(tuple(codes), *SIZE, 80, tokens.token_model), model=tiny_folder)


@pytest.mark.parametrize("form", ["safetensors", "npz"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind(tiny_folder, tokens, form, kind):
    data = serialize_tokens(tokens, form, model=tiny_folder)
    assert deserialize_tokens(kind(data), model=tiny_folder) == tokens


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_holds_all_stages(tiny_folder, tokens, form):
    cut = replace(tokens, codes=tokens.codes[:-1])
    assert api.detokenize(cut, model=tiny_folder).size == SIZE
    with pytest.raises(TokensError, match=f"{len(tokens.codes) - 1} stages of tokens, not the {len(tokens.codes)}"):
        serialize_tokens(cut, form, model=tiny_folder)


def test_tokens_of_no_pixels(tiny_folder, tokens):
    for changes in ({"width": 0}, {"height": 100.0}):
        with pytest.raises(TokensError, match="whole numbers of pixels"):
            api.detokenize(replace(tokens, **changes), model=tiny_folder)


def test_equal_tokens_are_equal(tokens):
    assert tokens == replace(tokens, codes=tuple(codes.copy() for codes in tokens.codes), synthesis=bytes(8))
    assert tokens != replace(tokens, codes=(-tokens.codes[0], *tokens.codes[1:]))
    assert tokens != replace(tokens, codes=tokens.codes[:1])
    assert tokens != replace(tokens, quality=1.0) and tokens != "tokens"
    with pytest.raises(TypeError, match="unhashable"):
        hash(tokens)


@pytest.mark.parametrize("form", FORMATS)
def test_sizes_may_be_numpy_s(tiny_folder, tokens, form):
    width, height = map(np.int64, SIZE)
    made = indices_to_tokens(tokens_to_indices(tokens, model=tiny_folder), width, height, quality=80, model=tiny_folder)
    assert read(serialized(made, form, tiny_folder), form, tiny_folder) == tokens
