import json
import math

import pytest
import torch
from torch import nn

from leechcodec.errors import ConfigError, ModelError
from leechcodec.networks.ms_ssim import PER_SQUARED_ERROR, ms_ssim
from leechcodec.networks.ssimulacra2 import PER_SSIMULACRA2, ssimulacra2_distance
from leechcodec.testing.tiny import tiny_model
from leechcodec.training.objective import PER_ABSOLUTE_ERROR, PER_LPIPS, Objective, _masking
from leechcodec.training.runner_up_loss import draw, runner_up_loss
from leechcodec.training.settings import TrainingConfig
from tests.lab.lab_files import lpips_weights


class NoLpips:
    """Stands for LPIPS, whose backbone a test does not have."""

    def __init__(self, weights):
        self.net = type("Net", (nn.Module,), {"forward": lambda self, a, b: (a - b).square().mean((1, 2, 3))})()


@pytest.fixture(scope="module")
def model():
    return tiny_model("leech-ball").train()


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(3)
    coarse = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    return nn.functional.interpolate(coarse, size=(64, 64), mode="nearest"), torch.tensor([90.0, 60.0, 10.0])


def outcome_of(model, batch, step=5, objective=None, **settings):
    settings = TrainingConfig(precision="float32", rate_tokens=16, **settings)
    objective = objective or Objective(model.config, settings, model.quantizer.dim)
    torch.manual_seed(11)
    return objective(model, *batch, step)


def plain(model, batch, settings, step):
    """The loss without options, written out; with a share for MS-SSIM, commitment and contests where they are on."""
    torch.manual_seed(11)
    drawn = draw(model.config, model.images_sent(batch[1]), 64) if settings.contest else None
    x = batch[0].float() / 127.5 - 1
    out = model(x.contiguous(memory_format=torch.channels_last), batch[1], settings.rate_tokens)
    mse = (out.x_hat.float() - x).square().mean((1, 2, 3)) / 4
    lmbda = torch.tensor([model.config.lmbda(q) for q in batch[1].tolist()])
    weight = (lmbda / (model.config.lmbda_min * model.config.lmbda_max) ** 0.5) ** -settings.loss_exponent
    distortion = 255**2 * mse
    if settings.similarity:
        unlike = PER_SQUARED_ERROR * (1 - ms_ssim(x / 2 + 0.5, out.x_hat.float() / 2 + 0.5))
        distortion = (1 - settings.similarity) * distortion + settings.similarity * unlike
    bpp = out.rates.bits.sum(1) / 64**2
    losses = lmbda * distortion + settings.rate_weight(step) * bpp + settings.commitment * out.commitment / 64**2
    if settings.contest:
        squared_weight = (1 - settings.similarity) * lmbda * 255**2 / 4
        change = runner_up_loss(model, x, batch[1], out, squared_weight, drawn, settings.rate_weight(step))
        losses = losses + settings.contest * change / 64**2
    own = (weight * (lmbda * 255**2 * mse + settings.rate_weight(step) * bpp)).detach()
    share = (0.5 / own.clamp(min=0.01)) ** settings.picture_exponent
    loss = (share * weight * losses).mean() + settings.entropy_weight * out.entropy_loss + out.codebook_loss
    return loss, out, lmbda, weight


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_without_options_the_loss_is_the_plain_one_to_the_bit(model, batch):
    settings = TrainingConfig(precision="float32", rate_tokens=16)
    expected, out, *_ = plain(model, batch, settings, 5)
    found = outcome_of(model, batch)
    assert torch.equal(found.loss, expected) and found.discriminator_loss is None
    assert found.terms == {"prior_peak": out.rates.peak}
    wanted, got = gradients(expected, model), gradients(found.loss, model)
    assert wanted.keys() == got.keys() and all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_similarity_commitment_and_contests(model, batch):
    options = dict(similarity=0.2, commitment=8.0, contest=4.0)
    settings = TrainingConfig(precision="float32", rate_tokens=16, **options)
    for step in (5, 2000):  # with the rate at a twentieth of its weight, and at its own
        expected = plain(model, batch, settings, step)[0]
        assert outcome_of(model, batch, step, **options).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_pictures_count_alike(model, batch):
    settings = TrainingConfig(precision="float32", rate_tokens=16, picture_exponent=1.0)
    found = outcome_of(model, batch, picture_exponent=1.0)
    assert found.loss.item() == pytest.approx(plain(model, batch, settings, 5)[0].item(), rel=1e-5)
    assert found.loss.item() == pytest.approx(0.5)  # of each, with squared error and rate alone
    assert found.codec_loss == outcome_of(model, batch).codec_loss  # what is logged stays


def test_errors_weigh_more_where_there_are_few_of_them(model, batch):
    """As usual a squared error of which the loss has half of 0.5; the weights have no gradient of their own."""
    settings = TrainingConfig(precision="float32", rate_tokens=16, masking=0.1)
    base, out, lmbda, weight = plain(model, batch, settings, 5)
    x = batch[0].float() / 127.5 - 1
    squared = 255**2 * (out.x_hat - x).square().mean((1, 2, 3)) / 4
    usual = 0.25 / (weight * lmbda)
    masking = (usual / squared.detach()) ** 0.1
    assert ((masking > 0.25) & (masking < 4)).all() and masking.std() > 0
    expected = base + (weight * lmbda * squared * (masking - 1)).mean()
    found = outcome_of(model, batch, masking=0.1)
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.codec_loss == outcome_of(model, batch).codec_loss  # what is logged stays
    wanted, got = gradients(expected, model), gradients(found.loss, model)
    for name in wanted:
        assert torch.allclose(got[name], wanted[name], rtol=1e-3, atol=1e-4 * wanted[name].abs().max().item()), name


def test_a_picture_without_errors_is_not_weighed_without_end():
    weights = _masking(torch.tensor([0.0, 5.0, 1e9]), torch.tensor([0.05, 0.05, 0.05]), 0.3)
    assert weights.tolist() == pytest.approx([4.0, 1.0, 0.25])


def test_a_share_for_ssimulacra2_beside_one_for_ms_ssim(model, batch):
    options = dict(similarity=0.2, ssimulacra2=0.3)
    found = outcome_of(model, batch, **options)
    base, out, lmbda, weight = plain(model, batch, TrainingConfig(precision="float32", rate_tokens=16), 5)
    x = batch[0].float() / 127.5 - 1
    squared = 255**2 * (out.x_hat - x).square().mean((1, 2, 3)) / 4
    unlike = PER_SQUARED_ERROR * (1 - ms_ssim(x / 2 + 0.5, out.x_hat / 2 + 0.5))
    distance = ssimulacra2_distance(x / 2 + 0.5, out.x_hat / 2 + 0.5)
    distortion = 0.5 * squared + 0.2 * unlike + 0.3 * PER_SSIMULACRA2 * distance
    expected = base + (weight * lmbda * (distortion - squared)).mean()
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.terms["ssimulacra2"].item() == pytest.approx(distance.mean().item(), rel=1e-5)
    wanted, got = gradients(expected, model), gradients(found.loss, model)
    assert wanted.keys() == got.keys()
    for name in wanted:
        assert torch.allclose(got[name], wanted[name], rtol=1e-3, atol=1e-4 * wanted[name].abs().max().item()), name


def test_shares_of_the_distortion(model, batch, monkeypatch, tmp_path):
    monkeypatch.setattr("leechcodec.training.lpips_net.Lpips", NoLpips)
    settings = TrainingConfig(precision="float32", rate_tokens=16, mae=0.5, lpips=0.3)
    objective = Objective(model.config, settings, 24, lpips_weights=tmp_path)
    found = outcome_of(model, batch, objective=objective)
    base, out, lmbda, weight = plain(model, batch, settings, 5)
    x = batch[0].float() / 127.5 - 1
    squared = (out.x_hat - x).square().mean((1, 2, 3))
    mae = PER_ABSOLUTE_ERROR * (out.x_hat - x).abs().mean((1, 2, 3)) / 2
    distortion = 0.2 * 255**2 * squared / 4 + 0.5 * mae + 0.3 * PER_LPIPS * squared
    expected = base + (weight * lmbda * (distortion - 255**2 * squared / 4)).mean()
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.terms["lpips"].item() == pytest.approx(squared.mean().item(), rel=1e-5)


def test_z_loss(model, batch):
    """Weight times the mean of (log Z)² over the tokens that entered the rate term."""
    base, out, *_ = plain(model, batch, TrainingConfig(precision="float32", rate_tokens=16), 5)
    log_z = torch.cat(out.rates.log_partitions)
    assert 0 < len(log_z) <= 16 * sum(model.config.passes)
    found = outcome_of(model, batch, z_loss=0.01)
    assert found.loss.item() == pytest.approx(base.item() + 0.01 * log_z.square().mean().item(), rel=1e-6)
    name = "prior.stages.0.0.head.bias"
    assert not torch.equal(gradients(found.loss, model)[name], gradients(base, model)[name])


def test_the_prior_s_activations(model, batch):
    """A pixel costs what they are beyond half their limit, squared."""
    base, out, *_ = plain(model, batch, TrainingConfig(precision="float32", rate_tokens=16), 5)
    assert out.rates.excess == 0 and outcome_of(model, batch, activation_penalty=0.5).loss == base
    constant = model.prior.get_parameter("constant")
    with torch.no_grad():
        constant += 60
    try:
        base, out, *_ = plain(model, batch, TrainingConfig(precision="float32", rate_tokens=16), 5)
        found = outcome_of(model, batch, activation_penalty=0.5)
    finally:
        with torch.no_grad():
            constant -= 60
    assert out.rates.excess > 0
    expected = base + 0.5 * out.rates.excess / (len(batch[0]) * 64**2)
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_squares_of_the_prior_s_parameters(model, batch):
    base, out, *_ = plain(model, batch, TrainingConfig(precision="float32", rate_tokens=16), 5)
    found = outcome_of(model, batch, score_penalty=0.5)
    expected = base + 0.5 * out.rates.squares / (len(batch[0]) * 64**2)
    assert out.rates.squares > 0 and found.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    name = "prior.stages.0.0.head.bias"
    assert not torch.equal(gradients(found.loss, model)[name], gradients(base, model)[name])


def test_the_discriminator_learns_alone_at_first(model, batch):
    settings = TrainingConfig(precision="float32", rate_tokens=16, adversarial=50.0, adversarial_start=10)
    objective = Objective(model.config, settings, 24)
    base = plain(model, batch, settings, 5)[0]
    alone = outcome_of(model, batch, 9, objective)
    assert alone.discriminator_loss.item() == pytest.approx(alone.terms["judged"].item())
    model.zero_grad()
    alone.backward()
    judge = objective.trained["discriminator"]
    assert all(p.grad is not None for p in judge.parameters())
    early = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    wanted = gradients(plain(model, batch, settings, 9)[0], model)
    assert all(torch.equal(early[name], wanted[name]) for name in wanted)
    # From then on the model is judged too, and its loss teaches the discriminator nothing.
    judge.zero_grad()
    joint = outcome_of(model, batch, 10, objective)
    assert joint.loss.item() != pytest.approx(base.item(), rel=1e-4)
    joint.loss.backward()
    assert all(p.grad is None for p in judge.parameters())


def test_alignment_reaches_the_latents_and_its_map(model, batch, tmp_path):
    settings = TrainingConfig(precision="float32", rate_tokens=16, vf_weight=2.0)
    objective = Objective(model.config, settings, 24, vf_weights=lpips_weights(tmp_path))
    base = plain(model, batch, settings, 5)[0]
    found = outcome_of(model, batch, objective=objective)
    assert found.loss.item() == pytest.approx(base.item() + 2 * found.terms["vf"].item(), rel=1e-5)
    model.zero_grad()
    found.backward()
    assert [name for name, _ in objective.trained.named_parameters()] == ["alignment.projection.weight"]
    assert objective.trained["alignment"].projection.weight.grad.abs().max() > 0
    assert len(objective.parameter_groups()) == 1


def test_networks_of_training_leave_the_random_state_alone(model, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    settings = TrainingConfig(adversarial=0.1, vf_weight=0.1)
    Objective(model.config, settings, 24, vf_weights=lpips_weights(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_missing_or_wrong_weights_are_named(model, tmp_path):
    for options, option in (({"lpips": 0.1}, "--lpips-weights"), ({"vf_weight": 0.1}, "--vf-weights")):
        with pytest.raises(ConfigError, match=option):
            Objective(model.config, TrainingConfig(**options), 24)
    for name, option in (("lpips_weights", "--lpips-weights"), ("vf_weights", "--vf-weights")):
        with pytest.raises(ConfigError, match=f"{option} is of a config with"):
            Objective(model.config, TrainingConfig(), 24, **{name: tmp_path})
    with pytest.raises(ModelError, match="no LPIPS backbone"):
        Objective(model.config, TrainingConfig(vf_weight=0.1), 24, vf_weights=tmp_path)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"optimizer": "adam"}, "'muon' or 'dion'"),
        ({"dion_rank": 0.0}, "dion_rank"),
        ({"dion_rank": 1.5}, "dion_rank"),
        ({"z_loss": -1.0}, "z_loss"),
        ({"activation_penalty": -1.0}, "activation_penalty"),
        ({"prior_rates": -1.0}, "prior_rates"),
        ({"score_penalty": -1.0}, "score_penalty"),
        ({"vf_weight": math.inf}, "vf_weight"),
        ({"mae": "half"}, "mae"),
        ({"mae": 0.6, "lpips": 0.6}, "at most 1"),
        ({"ssimulacra2": -0.1}, "ssimulacra2"),
        ({"similarity": 0.5, "ssimulacra2": 0.6}, "ssimulacra2.* at most 1"),
        ({"ssimulacra2": 1.0, "contest": 1.0}, "contest"),
        ({"mae": 0.4, "lpips": 0.6, "contest": 1.0}, "contest"),
    ],
)
def test_settings_that_do_not_fit(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**values)


def test_shares_may_take_all():
    assert TrainingConfig(mae=0.9, lpips=0.1).squared_share == 0
    assert json.dumps(TrainingConfig(similarity=0.2).squared_share) == "0.8"
    assert json.dumps(TrainingConfig(similarity=0.1, ssimulacra2=0.2).squared_share) == "0.7"
