"""A tiny untrained model for tests where weights do not matter."""

from typing import Any

import torch

from leechcodec.config import ModelConfig
from leechcodec.networks.model import CodecModel

LAYOUT: dict[str, Any] = dict(
    stages=(1, 1, 2, 1, 0),
    passes=(1, 1, 2, 1, 2),
    min_quality=(1, 1, 1, 30, 60),
    channels=(8, 8, 8, 8, 8),
    analysis_blocks=(1, 1, 1, 1, 1),
    synthesis_blocks=((1,), (1,), (1, 1), (1,), (1,)),
    prior_channels=(8, 8, 8, 8, 8),
    quality_knots=3,
)


def tiny_model(quantizer: str = "leech", seed: int = 0) -> CodecModel:
    """Random weights, quality tables included, so that nothing is zero by construction."""
    torch.manual_seed(seed)
    model = CodecModel(ModelConfig(quantizer=quantizer, **LAYOUT))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.1)
            if ".head.weight" in name and name.startswith("prior"):
                parameter.mul_(8)
    return model.eval()
