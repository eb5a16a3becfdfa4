"""More channels and blocks: the same function at first, and one that can learn."""

import pytest
import torch

from leechcodec.config import ModelConfig
from leechcodec.networks.model import CodecModel
from leechcodec.testing.tiny import LAYOUT
from tests.training.test_grow import checkpoint_of, grown

BLOCKS = dict(analysis_blocks=(2, 1, 1, 3, 1), synthesis_blocks=((2,), (1,), (3, 1), (2,), (1,)))
CASES = [
    dict(channels=(8, 8, 8, 12, 8)),
    dict(channels=(12, 9, 16, 10, 11)),
    BLOCKS,
    dict(channels=(9, 9, 9, 9, 9), prior_channels=(12, 8, 8, 8, 8), **BLOCKS),
]


def forward(model):
    """What a training pass gives, of two pictures."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(2, 3, 64, 128, generator=generator) * 2 - 1
    return model(x, torch.tensor([90.0, 40.0]))


def with_shortcuts(tmp_path):
    torch.manual_seed(1)
    model = CodecModel(ModelConfig(**{"quantizer": "leech", **LAYOUT, "shortcuts": True}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model, checkpoint_of(model, tmp_path)


@pytest.mark.parametrize("changes", CASES)
@torch.no_grad()
def test_the_function_is_the_same_at_first(tmp_path, changes):
    """But for what the norms add to a variance, which shows where it is as small as here."""
    model, path = with_shortcuts(tmp_path)
    wider = grown(path, shortcuts=True, **changes)
    before, after = forward(model), forward(wider)
    for old, new in zip(before.z, after.z, strict=True):
        assert torch.allclose(old, new, atol=1e-4 * float(old.abs().max()))
    assert torch.allclose(before.x_hat, after.x_hat, atol=5e-5 * float(before.x_hat.abs().max()))
    torch.testing.assert_close(after.rates.bits, before.rates.bits, rtol=1e-4, atol=1e-3)


def test_everything_new_can_learn(tmp_path):
    """A step along the gradient gives every parameter a gradient in all its rows and columns, if it had none before."""
    _, path = with_shortcuts(tmp_path)
    wider = grown(path, shortcuts=True, channels=(12, 9, 16, 10, 11))

    def gradients():
        wider.zero_grad()
        out = forward(wider)
        (out.x_hat.square().sum() + out.rates.bits.sum()).backward()
        return {name: p.grad for name, p in wider.named_parameters() if p.grad is not None}

    first = gradients()
    with torch.no_grad():
        for name, gradient in first.items():
            wider.get_parameter(name).sub_(0.02 * gradient / (gradient.norm() + 1e-9))
    for name, gradient in gradients().items():
        if gradient.ndim != 4:
            continue
        assert gradient.abs().amax((1, 2, 3)).min() > 0 and gradient.abs().amax((0, 2, 3)).min() > 0, name
