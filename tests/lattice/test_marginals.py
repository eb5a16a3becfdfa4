"""The gradient of the normaliser: against differences, the reference's cosets, and torch's checks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lattice import point_reference
from leechcodec.lattice.golay import golay_words
from leechcodec.lattice.marginals import log_partition_and_marginals, table_gradient
from leechcodec.lattice.partition import log_partition
from leechcodec.lattice.torch_points import log_partition as torch_log_partition
from tests.lattice.test_closest import tables


@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0, 100.0])
def test_values_are_the_normaliser_and_shares_sum_to_one(spread):
    scores, index = tables(spread, 35)
    values, shares = log_partition_and_marginals(scores, index)
    assert values == pytest.approx(log_partition(scores, index), rel=1e-12)
    assert shares.sum(axis=2) == pytest.approx(1, abs=1e-12) and (shares >= 0).all()


def test_shares_are_those_of_the_cosets():
    """m and b by visiting the cosets: the sums over q."""
    scores, index = tables(2.0, 3)
    _, shares = log_partition_and_marginals(scores, index)
    for row, numbers in enumerate(index):
        totals = point_reference.coset_scores(scores[numbers], np.logaddexp)
        probability = np.exp(totals - np.logaddexp.reduce(totals, axis=None))
        for m in range(2):
            for bit in range(2):
                expected = probability[m] @ (golay_words() == bit)
                found = shares[row, :, m + 2 * bit] + shares[row, :, m + 2 * bit + 4]
                assert found == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 10**6))
def test_gradient_against_finite_differences(seed):
    rng = np.random.default_rng(seed)
    scores, index, weights = rng.standard_normal((3, 16)) * 3, rng.integers(0, 3, (9, 24)), rng.standard_normal(9)
    _, shares = log_partition_and_marginals(scores, index)
    gradient = table_gradient(scores, index, shares * weights[:, None, None])
    direction = rng.standard_normal(scores.shape)
    ends = [weights @ log_partition(scores + step * direction, index) for step in (1e-4, -1e-4)]
    assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-5)


def test_a_constant_moves_every_token_by_its_share_even_at_the_clamp():
    scores, index = tables(40.0, 4, width=16)
    _, shares = log_partition_and_marginals(scores, index)
    assert table_gradient(scores, index, shares).sum(axis=1) == pytest.approx(1)


def test_torch_differentiates_it():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.standard_normal((4, 16))).requires_grad_()
    index = torch.from_numpy(rng.integers(0, 4, (5, 24)))
    assert torch.autograd.gradcheck(torch_log_partition, (scores, index), rtol=1e-4)
    plain = torch_log_partition(scores.detach().float(), index)
    assert plain.dtype == torch.float32 and torch.allclose(
        plain.double(), torch_log_partition(scores, index), rtol=1e-5
    )
    assert torch_log_partition(scores, index[:0]).shape == (0,)
