import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.entropy import point_coding, point_masses, point_symbols
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, TOTAL
from leechcodec.entropy.point_coding import code_points, point_bits
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.range_coder import TokenDecoder, TokenEncoder
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.errors import CorruptError
from leechcodec.lattice import partition
from leechcodec.lattice.closest import best_point
from leechcodec.lattice.points import is_point
from tests.lattice.test_points import random_points


def laplacian(width: int, count: int = 12) -> np.ndarray:
    """Integer scores of Laplacians of scale 1/4 to 8, in 1/64 nat: (count, width)."""
    values = np.abs(np.arange(width) - width // 2)
    return np.round(-64 * values / 2.0 ** np.linspace(-2, 3, count)[:, None]).astype(np.int64)


def model(seed: int, width: int, count: int, spread: float) -> tuple[ScoreTables, np.ndarray, np.ndarray, np.ndarray]:
    """Random tables, an index, points that are probable under them with noise, and the scores in nats."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.standard_normal((7, width)) * spread).astype(np.int64)
    index = rng.integers(0, 7, (count, 24))
    noisy = scores[index].reshape(-1, width) + rng.gumbel(size=(24 * count, width)) * 64
    points, _ = best_point(noisy, np.arange(24 * count).reshape(count, 24))
    return ScoreTables.of(scores), index, points, scores / 64


def encoded(tables: ScoreTables, index: np.ndarray, points: np.ndarray) -> bytes:
    encoder = TokenEncoder()
    assert np.array_equal(code_points(encoder, tables, index, points), points)
    return encoder.to_bytes()


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([16, 32, 96]), st.integers(0, 40), st.sampled_from([0.0, 30.0, 5000.0]))
def test_round_trip(seed, width, count, spread):
    tables, index, points, _ = model(seed, width, count, spread)
    decoder = TokenDecoder(encoded(tables, index, points))
    assert np.array_equal(code_points(decoder, tables, index), points)
    decoder.finish()


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_symbols_are_an_inverse_pair(seed, reach):
    points = random_points(30, seed, reach)
    symbols = point_symbols.points_to_symbols(points, 64)
    assert np.array_equal(point_symbols.symbols_to_points(symbols, 64), points)
    alphabets = np.array([16, 16, 16, 2, *[16] * 23, 8])
    assert (symbols >= 0).all() and (symbols < alphabets).all()


def any_symbols(count: int) -> np.ndarray:
    """Random symbols over a window of 32: (count, 28)."""
    return np.random.default_rng(1).integers(0, np.array([16, 16, 16, 2, *[8] * 23, 4]), (count, 28))


def test_any_symbols_make_a_point():
    symbols = any_symbols(500)
    points = point_symbols.symbols_to_points(symbols, 32)
    assert np.array_equal(point_symbols.points_to_symbols(points, 32), symbols)


class Ideal(TokenCoder):
    """Adds up -log of each symbol's share of the masses it is given in place of pmfs."""

    def __init__(self, count: int) -> None:
        self.nats = np.zeros(count)

    def code(self, pmf, symbols, tokens=None):
        self.nats[tokens] -= np.log(np.take_along_axis(pmf, symbols[:, None], 1)[:, 0] / pmf.sum(axis=1))
        return symbols

    def _code(self, pmf, symbols, tokens):
        raise NotImplementedError


@pytest.mark.parametrize("spread", [0.0, 40.0, 400.0])
def test_the_conditionals_multiply_to_the_score_minus_the_normaliser(spread, monkeypatch):
    tables, index, points, scores = model(2, 32, 100, spread)
    monkeypatch.setattr(point_coding, "integer_pmf", lambda masses, cap: masses)
    coder = Ideal(len(points))
    code_points(coder, tables, index, points)
    clamped = np.maximum(scores, scores.max(axis=1, keepdims=True) - 25)
    own = clamped[index, points + 16].sum(axis=1)
    assert coder.nats == pytest.approx(partition.log_partition(scores, index) - own, rel=1e-12, abs=1e-10)


def test_ideal_code_length_and_file_agree_with_the_model():
    """Integer pmfs cost next to nothing; the file at most two words more."""
    tables, index, points, scores = model(3, 32, 2000, 60.0)
    bits = point_bits(tables, index, points)
    ideal = (partition.log_partition(scores, index) - scores[index, points + 16].sum(axis=1)) / math.log(2)
    assert bits == pytest.approx(ideal, abs=2e-3)
    assert 0 <= 8 * len(encoded(tables, index, points)) - bits.sum() <= 64 + 2000 * 28e-4


def test_a_certain_point_costs_what_the_cap_says():
    scores = np.full((1, 16), -10_000)
    scores[0, 8] = 0
    index, silence = np.zeros((300, 24), dtype=int), np.zeros((300, 24), dtype=int)
    bits = point_bits(ScoreTables.of(scores), index, silence)
    assert bits == pytest.approx(24 - math.log2(FIRST_SYMBOL_CAP), abs=1e-4)


def test_the_least_probable_points_are_coded_too():
    """At the clamp in every coordinate: masses of exp(-600), of which nothing underflows."""
    scores = laplacian(32, 1) * 100
    points = np.concatenate([random_points(20, 4), 1 - 4 * (np.arange(24) == 3)[None]])
    points = points[(np.abs(points) < 16).all(axis=1)]
    tables, index = ScoreTables.of(scores), np.zeros(points.shape, dtype=int)
    decoder = TokenDecoder(encoded(tables, index, points))
    assert np.array_equal(code_points(decoder, tables, index), points)
    assert (point_bits(tables, index, points) <= 28 * 24).all()


def test_groups_do_not_change_the_length(monkeypatch):
    tables, index, points, _ = model(5, 16, 50, 60.0)
    bits = point_bits(tables, index, points)
    monkeypatch.setattr(point_coding, "GROUP", 7)
    assert np.array_equal(point_bits(tables, index, points), bits)
    decoder = TokenDecoder(encoded(tables, index, points))
    assert np.array_equal(code_points(decoder, tables, index), points)


def test_pmfs_sum_to_one_in_every_step():
    class Checked(BitCounter):
        def _code(self, pmf, symbols, tokens):
            assert (pmf.sum(axis=1) == TOTAL).all() and (pmf >= 1).all()
            return super()._code(pmf, symbols, tokens)

    tables, index, points, _ = model(6, 48, 200, 300.0)
    counter = Checked()
    code_points(counter, tables, index, points)
    assert counter.bits > 0


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_operations_of_the_later_symbols_is_the_documented_one(seed):
    """docs/lattice.md in plain Python, one token: to the bit."""
    from leechcodec.lattice.golay import hamming, hamming_reversed
    from tests.lattice.test_partition import product, sum_in_order

    tables, index, points, _ = model(seed, 32, 1, 200.0)
    found = point_symbols.points_to_symbols(points, 32)
    (coset, third, second, _), r = found[0, :4], tables.residues[index[0]]
    m, y = divmod(int(coset), 8)
    pairs, third_masses = point_masses.block_masses(tables.residues, index, found[:, 0])
    words = []
    for block in range(3):
        for word in hamming():
            bits = (word ^ hamming_reversed()[y]).astype(int)
            half = []
            for first in (0, 4):
                pair = None
                for t in range(first, first + 4):
                    i = 8 * block + t
                    own = float(r[i, m + 2 * bits[t]]), float(r[i, m + 2 * bits[t] + 4])
                    own = own[::-1] if m and i == 23 else own
                    pair = own if pair is None else product(pair, own)
                half.append(pair)
            words.append(product(*half))
    x, b, z = words[:16], words[16:32], words[32:]
    assert pairs[0].reshape(48, 2).tolist() == [list(pair) for pair in words]

    def both(pair, other):
        return pair[0] + other[0], pair[1] + other[1]

    ones = point_masses.ONES
    folded = [[both(block[k], block[k ^ ones]) for k in range(8)] for block in (x, b)]
    expected = []
    for word in range(16):
        c = min(word, word ^ ones)
        products = [product(folded[0][k ^ c], folded[1][k]) for k in range(8)]
        even, odd = sum_in_order(p[0] for p in products), sum_in_order(p[1] for p in products)
        expected.append(even * z[word][0] + odd * z[word][1])
    assert third_masses[0].tolist() == expected
    expected = []
    for word in range(16):
        p = product(both(x[word ^ third], x[word ^ third ^ ones]), b[word])
        expected.append(p[0] * z[third][0] + p[1] * z[third][1])
    assert point_masses.second_masses(pairs, found[:, 1])[0].tolist() == expected
    expected = []
    for complemented in (0, ones):
        p = product(x[second ^ third ^ complemented], b[second])
        expected.append(p[0] * z[third][0] + p[1] * z[third][1])
    assert point_masses.first_masses(pairs, found[:, 2], found[:, 1])[0].tolist() == expected

    residue, rows = points[0] % 4, index.T.copy()
    later = [(1.0, 0.0)]
    for i in range(23, 0, -1):
        zero, one = float(r[i, residue[i]]), float(r[i, residue[i] + 4])
        even, odd = later[0]
        later.insert(0, (zero * even + one * odd, zero * odd + one * even))
    first = points.T % 4
    assert point_masses.later_masses(tables.residues, rows, first)[:, 0].tolist() == [list(pair) for pair in later]
    for i in range(24):
        own = tables.masses[index[0, i]]
        for odd in range(2):
            expected = [own[residue[i] + 4 * k] * later[i][odd ^ (k & 1)] for k in range(8)]
            expected = [own[residue[i] + 4 * k] for k in range(odd, 8, 2)] if i == 23 else expected
            arguments = rows[i], first[i], np.array([later[i]]), np.array([odd]), i == 23
            assert point_masses.value_masses(tables.masses, *arguments)[0].tolist() == expected


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_processor():
    """Compiled for the plainest x86-64 or for this processor: the same masses to the bit, so the same stream."""
    program = (
        "import hashlib; from tests.entropy.test_point_coding import *;"
        "points = point_symbols.symbols_to_points(any_symbols(100), 32);"
        "print(hashlib.sha256(encoded(ScoreTables.of(laplacian(32)), points % 12, points)).hexdigest())"
    )
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", program]
    results = [
        subprocess.run(command, env=os.environ | extra, capture_output=True, text=True).stdout for extra in (plain, {})
    ]
    assert results[0] and results[0] == results[1]


def test_a_decoder_refuses_what_is_no_stream():
    tables, index, points, _ = model(8, 16, 400, 60.0)
    data = encoded(tables, index, points)
    with pytest.raises(CorruptError):
        decoder = TokenDecoder(data[: len(data) // 8 * 4])
        code_points(decoder, tables, index)
        decoder.finish()
    with pytest.raises(CorruptError):
        decoder = TokenDecoder(data + b"1234")
        code_points(decoder, tables, index)
        decoder.finish()


@given(st.binary(max_size=200))
def test_any_bytes_give_points_or_an_error(data):
    tables, index, _, _ = model(11, 16, 20, 60.0)
    try:
        decoder = TokenDecoder(data)
        points = code_points(decoder, tables, index)
    except CorruptError:
        return
    assert is_point(points).all() and np.abs(points + 0.5).max() < 8


def test_refuses_bad_arguments():
    tables, index, points, _ = model(9, 16, 5, 60.0)
    wrong = points.copy()
    wrong[2, 3] += 1
    with pytest.raises(ValueError, match="only a decoder can do without the tokens"):
        code_points(TokenEncoder(), tables, index)
    with pytest.raises(ValueError, match="not a point"):
        point_bits(tables, index, wrong)
    wrong[2, 3] = points[2, 3] + 16
    with pytest.raises(ValueError, match="window of 16"):
        point_bits(tables, index, wrong)
    with pytest.raises(ValueError, match="expected points of shape"):
        point_bits(tables, index, points[:4])
    with pytest.raises(ValueError, match="out of range"):
        point_bits(tables, index + 7, points)
    with pytest.raises(TypeError, match="integers"):
        ScoreTables.of(np.zeros((2, 16)))
    with pytest.raises(ValueError, match=r"\(S, W\)"):
        ScoreTables.of(np.zeros(16, dtype=int))
    with pytest.raises(ValueError, match="int32"):
        ScoreTables.of(np.full((1, 16), 2**31))
    with pytest.raises(ValueError, match="multiple of 16"):
        ScoreTables.of(np.zeros((1, 20), dtype=int))
