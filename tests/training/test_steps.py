import pytest
import torch

from leechcodec.testing.tiny import tiny_model
from leechcodec.training.objective import Objective
from leechcodec.training.settings import TrainingConfig
from leechcodec.training.steps import optimizers_of, split_parameters


@pytest.fixture(scope="module")
def model():
    return tiny_model("leech-ball").train()


def test_matrices_and_the_rest(model):
    matrices, others = ({id(parameter) for parameter in part} for part in split_parameters(model))
    assert not matrices & others
    by_name = dict(model.named_parameters())
    assert matrices | others == {id(parameter) for parameter in by_name.values()}
    for name in ("prior.stages.0.0.conv1.weight", "synthesis.up.0.weight"):
        assert id(by_name[name]) in matrices
    for name in ("prior.stages.0.0.head.weight", "prior.stages.0.0.conv1.bias", "synthesis.head.weight"):
        assert id(by_name[name]) in others


@pytest.mark.parametrize("prior_adam", [False, True])
@pytest.mark.parametrize("optimizer", ["muon", "dion"])
def test_the_prior_s_rates(model, optimizer, prior_adam):
    """Every parameter is in one group."""
    settings = TrainingConfig(
        precision="float32", optimizer=optimizer, muon_lr=4e-3, adam_lr=2e-3, prior_rates=0.25, prior_adam=prior_adam
    )
    optimizers = optimizers_of(settings, model, Objective(model.config, settings, 24))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {}
    for kind, expected in ((optimizer, 4e-3), ("adam", 2e-3)):
        for group in optimizers[kind].param_groups:
            for parameter in group["params"]:
                own = names[id(parameter)]
                assert group["lr"] == expected * (0.25 if own.startswith("prior.") else 1)
                found[own] = kind
    assert found.keys() == set(names.values())
    assert found["prior.stages.0.0.conv1.weight"] == ("adam" if prior_adam else optimizer)
    assert found["synthesis.up.0.weight"] == optimizer


def test_rates_of_none_leave_the_prior_as_it_is(model):
    settings = TrainingConfig(precision="float32", prior_rates=0.0, muon_lr=1e-2, adam_lr=1e-2)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in optimizers_of(settings, model, Objective(model.config, settings, 24)).values():
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("prior.")
