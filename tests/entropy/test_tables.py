"""The token code of grids and tables against docs/ENTROPY.md §7 and §8, written a second time here."""

from functools import cache

import numpy as np
import pytest
import torch

from leechcodec.entropy import range_coder
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.entropy.tables import (
    check_exact_scores,
    code_grid_tokens,
    code_table_tokens,
    symbol_width,
)
from leechcodec.entropy.token_coder import MIN_BITS_PER_TOKEN
from leechcodec.errors import ConfigError, CorruptError
from leechcodec.testing.entropy_reference import CAP, TOTAL, exponential, integer_pmf, stream
from tests.families import SMALL, quantizer_of, some_codes

mass_of = cache(exponential)
FAMILIES = tuple(name for name in SMALL if name not in ("leech", "leech-ball", "bsq-12", "lfq-6"))


SHIFTS = {"lfq-6": 0, "fsq-8x5x3": 1, "rpq-6-6": 6, "fibonacci-5-6": 6, "d4": 0, "d4x3": 0, "e8": 0, "e8x2": 0,
          "bw16": 0, "vq-6-6": 5, "simvq-6-6": 5, "lgq-6-6": 5, "round-6": 0}  # fmt: skip
"""docs/ENTROPY.md §7, by hand."""


def params_of(quantizer, count, scale, seed=0):
    shape = (count, quantizer.dim, quantizer.params_per_coordinate)
    return np.rint(np.random.default_rng(seed).normal(0, scale, shape)).astype(np.int64)


def reference_symbols(quantizer, params, code):
    """Of one token: (symbol, pmf) in order. params: a list (dim, P) of integers, code: a list of dim."""
    shift, found = SHIFTS[quantizer.name], []

    def terms(a, b, d, v):
        return 2 ** (shift + 1) * (a * v + b * abs(v)) + d * v * v

    def rounded(total):
        return (total + 4**shift) // 2 ** (2 * shift + 1)

    def masses(scores):
        best = max(scores)
        return [mass_of(max(score - best, -1600)) for score in scores]

    if hasattr(quantizer, "codebook"):
        book = quantizer.codebook.tolist()
        size, dim = len(book), len(book[0])
        width = max(w for w in range(1, size + 1) if size % w == 0 and w * w <= size)
        for factor in range(quantizer.factors):
            part = params[factor * dim : (factor + 1) * dim]
            mass = masses([rounded(sum(terms(*p, v) for p, v in zip(part, row))) for row in book])
            sums = []
            for first in range(0, size, width):
                total = 0.0
                for m in mass[first : first + width]:
                    total += m
                sums.append(total)
            index = book.index(code[factor * dim : (factor + 1) * dim])
            found.append((index // width, integer_pmf(sums, CAP if factor == 0 else TOTAL)))
            if width > 1:
                run = index // width * width
                found.append((index % width, integer_pmf(mass[run : run + width])))
    else:
        for i, (p, v) in enumerate(zip(params, code)):
            a, b, d = p if len(p) == 3 else (0, 0, p[0] - 64)
            values = range(quantizer.lowest[i], quantizer.highest[i] + 1)
            mass = masses([rounded(terms(a, b, d, w)) for w in values])
            found.append((v - quantizer.lowest[i], integer_pmf(mass, CAP if i == 0 else TOTAL)))
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_streams_are_those_of_the_specification(name):
    quantizer = quantizer_of(name)
    count = 2 if name in ("bw16", "round-6") else 5
    codes = some_codes(quantizer, count).numpy()
    for scale in (20, 2000):
        params = params_of(quantizer, count, scale)
        tokens = [reference_symbols(quantizer, *pair) for pair in zip(params.tolist(), codes.tolist())]
        symbols = [token[k] for k in range(len(tokens[0])) for token in tokens]  # kind by kind within a group
        coder = range_coder.TokenEncoder()
        quantizer.code_tokens(coder, params, codes)
        assert coder.to_bytes() == stream(symbols)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_written_is_read(name):
    quantizer = quantizer_of(name)
    codes = some_codes(quantizer, 1500).numpy()  # two groups
    for scale in (40, 1e4, 5e8):
        params = params_of(quantizer, 1500, scale).clip(-(2**31), 2**31 - 1)
        coder = range_coder.TokenEncoder()
        assert np.array_equal(quantizer.code_tokens(coder, params, codes), codes)
        data = coder.to_bytes()
        decoder = range_coder.TokenDecoder(data)
        assert np.array_equal(quantizer.code_tokens(decoder, params, None), codes)
        decoder.finish()
        assert 8 * len(data) >= MIN_BITS_PER_TOKEN * 1500 - 64
        with pytest.raises(CorruptError):
            broken = range_coder.TokenDecoder(data[:-8])
            quantizer.code_tokens(broken, params, None)
            broken.finish()


@pytest.mark.parametrize("name", SMALL)
def test_the_coder_charges_what_training_counts(name):
    quantizer = quantizer_of(name).eval()
    codes = some_codes(quantizer, 200)
    if name == "round-6":
        codes = codes.clamp(-3, 3)  # rarer symbols cost 24 bits at most, which training does not know
    params = params_of(quantizer, 200, 15)
    counter = BitCounter(200)
    quantizer.code_tokens(counter, params, codes.numpy())
    expected = quantizer.bits_of(torch.from_numpy(params).float() / 64, codes.float()).numpy()
    # every rounded score is off by at most 1/128 nat
    assert np.abs(counter.token_bits - expected).max() < 0.025 * quantizer.dim + 0.02


@pytest.mark.parametrize("name", FAMILIES)
def test_a_certain_token_still_costs_the_least(name):
    """The bound on how many tokens a file's bytes can hold."""
    quantizer = quantizer_of(name)
    code = some_codes(quantizer, 1)
    shape = (1, quantizer.dim, quantizer.params_per_coordinate)
    params = np.zeros(shape, dtype=np.int64)
    params[..., 0] = code.numpy().astype(np.int64) * 10**6
    counter = BitCounter(1)
    best = quantizer.nearest(code.float())
    quantizer.code_tokens(counter, params, best.numpy())
    assert counter.bits >= MIN_BITS_PER_TOKEN - 1e-12


def test_bad_tokens_and_tables_are_refused():
    table = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.int8)
    params = np.zeros((1, 2, 3), dtype=np.int64)
    coder = range_coder.TokenEncoder()
    with pytest.raises(ValueError, match="only a decoder can do without the tokens"):
        code_table_tokens(coder, params, table, 0)
    with pytest.raises(ValueError, match="only a decoder can do without the tokens"):
        code_grid_tokens(coder, params, [0, 0], [3, 3], 0)
    with pytest.raises(ValueError, match="second symbol"):
        code_grid_tokens(coder, params, [0, 0], [0, 3], 0, np.array([[0, 1]]))
    with pytest.raises(ValueError, match="not in the codebook"):
        code_table_tokens(coder, params, table, 0, np.array([[4]]))
    with pytest.raises(ValueError, match="shape"):
        code_table_tokens(coder, params, table, 0, np.array([[1, 0]]))
    with pytest.raises(ValueError, match="out of range"):
        code_grid_tokens(coder, params, [0, 0], [3, 3], 0, np.array([[4, 0]]))
    with pytest.raises(ValueError, match="shape"):
        code_grid_tokens(coder, params, [0, 0], [3, 3], 0, np.array([4, 0]))
    with pytest.raises(TypeError):
        code_table_tokens(coder, params.astype(float), table, 0, np.array([[1]]))
    with pytest.raises(ConfigError, match="too large to code"):
        check_exact_scores(np.full((2, 1000), 127, dtype=np.int8), 7)
    assert [symbol_width(size) for size in (2, 3, 24, 240, 4096, 4320)] == [1, 1, 4, 15, 64, 60]
