"""Exact integers: the kernels against plain tensors, at the bounds; weights refused where they would not be exact."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.errors import ModelError
from leechcodec.networks import integer_prior
from leechcodec.networks.integer_prior import IntegerView
from leechcodec.networks.integer_prior_kernels import LIMIT
from leechcodec.networks.integer_prior_reference import ReferenceView
from leechcodec.networks.integer_prior_weights import (
    IntegerWeights,
    canonical,
    check_exact,
    float_weights,
    integer_weights,
)
from leechcodec.testing.tiny import tiny_model
from tests.networks.test_prior import gated_model, integer_view, random_codes, run


def random_layer(name: str, outputs: int, inputs: int, size: int, rng: np.random.Generator, bias: bool = True) -> dict:
    """Canonical tensors whose sums come as near to the bound as they may."""
    values = {
        f"{name}.weight": rng.normal(size=(outputs, inputs, size, size))
        * 10 ** rng.uniform(-2, 1, outputs)[:, None, None, None]
    }
    if bias:
        values[f"{name}.bias"] = rng.normal(size=outputs) * 50
    return canonical(values)


def random_weights(channels: int, dim: int, rng: np.random.Generator) -> IntegerWeights:
    tensors = random_layer("p.embed", channels, dim, 1, rng, bias=False)
    tensors |= random_layer("p.conv1", channels, channels, 3, rng) | random_layer("p.conv2", channels, channels, 3, rng)
    tensors |= random_layer("p.head", 3 * dim, channels, 1, rng) | random_layer("p.gate", 4, channels + 2, 1, rng)
    tensors |= random_layer("up", 4 * 5, channels, 1, rng)
    tensors["p.quality"] = rng.integers(-(2**20), 2**20, (3, channels)).astype(np.int32)
    tensors["constant"] = rng.integers(-(2**15), 2**15, channels).astype(np.int32)
    check_exact(tensors)
    return IntegerWeights(tensors)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(1, 15),
    st.sampled_from([(3, 2), (8, 24), (18, 5), (33, 24)]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_step_of_the_kernels_is_the_references(seed, height, width, sizes, extreme):
    rng = np.random.default_rng(seed)
    channels, dim = sizes
    weights = random_weights(channels, dim, rng)
    views = IntegerView(weights, 3333), ReferenceView(weights, 3333)
    h = rng.integers(-LIMIT, LIMIT + 1, (1, channels, height, width)).astype(np.int16)
    if extreme:
        h = np.where(h < 0, -LIMIT, LIMIT).astype(np.int16)
    codes, known = rng.integers(-4, 5, (2, 1, dim, height, width)).astype(np.int8)
    codes *= rng.random((height, width)) < 0.6
    last = np.ascontiguousarray(h.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    positions = rng.permutation(height * width)[: rng.integers(1, height * width + 1)]
    passes = int(rng.integers(2, 6))
    number = int(rng.integers(1, passes))
    found = []
    for view, x in zip(views, (last, torch.from_numpy(h).double())):
        around = view.neighbours(known, passes, number)
        plain, gated = view.params("p", x).at(positions), view.params("p", x, around).at(positions)
        up = view.upsample("up", x)
        coded = view.add_tokens("p", deepcopy(x), codes, 1)
        biased = view.at_quality("p.quality", deepcopy(x))
        found.append(
            [
                plain,
                gated,
                *(np.asarray(t, dtype=np.float64) for t in (up, coded, biased, view.constant("constant", 2, 3))),
            ]
        )
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(("height", "threads"), [(32, 2), (33, 2), (50, 3), (130, 8), (31, 8)])
def test_threads_change_nothing(monkeypatch, height, threads):
    rng = np.random.default_rng(height)
    view, parts = IntegerView(random_weights(8, 24, rng), 3333), []
    h = rng.integers(-LIMIT, LIMIT + 1, (height, 5, 8)).astype(np.int16)
    codes = rng.integers(-4, 5, (1, 24, height, 5)).astype(np.int8)
    alone, together = (np.array(h)[None].transpose(0, 3, 1, 2) for _ in range(2))
    monkeypatch.setattr(integer_prior, "threads", lambda: 1)
    view.add_tokens("p", alone, codes, 1)
    monkeypatch.setattr(integer_prior, "threads", lambda: threads)
    kernel = integer_prior.kernels.add_tokens
    monkeypatch.setattr(integer_prior.kernels, "add_tokens", lambda *given: parts.append(None) or kernel(*given))
    view.add_tokens("p", together, codes, 1)
    count = max(1, min(threads, height // 16))
    assert np.array_equal(alone, together) and len(parts) == 2 * count - 1  # and where two of them meet


@pytest.mark.parametrize("gated", [False, True])
def test_a_whole_run_is_the_references(gated):
    model = gated_model() if gated else tiny_model()
    codes = random_codes(model)
    weights = IntegerWeights(integer_weights(model.prior))
    runs = [run(model, view(weights, 8050), codes) for view in (IntegerView, ReferenceView)]
    assert len(runs[0]) == len(runs[1]) > 0
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_quality_table_meets_its_knots():
    view = integer_view(tiny_model(), 100)
    table = view.weights.tensors["stages.0.0.quality"]
    for quality, knot in ((100, 0), (5050, 1), (10000, 2)):
        assert np.array_equal(view.weights.quality_bias("stages.0.0.quality", quality), table[knot])


def test_a_channel_has_the_finest_unit_whose_sums_fit():
    weight = np.array([1.0, 2.0**-3, 7.99999, 20.299, 0.0])[:, None, None, None] * np.ones((1, 10, 1, 1))
    tensors = canonical({"a.weight": weight})
    assert tensors["a.shift"].tolist() == [0, 3, 0, 9, 0]  # 1, 1/8, 8 and 0 in lowest terms
    assert (tensors["a.weight"][3] == round(20.299 * 2**9)).all()
    assert 10 * round(20.299 * 2**10) * LIMIT >= 2**31
    assert check_exact(tensors) < 2**31


def test_rounding_again_changes_nothing():
    tensors = random_weights(18, 24, np.random.default_rng(1)).tensors
    again = canonical({name: value.astype(np.float64) for name, value in float_weights(tensors).items()})
    assert tensors.keys() == again.keys()
    assert all(np.array_equal(tensors[name], again[name]) for name in tensors if ".bias" not in name)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conv1.weight", np.full((8, 8, 3, 3), 2**14, dtype=np.int16), "exact range"),
        ("conv1.bias", np.full(8, 2**31 - 1, dtype=np.int32), "exact range"),
        ("conv1.weight", np.ones((8, 8, 3, 3), dtype=np.int32), "int32, not int16"),
        ("conv1.shift", np.full(8, 15, dtype=np.int8), "shift of 0 to 14"),
        ("conv1.shift", np.full(8, -1, dtype=np.int8), "shift of 0 to 14"),
        ("conv1.shift", np.zeros(7, dtype=np.int8), "shift of 0 to 14"),
    ],
)
def test_refuses_tensors_that_could_leave_the_exact_range(name, value, message):
    tensors = integer_weights(tiny_model().prior)
    assert check_exact(tensors) < 2**31
    tensors[f"stages.0.0.{name}"] = value
    with pytest.raises(ModelError, match=message):
        check_exact(tensors)


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "not finite"), (1e9, "integer range")])
def test_refuses_weights_that_are_not_finite_or_too_large(value, message):
    model = tiny_model()
    with torch.no_grad():
        model.prior.stages[0][0].conv1.weight[0, 0, 0, 0] = value
    with pytest.raises(ModelError, match=rf"conv1\.weight .*{message}"):
        integer_weights(model.prior)
