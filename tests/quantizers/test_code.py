"""The codes without torch against the quantizers with it."""

import numpy as np
import pytest
import torch

from leechcodec.errors import QuantizerError
from leechcodec.quantizers import make_quantizer
from leechcodec.quantizers.code import code_of

NAMES = ["leech", "leech-ball", "bsq-18", "bsq-7"]


@pytest.mark.parametrize("name", NAMES)
def test_a_code_is_its_quantizers(name):
    code, quantizer = code_of(name), make_quantizer(name)
    for field in ("name", "dim", "size", "norm_squared", "max_entry", "num_params", "code_shift", "code_scale", "bits"):
        assert getattr(code, field) == getattr(quantizer, field), field
    z = np.random.default_rng(0).normal(size=(3000, code.dim)).astype(np.float32)
    z *= np.random.default_rng(1).uniform(0, 3, size=(3000, 1)).astype(np.float32)
    z[:5] = np.array([0, np.nan, np.inf, 1e-20, 1e20])[:, None]
    z[5:8, 2] = np.nan, np.inf, -np.inf
    codes = code.codes_nearest(z)
    assert codes.dtype == np.int8
    assert np.array_equal(codes, quantizer.quantize(torch.from_numpy(z), check=False)[0].numpy())
    numbers = code.numbers_of(codes)
    assert np.array_equal(numbers, quantizer.codes_to_indices(torch.from_numpy(codes)).numpy())
    assert np.array_equal(code.codes_of(numbers), codes)


def test_others_need_torch():
    assert code_of("vq-8-4") is None and code_of("fsq-3x3") is None and code_of("bsq-0") is None


@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_is_no_code(name):
    code = code_of(name)
    with pytest.raises(QuantizerError, match="dimensions"):
        code.numbers_of(np.zeros((2, code.dim + 1), dtype=np.int8))
    with pytest.raises(QuantizerError, match="integers within"):
        code.numbers_of(np.full((2, code.dim), code.max_entry + 1, dtype=np.int8))
    with pytest.raises(QuantizerError, match="out of range"):
        code.codes_of(np.array([code.size]))
    with pytest.raises(QuantizerError):
        code.numbers_of(np.array([[1, 0] + [0] * (code.dim - 2)], dtype=np.int8))
