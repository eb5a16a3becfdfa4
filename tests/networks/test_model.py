import pytest
import torch

from leechcodec.networks.transforms import knot_weights
from leechcodec.testing.tiny import tiny_model


@pytest.mark.parametrize("quantizer", ["leech", "bsq-18"])
def test_decode_reproduces_what_encode_saw(quantizer):
    model = tiny_model(quantizer)
    x = torch.rand(1, 3, 64, 128) * 2 - 1
    with torch.no_grad():
        for quality in (1.0, 50.0, 100.0):
            codes = model.encode(x, quality)
            assert len(codes) == model.config.stages_sent(quality)
            seen = model(x, torch.tensor([quality])).x_hat
            assert torch.allclose(model.decode(codes, 64, 128, quality), seen, atol=1e-6)


def test_training_pass_matches_coding_pass():
    """One batch of mixed qualities gives each image what coding it alone would give."""
    model = tiny_model()
    x, quality = torch.rand(3, 3, 64, 64) * 2 - 1, torch.tensor([100.0, 45.0, 1.0])
    with torch.no_grad():
        out = model(x, quality)
        for i, q in enumerate(quality.tolist()):
            alone = model.decode(model.encode(x[i : i + 1], q), 64, 64, q)
            assert torch.allclose(alone, out.x_hat[i : i + 1], atol=1e-5)
            assert (out.rates.bits[i] > 0).sum() == model.config.stages_sent(q)
            single = model(x[i : i + 1], quality[i : i + 1])
            assert torch.allclose(single.rates.bits[0], out.rates.bits[i], rtol=1e-4)


def test_rising_qualities_are_refused():
    with pytest.raises(ValueError, match="rise"):
        tiny_model()(torch.zeros(2, 3, 64, 64), torch.tensor([40.0, 60.0]))


def test_every_parameter_gets_a_gradient():
    model = tiny_model().train()
    out = model(torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([100.0, 80.0]))
    (out.x_hat.square().sum() + out.rates.bits.sum()).backward()
    # The last pass of the prior informs nobody after it.
    last = f"prior.stages.{len(model.prior.stages) - 1}.1"
    silent = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert all(name.startswith((f"{last}.embed", f"{last}.conv", "prior.up.3")) for name in silent), silent


@pytest.mark.slow
def test_sampled_rate_is_unbiased():
    model = tiny_model()
    x, quality = torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([100.0, 90.0])
    with torch.no_grad():
        full = model(x, quality).rates.bits.sum()
        sampled = torch.stack([model(x, quality, rate_tokens=24).rates.bits.sum() for _ in range(40)]).mean()
    assert sampled == pytest.approx(full.item(), rel=0.05)


def test_knot_weights_interpolate():
    weights = knot_weights(torch.tensor([1.0, 50.5, 100.0, 25.75]), 3)
    expected = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])
    assert torch.allclose(weights, expected)
