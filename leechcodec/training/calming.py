"""A prior whose branches are too loud made quiet.

Every pass of the prior adds a branch to its map, without a norm: h ← h + conv2(activate(conv1(activate(h)))). Where all
branches have a gain far above 1, small differences at the coarse stages come to the coder's limit at the fine ones, and
tokens there cost 20 to 250 bits (docs/experiments.md). Of a stage with several passes only the last needs a loud one:
it is the first to know the stage's tokens everywhere. What is taken away is learned again in some hundred steps.
"""

import re
from pathlib import Path

from leechcodec.errors import ConfigError
from leechcodec.training.packed import averages, save_averages
from leechcodec.training.state import config_of

CONV2 = re.compile(r"prior\.stages\.(\d+)\.(\d+)\.conv2\.")


def calm_prior(checkpoint: Path, path: Path, factor: float = 0.15) -> None:
    """Write the averaged weights of a checkpoint with conv2 of every pass but a stage's last times a factor: a file
    for `leechcodec train --init`.

    checkpoint: packed or not. factor: 0 to 1.
    Raises ModelError for what is no checkpoint, ConfigError for another factor.
    """
    if not 0 <= factor <= 1:
        raise ConfigError(f"the factor is a share, 0 to 1, got {factor!r}")
    metadata, tensors = averages(checkpoint)
    passes = config_of(checkpoint, metadata).passes
    for name in tensors:
        if (found := CONV2.match(name)) and int(found[2]) < passes[int(found[1])] - 1:
            tensors[name] = tensors[name] * factor
    save_averages(path, metadata, tensors)
