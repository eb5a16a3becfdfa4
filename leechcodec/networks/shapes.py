"""The names and shapes of a model's weights, from its config: what a file is checked against where torch is not there.
With them, what both runtimes know of a residual block.

A test holds them against torch's own networks, for several configs.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.errors import ConfigError, ModelError
from leechcodec.networks.prior_loop import AGREEMENT, AGREEMENTS, NEIGHBOURS, has_gate
from leechcodec.quantizers.code import TokenCode

Shapes = dict[str, tuple[int, ...]]
PATCH = STRIDES[-1] ** 2 * 3
"""Values of a square of pixels that a position of the finest scale stands for."""
RESIDUAL_LIMIT = 1.5
"""What a residual block may add to an activation: unbounded, a gain that grows with the state it adds to can run away
on a picture unlike the training photographs (one Kodak image in 24 did)."""
RESIDUAL_REACH = 2
"""Positions that a residual block looks at on either side: two 3 x 3 convolutions."""


def weight_shapes(config: ModelConfig, code: TokenCode) -> Shapes:
    """Of a model's file with one of the codes that have no tensors of their own."""
    parts = {"analysis": _analysis(config), "synthesis": _synthesis(config, code.dim), "prior": _prior(config, code)}
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def check_code(config: ModelConfig, code: TokenCode) -> None:
    """Raises ConfigError for a config that asks for more than the code has."""
    if config.gates and code.norm_squared != AGREEMENT:
        raise ConfigError(f"gates repeat codewords of the Leech shell: {config.quantizer} has others")
    if config.ramp and not code.origin:
        raise ConfigError(f"a ramp needs a code that says nothing: leech-ball has one, {config.quantizer} none")


def check_weights(config: ModelConfig, code: TokenCode, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises ModelError for a tensor that is missing, of another shape, or too many, and what check_code() does."""
    check_code(config, code)
    shapes = weight_shapes(config, code)
    found = {name: value.shape for name, value in tensors.items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            raise ModelError(f"weights do not fit the config ({name}: {found.get(name)}, not {shapes.get(name)})")


def shortcut_scales(config: ModelConfig) -> range:
    """The scales that have shortcuts: all but the finest, which has the stem and the head of its own."""
    return range(min(max(config.stage_scales) + 1, len(STRIDES) - 1))


def _analysis(config: ModelConfig) -> Shapes:
    widths, counts = config.channels[::-1], config.analysis_blocks[::-1]
    shapes = _conv("stem", widths[0], PATCH, 3)
    for number, (a, b) in enumerate(itertools.pairwise(widths)):
        shapes |= _conv(f"down.{number}", b, a, 2)
    for level, (width, count) in enumerate(zip(widths, counts)):
        for number in range(count):
            shapes |= _block(f"blocks.{level}.{number}", width, config.quality_knots)
    for scale in shortcut_scales(config) if config.shortcuts else ():
        shapes |= _conv(f"shortcuts.{scale}", config.channels[scale], PATCH, 1)
    return shapes


def _synthesis(config: ModelConfig, dim: int) -> Shapes:
    widths, knots = config.channels, config.quality_knots
    shapes: Shapes = {"constant": (widths[0],), "constant_bias.table": (knots, widths[0])}
    for stage, scale in enumerate(config.stage_scales):
        name, width = f"stages.{stage}", widths[scale]
        shapes |= _conv(f"{name}.hidden", width, 2 * width, 1) | _conv(f"{name}.to_z", dim, width, 1)
        shapes |= _conv(f"{name}.gain", width, width, 1) | _conv(f"{name}.embed", width, dim, 1, bias=False)
        shapes |= {f"{name}.{table}.table": (knots, width) for table in ("hidden_bias", "gain_bias")}
    for scale, (width, counts) in enumerate(zip(widths, config.synthesis_blocks)):
        for number in range(sum(counts)):
            shapes |= _block(f"blocks.{scale}.{number}", width, knots)
    for number, (a, b) in enumerate(itertools.pairwise(widths)):
        shapes |= _conv(f"up.{number}", 4 * b, a, 1)
    for scale in shortcut_scales(config) if config.shortcuts else ():
        shapes |= _conv(f"shortcuts.{scale}", PATCH, config.channels[scale], 1)
    return shapes | _conv("head", PATCH, widths[-1], 3)


def _prior(config: ModelConfig, code: TokenCode) -> Shapes:
    """Of its canonical integers (integer_prior_weights.py)."""
    widths = config.prior_channels
    shapes: Shapes = {"constant": (widths[0],)}
    for number, (a, b) in enumerate(itertools.pairwise(widths)):
        shapes |= _exact(f"up.{number}", 4 * b, a, 1)
    for stage, (scale, passes) in enumerate(zip(config.stage_scales, config.passes)):
        width = widths[scale]
        for number in range(passes):
            name = f"stages.{stage}.{number}"
            shapes |= {f"{name}.quality": (config.quality_knots, width)}
            shapes |= _exact(f"{name}.head", code.num_params, width, 1)
            shapes |= _exact(f"{name}.embed", width, code.dim, 1, bias=False)
            shapes |= _exact(f"{name}.conv1", width, width, 3) | _exact(f"{name}.conv2", width, width, 3)
            if has_gate(config, number):
                shapes |= _exact(f"{name}.gate", NEIGHBOURS, width + AGREEMENTS, 1)
    return shapes


def _block(name: str, width: int, knots: int) -> Shapes:
    shapes = _conv(f"{name}.conv1", width, width, 3) | _conv(f"{name}.conv2", width, width, 3)
    return shapes | {f"{name}.{table}.table": (knots, width) for table in ("scale", "bias")}


def _conv(name: str, outputs: int, inputs: int, size: int, bias: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (outputs, inputs, size, size)}
    return shapes | {f"{name}.bias": (outputs,)} if bias else shapes


def _exact(name: str, outputs: int, inputs: int, size: int, bias: bool = True) -> Shapes:
    return _conv(name, outputs, inputs, size, bias) | {f"{name}.shift": (outputs,)}
