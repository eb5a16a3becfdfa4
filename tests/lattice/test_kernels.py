"""The fast paths against the plain reference: scores must agree; where codewords tie, either may be returned."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from leechcodec.lattice import kernels, leech, reference, torch_kernels

SCALES = [0.0, 0.5, 4.0, 1000.0]
"""Of the normal scores before they are clamped to ±25 nats: 1000 leaves little but the extremes."""


def directions(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    if kind == "random":
        z = rng.standard_normal((100, 24))
    elif kind == "clustered":
        z = leech.codebook()[rng.integers(0, leech.SIZE, 100)] + 0.3 * rng.standard_normal((100, 24))
    elif kind == "sparse":
        z = np.concatenate([np.eye(24), -np.eye(24), np.eye(24) + np.eye(24)[rng.permutation(24)]])
    elif kind == "integer ties":
        z = np.concatenate([np.ones((2, 24)) * [[1], [-1]], rng.integers(-1, 2, (60, 24)) + (np.arange(24) == 0) * 3])
    elif kind == "half-integer ties":
        z = rng.integers(-2, 2, (60, 24)) + 0.5
    elif kind == "midpoints":  # halfway to a neighbour at inner product 16
        i, j = rng.integers(leech.OFFSET_2, leech.SIZE, (2, 4000))
        ends = leech.codebook()[[i, j]].astype(int)
        z = ends.sum(0)[(ends[0] * ends[1]).sum(1) == 16]
    return z.astype(np.float32)


def scores(scale: float, count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.standard_normal((count, 24, 9)) * scale).clip(-25, 25).astype(np.float32)


def score_of(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.take_along_axis(table.astype(np.float64), codes[..., None].astype(np.int64) + 4, 2).sum((1, 2))


@pytest.mark.parametrize("kind", ["random", "clustered", "sparse", "integer ties", "half-integer ties", "midpoints"])
def test_nearest_equals_brute_force(kind):
    z = directions(kind)
    expected = (z * reference.nearest(z)).sum(1)
    assert len(z) >= 50
    for codes in (kernels.nearest(z), torch_kernels.nearest_torch(torch.from_numpy(z)).numpy()):
        leech.vector_to_index(codes)
        assert (z * codes).sum(1) == pytest.approx(expected, rel=1e-5)


def test_every_codeword_is_its_own_nearest():
    book = leech.codebook().astype(np.float32)
    assert np.array_equal(kernels.nearest(book), leech.codebook())
    assert np.array_equal(kernels.nearest_index(book), np.arange(leech.SIZE))


def test_index_belongs_to_the_codeword():
    z = np.random.default_rng(1).standard_normal((20_000, 24))
    indices = kernels.nearest_index(z)
    assert np.array_equal(indices, leech.vector_to_index(kernels.nearest(z)))
    classes = np.searchsorted([leech.OFFSET_2, leech.OFFSET_3], indices, side="right")
    assert (np.bincount(classes, minlength=3) > 0).all()


@pytest.mark.parametrize("exponent", [-149, -100, 100, 125])
def test_nearest_does_not_depend_on_the_length(exponent):
    """Integers times a power of two, from denormal numbers to the largest, so that the products are exact."""
    z = np.random.default_rng(2).integers(-3, 4, (50, 24)) + 4 * np.eye(24)[0]
    scaled = np.ldexp(z, exponent).astype(np.float32)
    assert np.array_equal(kernels.nearest(scaled), kernels.nearest(z))
    if exponent > -149:  # torch's products are not told to keep denormal numbers
        found = torch_kernels.nearest_torch(torch.from_numpy(scaled)).numpy()
        assert np.array_equal(found, torch_kernels.nearest_torch(torch.from_numpy(z).float()).numpy())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX's")
def test_a_fork_searches_on_threads_of_its_own():
    code = (
        "import os, signal, warnings, torch; warnings.simplefilter('ignore'); torch.set_num_threads(2)\n"
        "from leechcodec.lattice.torch_kernels import nearest\n"
        "z = torch.randn(64, 24)\n"
        "expected = nearest(z)\n"
        "if (child := os.fork()) == 0:\n"
        "    signal.alarm(60)\n"
        "    os._exit(not torch.equal(nearest(z), expected))\n"
        "raise SystemExit(os.waitpid(child, 0)[1])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_neighbours_in_a_batch_do_not_matter():
    z, table = np.random.default_rng(4).standard_normal((77, 24)).astype(np.float32), scores(2.0)
    order = np.random.default_rng(5).permutation(77)
    assert np.array_equal(kernels.nearest(z)[order], kernels.nearest(z[order]))
    for count in (0, 1, 15, 16, 17, 33):
        assert np.array_equal(kernels.nearest(z[:count]), kernels.nearest(z)[:count])
        assert np.array_equal(kernels.best(table[:count])[0], kernels.best(table)[0][:count])
        assert np.array_equal(kernels.log_partition(table[:count]), kernels.log_partition(table)[:count])


def test_mean_cosine_of_uniform_directions():
    """0.777 for this codebook (Zhao et al. 2025), so the error is 1 - 0.777² = 0.396 of the squared length."""
    z = np.random.default_rng(0).standard_normal((20_000, 24)).astype(np.float32)
    cosine = (z * kernels.nearest(z)).sum(1) / np.linalg.norm(z, axis=1) / 32**0.5
    assert cosine.mean() == pytest.approx(0.777, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_best_equals_brute_force(scale):
    table = scores(scale)
    codes, values = kernels.best(table)
    _, expected = reference.best(table)
    leech.vector_to_index(codes)
    assert score_of(table, codes) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert values == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert np.array_equal(torch_kernels.best(torch.from_numpy(table)).numpy(), codes)


@pytest.mark.slow
def test_best_but_equals_brute_force():
    table = scores(2.0, 70)
    codes = kernels.best(table)[0]
    codes[35:] = codes[:35]  # as good as arbitrary for these: the best itself is to be found
    found = torch_kernels.best_but(torch.from_numpy(table), torch.from_numpy(codes)).numpy()
    totals = reference.all_scores(table)
    totals[np.arange(70), leech.vector_to_index(codes)] = -np.inf
    assert (found != codes).any(1).all()
    assert score_of(table, found) == pytest.approx(totals.max(1), rel=1e-5, abs=1e-5)


def test_runner_up_by_visiting_the_codebook():
    z = torch.from_numpy(directions("clustered"))
    nearest = torch_kernels.nearest(z)
    second = torch_kernels.runner_up(z, nearest)
    found = torch_kernels.runner_up_torch(z, nearest)
    assert (found != nearest).any(1).all()
    assert (z * found).sum(1).numpy() == pytest.approx((z * second).sum(1).numpy(), rel=1e-5)
    assert torch.equal(torch_kernels.runner_up_torch(z, second), nearest)


def test_best_finds_any_codeword_that_scores_name():
    """One-hot tables: 1 for the codeword's own entries, 0 elsewhere."""
    indices = np.random.default_rng(6).integers(0, leech.SIZE, 2000)
    indices[:60] = np.arange(60) * 18  # class 1 too
    table = (leech.index_to_vector(indices)[..., None] == np.arange(-4, 5)).astype(np.float32)
    codes, values = kernels.best(table)
    assert np.array_equal(leech.vector_to_index(codes), indices)
    assert (values == 24).all()


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_log_partition_equals_brute_force(scale):
    table = scores(scale)
    expected, probabilities = reference.log_partition_and_marginals(table)
    values, marginals = kernels.log_partition_and_marginals(table)
    assert values == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(kernels.log_partition(table), values)
    assert marginals == pytest.approx(probabilities, abs=1e-7)
    assert marginals.sum(2) == pytest.approx(1, abs=1e-6)


def test_uniform_scores_count_the_codebook():
    for nats in (-25.0, 0.0, 25.0):
        value, marginals = kernels.log_partition_and_marginals(np.full((1, 24, 9), nats))
        assert value == pytest.approx(np.log(leech.SIZE) + 24 * nats, rel=1e-13)
        counts = [(leech.codebook() == v).mean() for v in range(-4, 5)]
        assert marginals[0] == pytest.approx(np.tile(counts, (24, 1)), abs=1e-7)


@pytest.mark.parametrize("index", [0, 700, 1104, 40_000, 98_256, 196_559])
def test_scores_of_25_nats_single_out_a_codeword_of_every_class(index):
    """The widest range that is promised: one codeword at +600 nats, whatever does not agree with it far below."""
    code = leech.index_to_vector(np.array([index]))
    table = np.where(code[..., None] == np.arange(-4, 5), 25.0, -25.0)
    value, marginals = kernels.log_partition_and_marginals(table)
    assert value == pytest.approx(600, rel=1e-13)
    assert marginals == pytest.approx((table > 0) * 1.0, abs=1e-7)
    expected = reference.log_partition(-table)
    assert kernels.log_partition(-table) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_torch_form_agrees_with_the_kernel(scale):
    table = torch.from_numpy(scores(scale)).double().requires_grad_()
    ours, plain = torch_kernels.log_partition(table), torch_kernels.log_partition_torch(table)
    (gradient,), (expected,) = (torch.autograd.grad(values.sum(), table) for values in (ours, plain))
    assert torch.allclose(ours, plain, rtol=1e-12)
    assert torch.allclose(gradient, expected, atol=1e-7)
    values, marginals = torch_kernels._evaluate_in_torch(table.detach(), True)  # what other devices run
    assert torch.equal(values, plain.detach()) and torch.allclose(marginals, expected, atol=1e-12)


def test_gradient_against_finite_differences():
    table = scores(1.0, 1).astype(np.float64)
    steps = np.eye(216).reshape(216, 24, 9) * 1e-4
    slopes = (kernels.log_partition(table + steps) - kernels.log_partition(table - steps)) / 2e-4
    assert kernels.log_partition_and_marginals(table)[1].ravel() == pytest.approx(slopes, abs=1e-7)


def test_tensors_of_any_shape_and_dtype():
    table = torch.from_numpy(scores(1.0, 12)).reshape(3, 4, 24, 9).requires_grad_()
    values = torch_kernels.log_partition(table)
    values.square().sum().backward()
    assert values.shape == (3, 4) and values.dtype == torch.float32
    marginals = kernels.log_partition_and_marginals(scores(1.0, 12))[1].reshape(3, 4, 24, 9)
    assert np.allclose(table.grad.numpy(), 2 * values.detach().numpy()[..., None, None] * marginals, rtol=1e-5)
    assert torch_kernels.log_partition(table.detach().half()).dtype == torch.float16
    assert torch_kernels.log_partition(table.detach()[:0]).shape == (0, 4)
    codes = torch_kernels.nearest(torch.randn(0, 24))
    assert codes.shape == (0, 24) and codes.dtype == torch.int8
    z = torch.randn(30, 48)[:, ::2].double()
    assert torch.equal(torch_kernels.nearest(z), torch_kernels.nearest(z.float().contiguous()))


def test_threads_do_not_change_the_result():
    z = torch.randn(100, 24, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(torch_kernels.nearest(z))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_search_leaves_the_matmul_precision_as_it_was():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        torch_kernels.nearest_torch(torch.ones(1, 24))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_refuses_zero_and_non_finite_directions(bad):
    z = np.ones((40, 24), dtype=np.float32)
    z[33] = bad
    for function in (kernels.nearest, kernels.nearest_index):
        with pytest.raises(ValueError, match="zero or not finite: row 33"):
            function(z)
    if bad:
        z[33, :23] = 1
        with pytest.raises(ValueError, match="zero or not finite"):
            torch_kernels.nearest(torch.from_numpy(z))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_scores_that_are_not_finite(bad):
    table = scores(1.0, 20)
    table[17, 3, 8] = bad
    with pytest.raises(ValueError, match="not finite"):
        kernels.best(table)
    if bad != -np.inf:  # a probability of zero
        for function in (kernels.log_partition, kernels.log_partition_and_marginals):
            with pytest.raises(ValueError, match="not finite"):
                function(table)


def test_refuses_scores_that_leave_the_range():
    with pytest.raises(ValueError, match="25 nats"):
        kernels.log_partition(np.full((1, 24, 9), 800.0))


def test_refuses_other_shapes():
    for shape in ((3, 23), (24,), (2, 3, 24)):
        with pytest.raises(ValueError, match="shape"):
            kernels.nearest(np.ones(shape, dtype=np.float32))
    for function in (kernels.best, kernels.log_partition, kernels.log_partition_and_marginals):
        for shape in ((3, 24, 8), (24, 9), (3, 23, 9)):
            with pytest.raises(ValueError, match="shape"):
                function(np.ones(shape))


@pytest.mark.slow
def test_correct_without_numba():
    """NUMBA_DISABLE_JIT=1 runs the same statements as Python: slowly, but to the same result."""
    program = (
        "import json, numpy as np; from leechcodec.lattice import kernels as k; rng = np.random.default_rng(8);"
        "z, s = rng.standard_normal((6, 24)), rng.standard_normal((2, 24, 9));"
        "found = k.nearest_index(z), k.best(s)[0], *k.log_partition_and_marginals(s);"
        "print(json.dumps([np.ravel(part).tolist() for part in found]))"
    )
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", program]
    slow, fast = (
        json.loads(subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": flag}, capture_output=True).stdout)
        for flag in "10"
    )
    assert slow[:2] == fast[:2]
    assert slow[2] == pytest.approx(fast[2], rel=1e-12)
    assert slow[3] == pytest.approx(fast[3], abs=1e-6)
