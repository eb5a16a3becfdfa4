"""A step with weights cast once is the same step."""

from dataclasses import replace

import pytest
import torch

from leechcodec.testing.tiny import tiny_model
from leechcodec.training.cast_weights import CastWeights
from leechcodec.training.objective import Objective
from leechcodec.training.recorded import strata_middles
from leechcodec.training.settings import TrainingConfig

SETTINGS = TrainingConfig(batch=4, crop=64, rate_start=1.0, rate_tokens=1 << 20, commitment=8.0, activation_penalty=0.1)


def step(model, networks, precision):
    """A batch's loss, by the networks, and the gradients by name; those of the model are left alone."""
    objective = Objective(model.config, replace(SETTINGS, precision=precision), model.quantizer.dim)
    batch = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    outcome = objective(networks, batch, strata_middles(4), 0)
    outcome.backward()
    return outcome.loss.detach()


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_values_and_gradients_are_those_of_autocast(precision):
    model = tiny_model()
    loss = step(model, model, precision)
    expected = gradients(model)
    model.zero_grad()
    weights = CastWeights(model, torch.bfloat16 if precision == "bf16" else torch.float32)
    for _ in range(2):  # nothing is added to what the first left
        weights.refresh()
        assert torch.equal(step(model, weights.model, precision), loss)
        weights.hand_over()
    found = gradients(model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_they_follow_the_parameters():
    model = tiny_model()
    weights = CastWeights(model, torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    weights.refresh()
    assert torch.equal(step(model, weights.model, "bf16"), step(model, model, "bf16"))


def test_what_is_not_reached_has_no_gradient_or_none_left():
    model = tiny_model()
    weights = CastWeights(model, torch.bfloat16)
    weights.refresh()
    model.analysis.stem.weight.grad = torch.ones_like(model.analysis.stem.weight)
    weights.hand_over()
    assert not model.analysis.stem.weight.grad.any() and model.synthesis.head.weight.grad is None
