"""The fast paths against the plain reference: scores must agree; where codewords tie, either may be returned."""

import numpy as np
import pytest
import torch

from leechcodec.lattice import kernels, leech, reference, torch_kernels


def directions(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    if kind == "random":
        return rng.standard_normal((70, 24))
    if kind == "clustered":
        return leech.codebook()[rng.integers(0, leech.SIZE, 70)] + 0.3 * rng.standard_normal((70, 24))
    if kind == "tied":
        return np.concatenate([rng.integers(-1, 2, (69, 24)), np.ones((1, 24))]) + (np.arange(24) == 0)
    return np.eye(24) * rng.choice([-1, 1], 24)


def scores(scale: float, count: int = 50) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.standard_normal((count, 24, 9)) * scale).clip(-25, 25).astype(np.float32)


def score_of(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.take_along_axis(table.astype(np.float64), codes[..., None].astype(np.int64) + 4, 2).sum((1, 2))


@pytest.mark.parametrize("kind", ["random", "clustered", "tied", "one-hot"])
def test_nearest_equals_brute_force(kind):
    z = directions(kind).astype(np.float32)
    codes, expected = kernels.nearest(z), reference.nearest(z)
    leech.vector_to_index(codes)
    assert (z * codes).sum(1) == pytest.approx((z * expected).sum(1), rel=1e-5)


def test_codewords_are_their_own_nearest():
    book = leech.codebook()
    assert np.array_equal(kernels.nearest(book.astype(np.float32)), book)


def test_mean_cosine_of_uniform_directions():
    """0.777, as measured for this codebook: D = 1 - 0.777² = 0.396."""
    z = np.random.default_rng(0).standard_normal((20_000, 24)).astype(np.float32)
    cosine = (z * kernels.nearest(z)).sum(1) / np.linalg.norm(z, axis=1) / 32**0.5
    assert cosine.mean() == pytest.approx(0.777, abs=0.002)


@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0, 25.0])
def test_best_equals_brute_force(scale):
    table = scores(scale)
    codes, values = kernels.best(table)
    leech.vector_to_index(codes)
    _, expected = reference.best(table)
    assert score_of(table, codes) == pytest.approx(expected, rel=1e-5, abs=1e-4)
    assert values == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0, 25.0])
def test_log_partition_equals_brute_force(scale):
    table = scores(scale)
    expected, probabilities = reference.log_partition_and_marginals(table)
    values, marginals = kernels.log_partition_and_marginals(table)
    assert values == pytest.approx(expected, rel=1e-9)
    assert kernels.log_partition(table) == pytest.approx(expected, rel=1e-9)
    assert marginals == pytest.approx(probabilities, abs=1e-6)
    assert marginals.sum(2) == pytest.approx(1, abs=1e-5)


def test_uniform_scores_count_the_codebook():
    assert np.exp(kernels.log_partition(np.zeros((1, 24, 9)))) == pytest.approx(196_560)
    extreme = np.full((2, 24, 9), 25.0)
    extreme[1] = -25
    assert kernels.log_partition(extreme) == pytest.approx(np.log(196_560) + 24 * np.array([25, -25]))


@pytest.mark.parametrize("scale", [0.5, 4.0, 25.0])
def test_torch_form_agrees_with_its_gradient(scale):
    table = torch.from_numpy(scores(scale)).requires_grad_()
    ours = torch_kernels.log_partition(table)
    (gradient,) = torch.autograd.grad(ours.sum(), table)
    plain = torch_kernels.log_partition_torch(table)
    (expected,) = torch.autograd.grad(plain.sum(), table)
    assert torch.allclose(ours, plain, rtol=1e-5)
    assert torch.allclose(gradient, expected, atol=2e-5)


def test_gradient_against_finite_differences():
    table = scores(1.0, 1).astype(np.float64)
    _, marginals = kernels.log_partition_and_marginals(table)
    for i, v in ((0, 0), (5, 3), (11, 4), (17, 6), (23, 8)):
        step = np.zeros_like(table)
        step[0, i, v] = 1e-4
        slope = (kernels.log_partition(table + step) - kernels.log_partition(table - step)) / 2e-4
        assert slope[0] == pytest.approx(marginals[0, i, v], abs=1e-6)


def test_numbers_of_tokens():
    for count in (0, 1, 31, 32, 33, 65):
        z = np.random.default_rng(count).standard_normal((count, 24)).astype(np.float32)
        assert np.array_equal(kernels.nearest(z), torch_kernels.nearest(torch.from_numpy(z)).numpy())
        assert len(kernels.log_partition(scores(1.0)[:count])) == min(count, 50)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_refuses_zero_and_non_finite_directions(bad):
    z = np.ones((3, 24), dtype=np.float32)
    z[1] = bad
    with pytest.raises(ValueError, match="zero or not finite"):
        kernels.nearest(z)
    if bad != 0:
        with pytest.raises(ValueError, match="not finite"):
            kernels.best(np.full((1, 24, 9), bad, dtype=np.float32))


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="shape"):
        kernels.nearest(np.ones((3, 23), dtype=np.float32))
    with pytest.raises(ValueError, match="shape"):
        kernels.log_partition(np.ones((3, 24, 8)))
