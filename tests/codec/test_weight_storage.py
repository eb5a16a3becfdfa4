"""Weights of 16 bits come back bit for bit; matrices in levels come back near; damaged files are refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leechcodec.codec import weight_storage
from leechcodec.codec.model_store import load_model, save_model
from leechcodec.codec.weight_storage import SMALL, TENSORS, read_about, read_weights, restored, stored, write_weights
from leechcodec.errors import ModelError
from leechcodec.testing.tiny import tiny_model

UNITS = {"analysis": 20.0, "synthesis": 60.0, "prior": 14.0}


def matrix(seed: int = 0, rows: int = 64, columns: int = 128, dtype: type = np.float16) -> np.ndarray:
    """Rows of many sizes; integers of at most 15 bits."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (rows, columns)) * np.exp(rng.normal(0, 1, (rows, 1)))
    return (values * (200 if dtype == np.int16 else 1)).clip(-32000, 32000).astype(dtype)


@given(
    arrays(np.uint16, (3, SMALL // 2)), arrays(np.uint16, SMALL), st.sampled_from([np.int16, np.float16]),
    st.integers(0, 2**31 - 1),
)  # fmt: skip
def test_any_words_come_back(a, b, dtype, seed):
    tensors = {
        "a": a.view(dtype),
        "b": b.view(dtype),
        "c": np.arange(5, dtype=np.int32),
        "d": np.random.default_rng(seed).integers(0, 2**16, (70, 90)).astype(np.uint16).view(np.float16),
        "e": np.array([1.5, -2], dtype=np.float16),
    }
    found = restored(*stored(tensors))
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()


def test_usual_weights_are_smaller():
    floats, integers = matrix(), matrix(1, dtype=np.int16)
    kept, _ = stored({"synthesis.a": floats, "prior.b": integers})
    assert sum(value.nbytes for value in kept.values()) < 0.9 * (floats.nbytes + integers.nbytes)


def test_small_tensors_alone_are_a_plain_file(tmp_path):
    tensors = {"a": np.ones((3, 4), dtype=np.float16)}
    assert stored(tensors) == (tensors, {TENSORS: "{}"})
    write_weights(tmp_path / "x", *stored(tensors))
    assert read_weights(tmp_path / "x")["a"].tolist() == tensors["a"].tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16])
@pytest.mark.parametrize("part", UNITS)
def test_levels_are_near(part, dtype):
    value = matrix(2, dtype=dtype)
    value[3, 5] = 50 * np.abs(value[3]).max()  # far from the others: not cut off
    value[7] = 0
    kept, metadata = stored({f"{part}.x": value, "other.y": matrix(3)}, UNITS)
    found = restored(kept, metadata)
    assert np.array_equal(found["other.y"], matrix(3)) and found[f"{part}.x"].dtype == dtype
    rows, back = value.astype(float), found[f"{part}.x"].astype(float)
    sizes = np.sqrt((rows**2).mean(1, keepdims=True))
    units = np.maximum(sizes / UNITS[part], 1 if dtype == np.int16 else 0)
    assert (np.abs(back - rows) <= 0.51 * units + 1e-3 * np.abs(rows) + (0.51 if dtype == np.int16 else 0)).all()
    assert (back[7] == 0).all()


def test_finer_levels_are_nearer_and_larger():
    value = matrix(4)
    sizes, errors = [], []
    for units in (8, 16, 64):
        kept, metadata = stored({"prior.x": value}, {"prior": units})
        sizes.append(sum(part.nbytes for part in kept.values()))
        errors.append(np.abs(restored(kept, metadata)["prior.x"].astype(float) - value).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True) and errors[2] < errors[0] / 6


def test_levels_twice_are_levels_once():
    """The same units again lose next to nothing more: a model of levels can be written in levels."""
    once = restored(*stored({"synthesis.x": matrix(5)}, UNITS))
    twice = restored(*stored(once, UNITS))
    assert np.allclose(once["synthesis.x"].astype(float), twice["synthesis.x"], rtol=2e-2, atol=0.06)


def test_a_model_in_levels(tmp_path, monkeypatch):
    """It is exact as any other, near the one that was trained, and smaller."""
    monkeypatch.setattr(weight_storage, "SMALL", 100)
    model = tiny_model()
    save_model(tmp_path / "whole", model)
    save_model(tmp_path / "levels", model, UNITS)
    whole, levels = load_model(tmp_path / "whole"), load_model(tmp_path / "levels")
    assert whole.token_model != levels.token_model and whole.synthesis != levels.synthesis
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("whole", "levels")]
    assert sizes[1] < 0.8 * sizes[0]
    pairs = zip(whole.networks.parameters(), levels.networks.parameters(), strict=True)
    assert all(((a - b).abs().max() <= 0.05 * a.abs().max() + 1e-3).item() for a, b in pairs)
    save_model(tmp_path / "again", levels.networks)
    assert load_model(tmp_path / "again").synthesis == levels.synthesis


def damaged(kept, metadata, kind):
    about = json.loads(metadata[TENSORS])
    if kind == "a plane is missing":
        del kept["high.0"]
    elif kind == "a plane is short":
        kept["low.0"] = kept["low.0"][:-20]
    elif kind == "a plane is damaged":
        kept["low.0"] = np.full(len(kept["low.0"]), 255, dtype=np.uint8)
    elif kind == "a plane of another type":
        kept["low.0"] = kept["low.0"].astype(np.int32)
    elif kind == "too much is claimed":
        about["prior.x"][1] = [2**20, 2**20]
    elif kind == "more than there is":
        about["prior.x"][1][0] += 1
    elif kind == "less than there is":
        about["prior.x"][1][0] -= 1
    elif kind == "no shape":
        about["prior.x"][1] = [-1, 4]
    elif kind == "no type":
        about["prior.x"][0] = "float64"
    elif kind == "units of another length":
        kept["units.prior.x"] = kept["units.prior.x"][1:]
    elif kind == "units of another type":
        kept["units.prior.x"] = kept["units.prior.x"].astype(np.float32)
    elif kind == "beyond 16 bits":
        kept["units.prior.x"] = np.full_like(kept["units.prior.x"], 30000)
    elif kind == "twice":
        kept["prior.x"] = np.zeros(3, dtype=np.int16)
    elif kind == "no object":
        about = [1]
    return kept, {TENSORS: "{" if kind == "no JSON" else json.dumps(about)}


@pytest.mark.parametrize(
    "kind",
    ["a plane is missing", "a plane is short", "a plane is damaged", "a plane of another type", "too much is claimed",
     "more than there is", "less than there is", "no shape", "no type", "units of another length",
     "units of another type", "beyond 16 bits", "twice", "no object", "no JSON"],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(kind):
    kept, metadata = stored({"prior.x": matrix(6, dtype=np.int16)}, UNITS)
    with pytest.raises(ValueError):
        restored(*damaged(dict(kept), metadata, kind))


def test_float32_without_units_is_refused():
    kept, metadata = stored({"a": matrix(7)})
    with pytest.raises(ValueError, match="no units"):
        restored(kept, {TENSORS: metadata[TENSORS].replace("float16", "float32")})


def test_a_damaged_model_is_a_model_error(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_storage, "SMALL", 100)
    save_model(tmp_path / "model", tiny_model(), UNITS)
    path = tmp_path / "model" / "weights.safetensors"
    kept, metadata = stored(read_weights(path), UNITS)
    about = {weight_storage.ABOUT: json.dumps(metadata)}
    weight_storage.save_file({**kept, "low.0": kept["low.0"][:100]}, path, about)
    with pytest.raises(ModelError, match="bytes of tensors"):
        load_model(tmp_path / "model")


def test_a_file_is_the_same_bytes_every_time(tmp_path):
    tensors = {"a": matrix(8), "b": np.arange(3)}
    for number in range(8):
        kept, metadata = stored(tensors)
        write_weights(tmp_path / str(number), kept, {**metadata, "one": "1", "two": "2", "three": "3"})
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    assert read_about(tmp_path / "0")["two"] == "2"


@pytest.mark.parametrize("about", ["[1]", "{", '"x"'])
def test_what_says_nothing_of_the_tensors(about, tmp_path):
    weight_storage.save_file({"b": np.arange(3)}, tmp_path / "x", {weight_storage.ABOUT: about})
    with pytest.raises(ValueError):
        read_about(tmp_path / "x")
