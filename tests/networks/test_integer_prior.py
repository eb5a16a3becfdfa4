"""Exact integers: the same on every machine, and refused where they would not be exact."""

import numpy as np
import pytest
import torch

from leechcodec.errors import ModelError
from leechcodec.networks.integer_prior import IntegerView, check_exact, integer_weights
from leechcodec.testing.tiny import tiny_model
from tests.networks.test_prior import integer_view, random_codes, run


def test_integer_view_is_the_same_for_every_thread_count_and_layout():
    model = tiny_model()
    codes = random_codes(model)
    threads = torch.get_num_threads()
    results = []
    try:
        for count, memory_format in ((1, torch.contiguous_format), (2, torch.channels_last)):
            torch.set_num_threads(count)
            view = integer_view(model, 5000)
            results.append(run(model, view, [c.contiguous(memory_format=memory_format) for c in codes]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_integer_convolution_equals_exact_integer_arithmetic():
    """Against int64 loops in numpy, which round nothing."""
    model = tiny_model()
    weights = integer_weights(model.prior)
    view = integer_view(model, 5000)
    x = torch.randint(-(2**14), 2**14, (1, 8, 5, 7)).double()
    name = "stages.0.0.conv1"
    w, b = weights[f"{name}.weight"].astype(np.int64), weights[f"{name}.bias"].astype(np.int64)
    padded = np.pad(x[0].numpy().astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    expected = np.zeros((8, 5, 7), dtype=np.int64)
    for dy in range(3):
        for dx in range(3):
            expected += np.einsum("oc,chw->ohw", w[:, :, dy, dx], padded[:, dy : dy + 5, dx : dx + 7])
    expected = (expected + b[:, None, None] + 2**13) >> 14
    assert np.array_equal(view.conv(name, x)[0].numpy(), expected.clip(-(2**14), 2**14))


def test_quality_table_meets_its_knots():
    model = tiny_model()
    view = integer_view(model, 100)
    table = view.weights["stages.0.0.quality"]
    zero = torch.zeros(1, 8, 1, 1, dtype=torch.float64)
    for quality, knot in ((100, 0), (5050, 1), (10000, 2)):
        assert torch.equal(
            IntegerView(view.weights, quality).add_quality("stages.0.0.quality", zero).ravel(), table[knot]
        )


def test_refuses_weights_that_could_leave_the_exact_range():
    tensors = integer_weights(tiny_model().prior)
    assert check_exact(tensors) < 2**53
    tensors["stages.0.0.conv1.weight"] = np.full((8, 8, 3, 3), 2**31 - 1, dtype=np.int32)
    check_exact(tensors)
    tensors["stages.0.0.conv1.weight"] = np.full((8, 2**10, 3, 3), 2**31 - 1, dtype=np.int32)
    with pytest.raises(ModelError, match="exact range"):
        check_exact(tensors)


def test_refuses_weights_that_are_not_finite():
    model = tiny_model()
    with torch.no_grad():
        model.prior.stages[0][0].conv1.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"conv1\.weight"):
        integer_weights(model.prior)
