import dataclasses

import pytest
import torch

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.networks.integer_prior import IntegerView
from leechcodec.networks.integer_prior_weights import IntegerWeights, integer_weights
from leechcodec.networks.model import CodecModel
from leechcodec.networks.passes import pass_mask
from leechcodec.networks.prior import FloatView, _Excess
from leechcodec.quantizers import make_quantizer
from leechcodec.testing.tiny import tiny_model

HEIGHT, WIDTH = 128, 192


def run(model, view, codes):
    """All parameters of a run, teacher forced."""
    params = []

    def code_pass(stage, mask, values):
        params.append(values if isinstance(view, FloatView) else torch.as_tensor(values.all()))
        code = codes[stage].float() if isinstance(view, FloatView) else codes[stage].to(torch.int8)
        return code if mask is None else code * torch.as_tensor(mask)

    model.prior.run(view, HEIGHT, WIDTH, code_pass)
    return params


def random_codes(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    codes = []
    for scale in model.config.stage_scales:
        stride = 64 >> scale
        z = torch.randn(HEIGHT // stride, WIDTH // stride, model.quantizer.dim, generator=generator)
        codes.append(model.quantizer.quantize(z)[0].permute(2, 0, 1)[None])
    return codes


def integer_view(model, quality):
    return IntegerView(IntegerWeights(integer_weights(model.prior)), quality)


@pytest.mark.parametrize("quantizer", ["leech", "bsq-18"])
@pytest.mark.parametrize("quality", [1.0, 37.25, 100.0])
def test_integer_view_agrees_with_float_view(quantizer, quality):
    model = tiny_model(quantizer)
    codes = random_codes(model)
    with torch.no_grad():
        floats = run(model, FloatView(model.prior, torch.tensor([quality])), codes)
        integers = run(model, integer_view(model, round(100 * quality)), codes)
    assert len(floats) == 7
    for a, b in zip(floats, integers):
        assert (a - b.float() / 64).abs().mean() < 0.01 * a.std() + 1 / 64


def test_both_views_have_one_limit():
    """A prior whose activations would be in the thousands is trained as it codes."""
    model = tiny_model()
    codes = random_codes(model)
    with torch.no_grad():
        for name, parameter in model.prior.named_parameters():
            if "embed" in name or "conv1.weight" in name or "quality" in name or name == "constant":
                parameter.mul_(100)
        floats = run(model, FloatView(model.prior, torch.tensor([50.0])), codes)
        integers = run(model, integer_view(model, 5000), codes)
    for a, b in zip(floats, integers):
        assert (a - b.float() / 64).abs().mean() < 0.01 * a.std() + 1 / 64


def test_a_stage_sees_only_what_was_coded_before_it():
    model = tiny_model()
    codes, other = random_codes(model, 0), random_codes(model, 1)
    with torch.no_grad():
        for changed in range(len(codes)):
            mixed = codes[:changed] + other[changed:]
            a = run(model, integer_view(model, 9000), codes)
            b = run(model, integer_view(model, 9000), mixed)
            before = sum(model.config.passes[:changed]) + 1  # its own first pass is told nothing of itself
            assert all(torch.equal(x, y) for x, y in zip(a[:before], b[:before]))
            if before < len(a):
                assert not torch.equal(a[before], b[before])


def gated_model(passes=(4, 5, 3, 1, 2)) -> CodecModel:
    torch.manual_seed(2)
    plain = tiny_model()
    model = CodecModel(dataclasses.replace(plain.config, passes=passes, gates=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.abs().max() == 0 or ".gate." in name:
                parameter.normal_(std=0.2)
    return model.eval()


@pytest.mark.parametrize("quality", [1.0, 80.5])
def test_gates_are_the_same_in_both_views(quality):
    model = gated_model()
    codes = random_codes(model)
    with torch.no_grad():
        floats = run(model, FloatView(model.prior, torch.tensor([quality])), codes)
        integers = run(model, integer_view(model, round(100 * quality)), codes)
    assert len(floats) == 15
    for a, b in zip(floats, integers):
        assert (a - b.float() / 64).abs().mean() < 0.01 * a.std() + 1 / 32


@torch.no_grad()
def test_the_prior_s_peak():
    """Never above the limit of activations."""
    model = gated_model()
    codes = [code.float() for code in random_codes(model)]
    assert 0 < model.rates(codes, torch.tensor([100.0]), HEIGHT, WIDTH).peak < 64
    model.prior.get_parameter("constant").fill_(-100)
    assert model.rates(codes, torch.tensor([100.0]), HEIGHT, WIDTH).peak == 64
    rates = model.requires_grad_(False).rates(codes, torch.tensor([100.0]), HEIGHT, WIDTH)
    assert rates.peak == 0 and rates.excess == 0  # nobody trains it


def test_activations_beyond_half_the_limit():
    """Their excess is a plain formula's, in value and gradient, and of all passes together."""
    x = torch.linspace(-64, 64, 33).requires_grad_()
    expected, excess = (x.abs() - 32).clamp(min=0).square().sum(), _Excess.apply(x)
    torch.testing.assert_close(excess, expected)
    assert torch.equal(*(torch.autograd.grad(value, x)[0] for value in (excess, expected)))
    model = gated_model()
    codes = [code.float() for code in random_codes(model)]
    with torch.no_grad():
        assert model.rates(codes, torch.tensor([100.0]), HEIGHT, WIDTH).excess == 0
        model.prior.get_parameter("constant").fill_(-64)
        at_least = 32**2 * model.prior.constant.numel() * HEIGHT * WIDTH / 64**2
    rates = model.rates(codes, torch.tensor([100.0]), HEIGHT, WIDTH)
    assert rates.excess > 0.9 * at_least
    rates.excess.backward()
    assert (model.prior.get_parameter("constant").grad < 0).all()  # a step down brings them back


@torch.no_grad()
def test_squares_of_parameters():
    """Of every token once, at the pass that codes it; where tokens are sampled, an estimate."""
    model = gated_model()
    codes = [code.float() for code in random_codes(model)]
    expected = torch.zeros(())

    def code_pass(stage, mask, values):
        nonlocal expected
        expected = expected + (values if mask is None else values * mask).square().sum()
        return codes[stage] if mask is None else codes[stage] * mask

    quality = torch.tensor([100.0])
    model.prior.run(FloatView(model.prior, quality), HEIGHT, WIDTH, code_pass)
    torch.testing.assert_close(model.rates(codes, quality, HEIGHT, WIDTH).squares, expected)
    sampled = [model.rates(codes, quality, HEIGHT, WIDTH, 8).squares for _ in range(20)]
    assert abs(torch.stack(sampled).mean() - expected) < 0.1 * expected


@torch.no_grad()
def test_a_window_has_the_passes_of_its_image():
    """Of a prior that looks at nothing around a token, bits are the same in an image and in any window of it."""
    model = gated_model()
    for name, parameter in model.prior.named_parameters():
        if ".conv" in name or ".embed" in name or ".gate" in name:
            parameter.zero_()
    quality, codes = torch.tensor([100.0]), [code.float() for code in random_codes(model)]
    whole = model.rates(codes, quality, HEIGHT, WIDTH).token_bits
    for top, left in ((0, 0), (64, 64), (64, 128)):
        cut = [code[:, :, top // s :, left // s :] for code, s in zip(codes, (64, 32, 16, 16, 8), strict=True)]
        bits = model.rates(cut, quality, HEIGHT - top, WIDTH - left, corner=(top, left)).token_bits
        for part, all_of_it, s in zip(bits, whole, (64, 32, 16, 16, 8), strict=True):
            assert torch.allclose(part, all_of_it[:, top // s :, left // s :], atol=1e-4)
    assert not torch.allclose(model.rates(cut, quality, HEIGHT - 64, WIDTH - 128).token_bits[0], whole[0][:, 1:, 2:])


def test_nothing_is_enlarged_that_no_stage_asks_for():
    model, enlarged = tiny_model(), []

    class Watched(FloatView):
        def upsample(self, name, x):
            enlarged.append(name)
            return super().upsample(name, x)

    with torch.no_grad():
        run(model, Watched(model.prior, torch.tensor([100.0])), random_codes(model))
    assert model.config.stages[4] == 0 and enlarged == ["up.0", "up.1", "up.2"]


def test_an_open_gate_repeats_a_neighbour():
    """The score of the codeword on the left rises by g |c|^2 / 2, as the parameter a says."""
    model = gated_model((1, 1, 2, 1, 2))
    codes = random_codes(model)
    with torch.no_grad():
        gate = model.prior.stages[2][1].gate
        gate.weight.zero_()
        gate.bias.zero_()
        closed = run(model, integer_view(model, 9000), codes)
        gate.bias.copy_(torch.tensor([0.0, 0.0, 0.5, -1.0]))  # above, below, left, right
        opened = run(model, integer_view(model, 9000), codes)
    raised = (opened[3] - closed[3]).reshape(24, 3, *opened[3].shape[2:])
    even = torch.from_numpy(pass_mask(*opened[3].shape[2:], 2, 0))
    left = torch.nn.functional.pad(codes[2][0] * even, (1, 0))[..., :-1]
    assert torch.equal(raised[:, 0], 32 * left.long()) and not raised[:, 1:].any()


def test_gates_are_for_the_leech_shell():
    with pytest.raises(ConfigError, match="gates repeat codewords of the Leech shell"):
        CodecModel(dataclasses.replace(tiny_model("bsq-18").config, gates=True))
    with pytest.raises(ConfigError, match="passes needs one number"):
        ModelConfig(passes=(1, 2))


def test_bsq_prior_has_one_parameter_a_bit():
    model = tiny_model("bsq-18")
    assert model.prior.num_params == 18
    assert dataclasses.asdict(model.config)["quantizer"] == make_quantizer("bsq-18").name
