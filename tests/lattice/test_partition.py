"""The normaliser over all of the lattice: against the plain reference, the theta series and a count."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lattice import point_reference
from leechcodec.lattice.partition import CLAMP, coset_masses, log_partition, residue_masses
from tests.lattice.test_closest import tables


def clamped(scores: np.ndarray) -> np.ndarray:
    return np.maximum(scores, scores.max(axis=1, keepdims=True) - CLAMP)


def theta(terms: int) -> list[int]:
    """How many points have squared norm 16·n: 65520/691·(sigma11(n) - tau(n)) (Conway and Sloane, ch. 4 §11)."""
    tau = np.zeros(terms + 1, dtype=object)
    tau[1] = 1
    for n in range(1, terms + 1):
        for _ in range(24):  # times (1 - q^n), 24 times
            for k in range(terms, n, -1):
                tau[k] -= tau[k - n]
    sigma = [sum(d**11 for d in range(1, n + 1) if n % d == 0) for n in range(terms + 1)]
    return [1] + [65520 * (sigma[n] - tau[n]) // 691 for n in range(1, terms + 1)]


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0, 30.0])
@pytest.mark.parametrize("width", [16, 48])
def test_equals_the_reference(spread, width):
    scores, index = tables(spread, 20, width)
    expected = point_reference.log_partition(clamped(scores)[index])
    assert log_partition(scores, index) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_theta_series():
    assert theta(5) == [1, 0, 196560, 16773120, 398034000, 4629381120]
    for t in (0.2, 0.35, 0.5):
        scores = -t * np.square(np.arange(32) - 16.0)[None]
        expected = math.log(sum(count * math.exp(-16 * t * n) for n, count in enumerate(theta(30))))
        assert log_partition(scores, np.zeros((1, 24), dtype=int))[0] == pytest.approx(expected, abs=1e-6)


def test_equal_scores_count_the_points_of_a_box():
    """Of the 16^24 vectors of a window of 16, one in 2^36: the lattice's determinant in integer form is 8^12."""
    value = log_partition(np.full((1, 16), 7.0), np.zeros((1, 24), dtype=int))[0]
    assert value == pytest.approx(24 * math.log(16) - 36 * math.log(2) + 24 * 7, rel=1e-14)


@given(st.integers(0, 10**6))
def test_constants_of_a_table_add_up(seed):
    scores, index = tables(2.0, 2, seed=seed)
    shift = np.random.default_rng(seed).standard_normal((len(scores), 1)) * 100
    expected = log_partition(scores, index) + shift[index][..., 0].sum(axis=1)
    assert log_partition(scores + shift, index) == pytest.approx(expected, abs=1e-8)


def test_the_strongest_scores_neither_underflow_nor_overflow():
    """Tables that ask for a vector far from every point: all products are the smallest that there are."""
    scores = np.full((1, 32), -1e6)
    scores[0, 17] = 0.0  # all ones: its sum is 24, not 4 modulo 8
    value = log_partition(scores, np.zeros((1, 24), dtype=int))[0]
    expected = point_reference.log_partition(clamped(scores)[np.zeros((1, 24), dtype=int)])[0]
    assert value == pytest.approx(expected, rel=1e-12) and -700 < value < 0


def test_the_order_of_operations_is_the_documented_one():
    """docs/lattice.md in plain Python, one token: to the bit."""
    scores, index = tables(4.0, 3, 32)
    masses = np.exp(np.maximum(scores - scores.max(axis=1, keepdims=True), -CLAMP))
    residues = residue_masses(masses)
    for row in index:
        r = [[sum_in_order(masses[table, v::8]) for v in range(8)] for table in row]
        assert np.array_equal(r, residues[row])
        assert coset_masses_of(r) == coset_masses(residues, row[None])[0].tolist()


def sum_in_order(terms) -> float:
    terms = [float(term) for term in terms]
    total = terms[0]
    for term in terms[1:]:
        total += term
    return total


def product(left: tuple, right: tuple) -> tuple:
    (p, q), (u, v) = left, right
    return p * u + q * v, p * v + q * u


def coset_masses_of(r: list[list[float]]) -> list[float]:
    from leechcodec.lattice.golay import hamming, hamming_reversed

    def half(first: int, bits, m: int) -> tuple:
        pair = None
        for i, bit in zip(range(first, first + 4), bits):
            own = float(r[i][m + 2 * bit]), float(r[i][m + 2 * bit + 4])
            pair = own if pair is None else product(pair, own)
        return pair

    found = []
    for m in range(2):
        for y in range(8):
            classes = []
            for block in range(3):
                for q in range(8):
                    byte = [int(bit) for bit in hamming()[q] ^ hamming_reversed()[y]]
                    pairs = [product(half(8 * block, bits[:4], m), half(8 * block + 4, bits[4:], m))
                             for bits in (byte, [1 - bit for bit in byte])]  # fmt: skip
                    classes.append((pairs[0][0] + pairs[1][0], pairs[0][1] + pairs[1][1]))
            terms = []
            for c in range(8):
                products = [product(classes[a], classes[8 + (a ^ c)]) for a in range(8)]
                even, odd = sum_in_order(p[0] for p in products), sum_in_order(p[1] for p in products)
                z = classes[16 + c]
                terms.append(even * z[m] + odd * z[1 - m])
            found.append(sum_in_order(terms))
    return found


def test_refuses_bad_arguments():
    scores, index = tables(1.0, 2)
    with pytest.raises(ValueError, match="not finite"):
        log_partition(np.where(scores > 1, -np.inf, scores), index)
    with pytest.raises(ValueError, match="out of range"):
        log_partition(scores, index - 1)
    with pytest.raises(ValueError, match=r"\(S, W\)"):
        log_partition(scores[index], index)
