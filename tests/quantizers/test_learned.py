"""VQ, SimVQ and LGQ learn: codewords go where the z are, dead ones come back, temperatures fall."""

import math

import pytest
import torch

from leechcodec.quantizers.learned import GRID
from tests.families import LEARNED, quantizer_of


def clusters(count: int, seed: int) -> torch.Tensor:
    """z around 8 centres far from the origin's cloud of codewords."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(8, 6, generator=torch.Generator().manual_seed(9)) * 0.5 + 1.5
    return centres[torch.randint(8, (count,), generator=generator)] + 0.05 * torch.randn(count, 6, generator=generator)


def error(quantizer, z) -> float:
    with torch.no_grad():
        return (quantizer.quantize(z)[1] / GRID - z).square().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_learning_brings_the_codewords_to_the_data(name):
    quantizer = quantizer_of(name).train()
    before = error(quantizer, clusters(500, 0))
    parameters = list(quantizer.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.02) if parameters else None
    for step in range(150):
        z = clusters(256, step + 1).requires_grad_()
        _, value = quantizer.quantize(z)
        loss = quantizer.codebook_loss(z) + 0.01 * quantizer.entropy_loss(z) + 0 * value.sum()
        loss.backward()
        if optimizer:
            optimizer.step()
            optimizer.zero_grad()
        quantizer.after_step(step / 150)
        assert z.grad.isfinite().all()
    assert error(quantizer, clusters(500, 0)) < 0.6 * before
    assert torch.equal(quantizer.codebook.float(), quantizer.codewords().detach().mul(GRID).round().clamp(-127, 127))


def test_dead_codewords_of_vq_are_restarted_where_z_is():
    quantizer = quantizer_of("vq-6-6").train()
    for step in range(150):
        quantizer.quantize(clusters(256, step).requires_grad_())
        quantizer.after_step(0)
    used = torch.unique(quantizer.quantize(clusters(4000, 999))[0], dim=0)
    assert len(used) > 32  # of 64; without restarts the few nearest to the clusters would do it all
    assert error(quantizer, clusters(500, 0)) < 0.01


def test_nothing_is_learned_outside_of_training():
    quantizer = quantizer_of("vq-6-6").train()
    with torch.no_grad():
        quantizer.quantize(clusters(100, 0))
    quantizer.eval().quantize(clusters(100, 0))
    assert not quantizer.seen_counts.any()


def logits(z, centres, temperature):
    """Of the responsibilities, from the distances as they are written."""
    return -torch.cdist(z, centres).square() / temperature


def test_the_temperature_of_lgq_falls_and_its_assignments_harden():
    quantizer = quantizer_of("lgq-6-6").train()
    z = torch.randn(200, 6)
    soft = quantizer.entropy_loss(z)
    p = torch.softmax(logits(z, quantizer.centres, torch.tensor(1.0)), -1)
    assert torch.allclose(soft, 1 - p.square().sum(1).mean() + 64 * p.mean(0).square().sum(), atol=1e-5)
    quantizer.after_step(0.5)
    assert quantizer.temperature.item() == pytest.approx(0.55)
    quantizer.after_step(1.0)
    assert quantizer.temperature.item() == pytest.approx(0.1)
    p = torch.softmax(logits(z, quantizer.centres, quantizer.temperature), -1)
    warm = torch.softmax(logits(z, quantizer.centres, torch.tensor(1.0)), -1)
    assert 1 - p.square().sum(1).mean() < 0.5 * (1 - warm.square().sum(1).mean())
    # the responsibilities' winner is the nearest codeword, whatever the temperature
    rows = torch.cdist(z, quantizer.centres).argmin(1)
    assert torch.equal(p.argmax(1), rows)


@pytest.fixture(params=(1 << 19, 7 * 64))
def in_parts(request, monkeypatch):
    """All tokens at once, and seven at a time."""
    monkeypatch.setattr("leechcodec.quantizers.table.AT_ONCE", request.param)


def test_the_free_energy_and_its_gradient_are_those_of_the_mixture(in_parts):
    quantizer = quantizer_of("lgq-6-6")
    quantizer.after_step(0.4)
    z = torch.randn(50, 6, requires_grad=True)
    found = quantizer.codebook_loss(z)
    mean = torch.logsumexp(logits(z, quantizer.centres, quantizer.temperature), 1) - math.log(64)
    wanted = -(quantizer.temperature * mean).mean() / 6
    assert torch.allclose(found, wanted, atol=1e-5)
    by = [z, quantizer.centres]
    for mine, plain in zip(torch.autograd.grad(3 * found, by), torch.autograd.grad(3 * wanted, by)):
        assert torch.allclose(mine, plain, atol=1e-5)


def test_the_gradient_of_lgq_is_that_of_the_soft_assignment(in_parts):
    quantizer = quantizer_of("lgq-6-6").train()
    quantizer.after_step(0.6)
    z, weight = torch.randn(40, 6, requires_grad=True), torch.randn(40, 6)
    codes, value = quantizer.quantize(z)
    assert torch.equal(value.detach(), codes.float())
    found = torch.autograd.grad((value * weight).sum(), [z, quantizer.centres])
    soft = torch.softmax(logits(z, quantizer.centres, quantizer.temperature), -1) @ quantizer.centres
    wanted = torch.autograd.grad((soft * GRID * weight).sum(), [z, quantizer.centres])
    for mine, plain in zip(found, wanted):
        assert torch.allclose(mine, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", LEARNED)
def test_the_search_is_exact_under_autocast(name):
    quantizer = quantizer_of(name)
    z = torch.randn(300, 6)
    plain = quantizer.quantize(z)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.quantize(z)[0], plain)


def test_a_step_not_taken_leaves_no_trace_in_vq():
    quantizer = quantizer_of("vq-6-6").train()
    words = quantizer.words.clone()
    quantizer.quantize(clusters(256, 1))
    quantizer.skip_step()
    quantizer.after_step(0.5)
    assert torch.equal(quantizer.words, words)


@pytest.mark.parametrize("at_once", [1 << 19, 64 * 7])
@pytest.mark.parametrize("name", ["vq-6-6", "d4x3"])
def test_the_normaliser_and_its_gradient_are_those_of_the_sum_over_all_codes(monkeypatch, name, at_once):
    monkeypatch.setattr("leechcodec.quantizers.table.AT_ONCE", at_once)
    quantizer = quantizer_of(name)
    params = torch.randn(50, quantizer.dim, 3, requires_grad=True)
    by_factor = params.reshape(-1, 1, quantizer.factor_dim, 3)
    scores = (by_factor * quantizer.features(quantizer.codebook.float())).sum((-2, -1))
    wanted = torch.logsumexp(scores, -1).reshape(50, -1).sum(-1)
    found = quantizer.log_partition(params)
    assert torch.allclose(found, wanted, atol=1e-5)
    (plain,) = torch.autograd.grad(wanted.square().sum(), params)
    (mine,) = torch.autograd.grad(found.square().sum(), params)
    assert torch.allclose(mine, plain, rtol=1e-4, atol=1e-4)


def test_the_rate_moves_the_codewords_of_lgq_through_all_probabilities(in_parts):
    quantizer = quantizer_of("lgq-6-6").train()
    with torch.no_grad():
        quantizer.centres.copy_(quantizer.centres.mul(GRID).round().div(GRID))
    quantizer.refresh()
    params, rows = torch.randn(50, 6, 3, requires_grad=True), torch.randint(64, (50,))
    by = [params, quantizer.centres]
    found = quantizer.bits_of(params, GRID * quantizer.centres[rows])
    scores = (params[:, None] * quantizer.features(GRID * quantizer.centres)).sum((-2, -1))
    wanted = torch.nn.functional.cross_entropy(scores, rows, reduction="none") / math.log(2)
    assert torch.allclose(found, wanted, atol=1e-4)
    weight = torch.rand(50)
    plain = torch.autograd.grad((weight * wanted).sum(), by)
    for mine, its in zip(torch.autograd.grad((weight * found).sum(), by), plain):
        assert torch.allclose(mine, its, rtol=1e-4, atol=1e-4)
