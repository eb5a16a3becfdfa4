"""Exact token probabilities: the table, the integer rule, and fast kernels equal to the plain reference to the bit."""

import hashlib
from decimal import Decimal, Inexact, Overflow, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.entropy import leech_masses, leech_symbols, pmf
from leechcodec.lattice import leech
from leechcodec.testing.entropy_reference import Reference
from leechcodec.testing.entropy_reference import coordinate_masses as reference_coordinate_masses
from leechcodec.testing.entropy_reference import integer_pmf as reference_integer_pmf

SCALES = (0, 10, 60, 400, 10**6)


@pytest.fixture(scope="module")
def params() -> np.ndarray:
    """75 tokens, flat to clamped: two full rows of lanes and part of a third."""
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(0, scale, (15, 24, 3)) for scale in SCALES]).astype(np.int64)


@pytest.fixture(scope="module")
def reference(params: np.ndarray) -> Reference:
    return Reference(params)


def test_the_table_of_exponentials_is_the_one_specified():
    digest = hashlib.sha256(pmf.exponentials().astype("<f8").tobytes()).hexdigest()
    assert digest == "f2f5653b82a645c60b5ef0db93f0afb9959c2535a3784238e592aee60f3ad404"


def test_the_table_has_nothing_of_the_callers_context():
    pmf.exponentials.cache_clear()
    with localcontext() as context:
        context.Emax, context.rounding = 6, "ROUND_DOWN"
        context.traps[Inexact], context.traps[Overflow] = True, False
        test_the_table_of_exponentials_is_the_one_specified()
    pmf.exponentials.cache_clear()


def test_the_table_is_rounded_correctly_with_room_to_spare():
    table = pmf.exponentials()
    with localcontext() as context:
        context.prec = 60
        for k in range(-1600, 1601):
            exact, value = (Decimal(k) / 64).exp(), float(table[k + 1600])
            for neighbour in (np.nextafter(value, 0), np.nextafter(value, np.inf)):
                middle = (Decimal(value) + Decimal(float(neighbour))) / 2
                assert abs(exact - Decimal(value)) < abs(exact - Decimal(float(neighbour)))
                assert abs(exact - middle) > exact * Decimal("1e-30")


def test_scores_are_clamped_and_floored(params: np.ndarray):
    masses = leech_masses.coordinate_masses(params)
    assert np.array_equal(masses, reference_coordinate_masses(params))
    assert (masses[:, :, 4] == 1).all()
    assert masses.min() == pmf.exponentials()[0] and masses.max() == pmf.exponentials()[-1]


def test_extreme_params_do_not_overflow():
    params = np.array([[[1, 1, 1], [-1, 1, -1]] * 12]) * (2**31 - 1)
    assert np.array_equal(leech_masses.coordinate_masses(params), reference_coordinate_masses(params))


@pytest.mark.slow
def test_the_sums_over_the_codebook_equal_the_reference_to_the_bit(params: np.ndarray, reference: Reference):
    classes, octads, pairs = leech_masses.shell_masses(params)
    assert np.array_equal(classes, np.stack(reference.classes, axis=1))
    assert np.array_equal(octads, np.stack(reference.octads, axis=1))
    assert np.array_equal(pairs, np.array(reference.pairs).transpose(2, 0, 1))
    assert np.array_equal(leech_masses.sums_over_a(pairs), np.stack(reference.x, axis=1))


def test_a_token_has_the_same_masses_in_any_lane(params: np.ndarray):
    together = leech_masses.shell_masses(params)
    for start, count in ((1, 1), (3, 40), (70, 5)):
        for whole, part in zip(together, leech_masses.shell_masses(params[start : start + count])):
            assert np.array_equal(whole[start : start + count], part)


def test_the_masses_within_a_class_equal_the_reference_to_the_bit(params: np.ndarray, reference: Reference):
    e = leech_masses.coordinate_masses(params)
    t = leech_masses.entry_masses(e)
    assert np.array_equal(t, reference.t)
    assert np.array_equal(leech_masses.first_entry_masses(t), np.stack([reference.first[i] for i in range(23)], axis=1))
    everywhere = np.ones(len(e), dtype=np.int64)
    for octad in (0, 100, 758):
        sign, rest = leech_masses.octad_sign_masses(e, octad * everywhere)
        for k in range(7):
            for parity in (0, 1):
                masses = leech_masses.next_sign_masses(sign, rest, k, parity * everywhere)
                assert np.array_equal(masses, np.stack(reference.sign(octad, k, parity), axis=1))
    for x, a in ((0, 0), (7, 12), (15, 15)):
        masses = leech_masses.last_word_masses(e, x * everywhere, a * everywhere)
        assert np.array_equal(masses, np.stack(reference.b(x, a), axis=1))
    for word in (0, 1234, 4095):
        assert np.array_equal(leech_masses.flip_masses(e, word * everywhere), np.stack(reference.flip(word), axis=1))


@pytest.mark.slow
def test_the_class_masses_are_those_of_the_whole_codebook(params: np.ndarray):
    """Against brute force over 196,560 rows, in logarithms (clamped params included)."""
    e = leech_masses.coordinate_masses(params[::9])
    classes = np.log(leech_masses.shell_masses(params[::9])[0])
    columns = leech.codebook().astype(np.int64) + 4
    bounds = [0, leech.OFFSET_2, leech.OFFSET_3, leech.SIZE]
    for token, masses in zip(np.log(e), classes):
        scores = sum(token[i][columns[:, i]] for i in range(24))
        for k in range(3):
            part = scores[bounds[k] : bounds[k + 1]]
            assert masses[k] == pytest.approx(part.max() + np.log(np.exp(part - part.max()).sum()), abs=1e-9)


@settings(max_examples=200)
@given(
    st.lists(st.floats(-600, 600), min_size=2, max_size=40),
    st.sampled_from([pmf.TOTAL, pmf.FIRST_SYMBOL_CAP]),
)
def test_a_pmf_is_positive_and_sums_to_the_total(logarithms: list[float], cap: int):
    masses = np.exp(np.array([logarithms]))
    q = pmf.integer_pmf(masses, cap)
    assert q.sum() == pmf.TOTAL and q.min() >= 1 and q.max() <= cap
    assert q[0].tolist() == reference_integer_pmf(masses[0].tolist(), cap)


def test_a_pmf_of_equal_masses_and_of_one():
    assert pmf.integer_pmf(np.ones((1, 3)))[0].tolist() == [5592406, 5592405, 5592405]
    assert pmf.integer_pmf(np.full((1, 1), 0.3))[0].tolist() == [pmf.TOTAL]
    assert pmf.integer_pmf(np.ones((0, 5))).shape == (0, 5)
    with pytest.raises(ValueError, match="second symbol"):
        pmf.integer_pmf(np.ones((2, 1)), pmf.FIRST_SYMBOL_CAP)
    for alphabet in (759, 65536):
        q = pmf.integer_pmf(np.ones((1, alphabet)))
        assert q.sum() == pmf.TOTAL and q.min() >= 1


def test_symbols_and_codewords_are_inverse():
    tokens = leech.codebook()[::7]
    symbols = leech_symbols.tokens_to_symbols(tokens)
    assert np.array_equal(leech_symbols.symbols_to_tokens(symbols), tokens)
    assert np.array_equal(np.unique(symbols[:, 0]), [0, 1, 2])


def test_bad_params_are_refused():
    with pytest.raises(TypeError):
        pmf.integer_params(np.zeros((1, 24, 3)), (24, 3))
    with pytest.raises(ValueError, match="shape"):
        pmf.integer_params(np.zeros((1, 24), dtype=int), (24, 3))
    with pytest.raises(ValueError, match="int32"):
        pmf.integer_params(np.full((1, 24, 3), 2**31), (24, 3))
