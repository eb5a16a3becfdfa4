import pytest
import torch

from leechcodec.training.dion import Dion, first_basis, power_step
from leechcodec.training.muon import Muon, orthonormalize


def polar(matrix):
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def graded(rows, columns, ratio, seed=0):
    """A matrix with singular values from 1 to `ratio`, evenly spaced in their logarithm, in random directions."""
    torch.manual_seed(seed)
    u, v = torch.linalg.qr(torch.randn(rows, rows)).Q, torch.linalg.qr(torch.randn(columns, rows)).Q
    return u @ torch.diag(torch.logspace(0, torch.tensor(ratio).log10().item(), rows)) @ v.T


@pytest.mark.parametrize("ratio", [1.0, 3.0, 30.0])
def test_at_full_rank_the_direction_nears_the_polar_factor(ratio):
    """Never further than Kantorovich's inequality allows, from the first step on; the same in the limit."""
    buffer, basis = graded(12, 30, ratio)[None], first_basis(30, 12)[None]
    for step in range(600):
        direction, rest, basis = power_step(buffer, basis, 0.95)
        bound = 2 * ratio**0.5 / (1 + ratio)
        if step < 3:
            assert cosine(direction, polar(buffer)) >= bound - 1e-5
            assert torch.allclose(rest, 0.95 * buffer, atol=1e-5 * ratio)  # all of it was used: plain momentum
    assert cosine(direction, polar(buffer)) > 0.9999
    # Newton-Schulz leaves singular values within 0.7..1.2.
    assert cosine(direction, orthonormalize(buffer).float()) > 0.97


def test_follows_muon_while_gradients_change():
    """Power iteration is spread over the steps: on a buffer that turns slowly one iteration a step keeps up."""
    torch.manual_seed(0)
    true, buffer, basis, found = torch.randn(16, 40), torch.zeros(1, 16, 40), first_basis(40, 16)[None], []
    for _ in range(100):
        buffer = buffer + true + torch.randn(16, 40)
        expected = polar(buffer[0])
        direction, buffer, basis = power_step(buffer, basis, 0.95)
        found.append(cosine(direction, expected))
    assert found[0] > 0.8 and min(found[-20:]) > 0.95


def test_error_feedback_loses_nothing():
    torch.manual_seed(1)
    buffer, basis = torch.randn(2, 10, 24), first_basis(24, 3).expand(2, -1, -1)
    direction, rest, basis = power_step(buffer, basis, 0.9)
    used = (buffer - rest) / 0.1
    assert torch.linalg.matrix_rank(used, rtol=1e-4).tolist() == [3, 3]
    left = torch.linalg.svd(used).U[..., :3]
    inside = left @ left.mT
    # In the subspace that was used the buffer decays as momentum does, outside it stays whole.
    assert torch.allclose(inside @ rest, 0.9 * inside @ buffer, atol=1e-5)
    assert torch.allclose(rest - inside @ rest, buffer - inside @ buffer, atol=1e-5)
    assert torch.linalg.matrix_rank(direction, rtol=1e-4).tolist() == [3, 3]
    assert torch.allclose(direction.square().sum((1, 2)), torch.tensor(3.0))
    assert torch.allclose(basis.norm(dim=1), torch.tensor(1.0))


def test_low_rank_sees_every_direction_in_time():
    """Of a constant gradient each direction's share comes out, those left out first grow until it is their turn."""
    gradient, buffer, basis = graded(8, 12, 4.0, seed=2)[None], torch.zeros(1, 8, 12), first_basis(12, 2)[None]
    moved = torch.zeros(1, 8, 12)
    for _ in range(400):
        direction, buffer, basis = power_step(buffer + gradient, basis, 0.95)
        moved += direction
    shares = torch.linalg.svdvals(moved)[0] / 400
    assert shares.min() > 0.05
    # A direction is used in about 2 steps of 8 and loses 1 - μ each time: 80 gradients wait, and no more.
    assert buffer.norm() < 100 * gradient.norm()


def test_a_zero_or_thin_gradient_moves_nothing_at_random():
    p = torch.nn.Parameter(torch.zeros(6, 9))
    optimizer = Dion([p], lr=1.0)
    p.grad = torch.zeros(6, 9)
    optimizer.step()
    assert not p.detach().any()
    p.grad = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 10))
    optimizer.step()
    moved = -p.detach() / (0.2 * 9**0.5)
    assert cosine(moved, p.grad) > 0.9999 and moved.norm() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", [(6, 2, 3, 3), (40, 6), (6, 40)])
def test_size_and_weight_decay_are_muons(shape):
    torch.manual_seed(0)
    start, grad, moved = torch.randn(shape), torch.randn(shape), []
    for kind in (Muon, Dion):
        p = torch.nn.Parameter(start.clone())
        optimizer = kind([p], lr=1e-2, weight_decay=0.1)
        for _ in range(20):
            p.grad = grad.clone()
            optimizer.step()
        moved.append(p.detach() - start)
    assert cosine(*moved) > 0.97
    assert moved[1].norm() == pytest.approx(moved[0].norm().item(), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("rank, steps", [(1.0, 200), (0.25, 800)])
def test_converges_on_a_quadratic(rank, steps):
    torch.manual_seed(0)
    target, p = torch.randn(16, 24), torch.nn.Parameter(torch.zeros(16, 24))
    optimizer = Dion([p], lr=1.0, rank=rank, momentum=0.9)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        optimizer.zero_grad()
        (p - target).square().sum().backward()
        optimizer.step()
    assert (p - target).norm() < 0.05 * target.norm()


def test_goes_on_from_its_state_and_takes_another_rank():
    torch.manual_seed(0)
    grads = torch.randn(6, 5, 12)

    def run(p, optimizer, part):
        for grad in part:
            p.grad = grad.clone()
            optimizer.step()
        return p.detach().clone()

    whole = torch.nn.Parameter(torch.zeros(5, 12))
    expected = run(whole, Dion([whole], rank=0.5), grads)
    p = torch.nn.Parameter(torch.zeros(5, 12))
    first = Dion([p], rank=0.5)
    run(p, first, grads[:3])
    later = Dion([p], rank=0.5)
    later.load_state_dict(first.state_dict())
    assert torch.equal(run(p, later, grads[3:]), expected)
    assert later.state[p]["basis"].shape == (12, 3)
    later.param_groups[0]["rank"] = 0.2
    run(p, later, grads[:1])
    assert later.state[p]["basis"].shape == (12, 1)
    with pytest.raises(ValueError, match="rank"):
        Dion([p], rank=0.0)
