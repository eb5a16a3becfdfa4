import pytest
import torch

from leechcodec.testing.tiny import tiny_model
from leechcodec.training.runner_up_loss import Draw, around, draw, runner_up_loss


def contest(model, x, quality, seed=0):
    out = model(x, quality)
    weight = torch.tensor([model.config.lmbda(q) * 255**2 / 4 for q in quality.tolist()])
    torch.manual_seed(seed)
    drawn = draw(model.config, model.images_sent(quality), x.shape[2])
    return out, runner_up_loss(model, x, quality, out, weight, drawn)


@pytest.mark.parametrize("quantizer", ["leech", "leech-ball", "bsq-18"])
def test_only_the_encoder_learns_from_it(quantizer):
    model = tiny_model(quantizer)
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([100.0, 20.0])
    _, loss = contest(model, x, quality)
    assert loss.shape == (2,) and loss.isfinite().all()
    loss.sum().backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert any(name.endswith("to_z.weight") for name in touched)
    assert not any(name.startswith("prior") or "head" in name for name in touched)


@pytest.mark.slow
def test_following_it_improves_the_codes():
    """z moved against the gradient, quantized again: the loss falls, and rises the other way."""
    model = tiny_model()
    x, quality = torch.rand(4, 3, 128, 128) * 2 - 1, torch.full((4,), 90.0)
    weight = torch.full((4,), model.config.lmbda(90.0) * 255**2 / 4)
    changes = {1: 0.0, -1: 0.0}
    for seed in range(8):
        out, loss = contest(model, x, quality, seed)
        gradients = torch.autograd.grad(loss.sum(), out.z, allow_unused=True)
        stage = max(i for i, g in enumerate(gradients) if g is not None and g.abs().max() > 0)
        z, gradient = out.z[stage].detach(), gradients[stage]
        with torch.no_grad():
            before = total(model, x, weight, out.x_hat, out.rates.token_bits)
            for sign in changes:
                codes = list(out.codes)
                moved = z - sign * 0.3 * gradient / gradient.abs().max() * z.abs().max()
                codes[stage] = model.quantizer.quantize(moved)[1].permute(0, 3, 1, 2)
                after = model.reconstruct(codes, quality, 128, 128)
                changes[sign] += total(model, x, weight, *after) - before
    assert changes[1] < 0 < changes[-1]


def total(model, x, weight, x_hat, token_bits):
    squares = (x_hat - x).square().mean(1).sum((1, 2)) * weight
    return (squares.sum() + sum(bits.sum() for bits in token_bits)).item()


def test_nothing_replaced_changes_nothing(monkeypatch):
    """With a sample of the rate term's tokens as with all of them."""
    model = tiny_model("leech-ball")
    monkeypatch.setattr(model.quantizer, "runner_up", lambda u, codes: codes)
    monkeypatch.setattr("leechcodec.training.runner_up_loss.TEMPERATURE", 1e9)
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([90.0, 70.0])
    for rate_tokens in (None, 8):
        out = model(x, quality, rate_tokens)
        for stage in range(len(out.codes)):
            loss = runner_up_loss(model, x, quality, out, torch.full((2,), 1e4), Draw(stage, 0, 0))
            assert loss.abs().max() < 1e-2


def test_bits_count_as_much_as_the_rate_does(monkeypatch):
    model = tiny_model()
    monkeypatch.setattr("leechcodec.training.runner_up_loss.LIMIT", 1e9)
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.full((2,), 90.0)
    out = model(x, quality)
    bits, halves, none = (
        runner_up_loss(model, x, quality, out, torch.zeros(2), Draw(3, 0, 0), weight) for weight in (1.0, 0.5, 0.0)
    )
    assert bits.abs().min() > 0 and torch.allclose(bits / 2, halves, rtol=1e-4) and not none.any()


@pytest.mark.parametrize("quantizer", ["leech", "bw16", "vq-6-6"])
def test_every_contest_is_against_another_code(quantizer, monkeypatch):
    model = tiny_model(quantizer)
    seen, runner_up = [], model.quantizer.runner_up

    def watched(u, codes):
        seen.append((u, codes, runner_up(u, codes)))
        return seen[-1][2]

    monkeypatch.setattr(model.quantizer, "runner_up", watched)
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.full((2,), 90.0)
    out = model(x, quality)
    for stage in range(len(out.codes)):
        runner_up_loss(model, x, quality, out, torch.full((2,), 1e4), Draw(stage, 0, 0))
        u, first, second = seen[-1]
        assert torch.equal(first, model.quantizer.nearest(u)) and (first != second).any(1).all()


def test_a_stage_that_no_image_is_sent_is_never_drawn():
    model = tiny_model()
    x, quality = torch.rand(1, 3, 64, 64) * 2 - 1, torch.tensor([1.0])
    for seed in range(5):
        out, loss = contest(model, x, quality, seed)
        assert len(out.codes) == model.config.stages_sent(1.0) and loss.isfinite().all()


def test_bits_around_a_cell():
    pixels, tokens = torch.zeros(1, 1, 64, 64), [torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 8, 8)]
    tokens[0][...] = 64.0
    tokens[1][0, 0, 5, 5] = 2.0
    pixels[0, 0, 45, 47] = 3.0  # the same cell of the 8 x 8 grid
    cells = around(pixels, tokens, 8)[0, 0]
    assert cells[4, 6] == pytest.approx(9 + 5) and cells[5, 5] == pytest.approx(9 + 5)
    assert cells[2, 2] == pytest.approx(9) and cells[0, 0] == pytest.approx(4)


def test_margins_where_codes_differ_in_length():
    """z near the origin is far from leaning to a codeword: no contest there has a gradient to speak of."""
    model = tiny_model("leech-ball")
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.full((2,), 90.0)
    with torch.no_grad():
        for stage in model.synthesis.stages:
            stage.to_z.weight.mul_(1e-3)
            stage.to_z.bias.zero_()
    out, loss = contest(model, x, quality)
    assert not any(codes.any() for codes in out.codes)
    gradients = torch.autograd.grad(loss.sum(), out.z, allow_unused=True)
    assert max(g.abs().max() for g in gradients if g is not None) < 1e-2


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_token_counts_alike_on_any_grid(size, monkeypatch):
    """Over the four places of the grid each token is contested once."""
    model = tiny_model("leech-ball")
    x, quality = torch.rand(1, 3, 64 * size, 64 * size) * 2 - 1, torch.tensor([90.0])
    monkeypatch.setattr("leechcodec.training.runner_up_loss.TEMPERATURE", 1e9)  # every contest is even
    out, seen = model(x, quality), torch.zeros(size, size)
    for row in (0, 1):
        for column in (0, 1):
            loss = runner_up_loss(model, x, quality, out, torch.tensor([1e4]), Draw(0, row, column))
            gradient = torch.autograd.grad(loss.sum(), out.z[0], retain_graph=True)[0]
            seen += (gradient.abs().sum(-1)[0] > 0).float()
    assert (seen == 1).all()
