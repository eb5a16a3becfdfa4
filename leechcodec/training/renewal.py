"""The last stages of a run started anew from the one before them.

The prior's scores end at ±25 nats, where they have no gradient. A stage whose scores have all come there stays: it
costs the same bits for every picture, or more than it would without a prior, and its encoder learns to say nothing. In
the run where this was seen the map of the prior grew fivefold at that place, so what leads there is replaced as well:

    stage of the synthesis    n, n + 1, …  ← n - 1
    pass of the prior         n, n + 1, …  ← head of n - 1, all else of n - 2
                              n - 1        ← embed, conv1 and conv2 of n - 2
"""

from pathlib import Path

from torch import Tensor

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.training.packed import averages, save_averages
from leechcodec.training.state import config_of

AFTER_THE_HEAD = ("embed", "conv1", "conv2")
"""Parts of a pass that change the map of the prior once its tokens are known."""


def renew_stages(checkpoint: Path, path: Path, first: int) -> None:
    """Write the averaged weights of a checkpoint with new stages from one on: a file for `leechcodec train --init`.

    checkpoint: packed or not.
    first: number of the first stage to be renewed, 0 for the coarsest; all after it are, too.
    Raises ModelError for what is no checkpoint, ConfigError where the two stages before lie at another stride or have
    another number of passes.
    """
    metadata, tensors = averages(checkpoint)
    config = config_of(checkpoint, metadata)
    _check(config, first)
    passes = range(config.passes[first])
    result = dict(tensors)
    for number in passes:
        for part in AFTER_THE_HEAD:
            _copy(
                tensors,
                result,
                f"prior.stages.{first - 2}.{number}.{part}",
                f"prior.stages.{first - 1}.{number}.{part}",
            )
    for stage in range(first, len(config.passes)):
        _copy(tensors, result, f"synthesis.stages.{first - 1}", f"synthesis.stages.{stage}")
        for number in passes:
            _copy(tensors, result, f"prior.stages.{first - 2}.{number}", f"prior.stages.{stage}.{number}")
            _copy(tensors, result, f"prior.stages.{first - 1}.{number}.head", f"prior.stages.{stage}.{number}.head")
    save_averages(path, metadata, result)


def _check(config: ModelConfig, first: int) -> None:
    count = len(config.passes)
    if not 2 <= first < count:
        raise ConfigError(f"the first stage to renew is one of 2 to {count - 1}, not {first}")
    scales, passes = config.stage_scales[first - 2 :], config.passes[first - 2 :]
    if len(set(scales)) > 1 or len(set(passes)) > 1:
        raise ConfigError(f"stages {first - 2} to {count - 1} must be of one stride, and of one number of passes")


def _copy(source: dict[str, Tensor], result: dict[str, Tensor], old: str, new: str) -> None:
    for name, value in source.items():
        if name.startswith(f"{old}."):
            result[new + name.removeprefix(old)] = value.clone()
