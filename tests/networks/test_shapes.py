"""The names and shapes of weights, without torch, against torch's own networks."""

import dataclasses

import numpy as np
import pytest

from leechcodec.config import ModelConfig
from leechcodec.errors import ModelError
from leechcodec.networks.integer_prior_weights import integer_weights
from leechcodec.networks.model import CodecModel
from leechcodec.networks.shapes import check_weights, weight_shapes
from leechcodec.quantizers.code import code_of
from leechcodec.testing.tiny import LAYOUT, tiny_model

CONFIGS = [
    ModelConfig(quantizer="bsq-18"),
    ModelConfig(quantizer="leech", **LAYOUT),
    ModelConfig(quantizer="leech-ball", shortcuts=True, gates=True, **LAYOUT),
]


def tensors_of(model):
    transforms = {n: t for n, t in model.state_dict().items() if not n.startswith(("prior.", "quantizer."))}
    return transforms | {f"prior.{name}": value for name, value in integer_weights(model.prior).items()}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.quantizer)
def test_they_are_those_of_the_networks(config):
    found = {name: tuple(value.shape) for name, value in tensors_of(CodecModel(config)).items()}
    assert weight_shapes(config, code_of(config.quantizer)) == found


def test_what_does_not_fit_is_named():
    model = tiny_model()
    tensors = {name: np.asarray(value) for name, value in tensors_of(model).items()}
    code = code_of("leech")
    check_weights(model.config, code, tensors)
    with pytest.raises(ModelError, match=r"prior.constant: \(7,\), not \(8,\)"):
        check_weights(model.config, code, tensors | {"prior.constant": np.zeros(7)})
    with pytest.raises(ModelError, match=r"more: \(1,\), not None"):
        check_weights(model.config, code, tensors | {"more": np.zeros(1)})
    with pytest.raises(ModelError, match=r"analysis.stem.weight: None"):
        check_weights(model.config, code, {n: t for n, t in tensors.items() if n != "analysis.stem.weight"})
    with pytest.raises(ModelError, match="weights do not fit"):
        check_weights(dataclasses.replace(model.config, quality_knots=4), code, tensors)
