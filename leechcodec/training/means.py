"""The mean of several runs' averaged weights, or of one run's at several times.

Weights of branches from one start lie around something better than any of them: their noise is independent and cancels
(Wortsman et al., "Model soups", arXiv 2203.05482).
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from leechcodec.errors import ConfigError
from leechcodec.training.packed import averages, save_averages
from leechcodec.training.state import config_of


def mean_weights(checkpoints: Sequence[Path], path: Path, shares: Sequence[float] | None = None) -> None:
    """Write a weighted mean of checkpoints' averaged weights: a file for `leechcodec train --init`, or to be packed.

    checkpoints: packed or not, one or more, of one config; step and seconds are those of the last one.
    shares: of each, in any unit. None: all alike.
    Raises ModelError for what is no checkpoint, ConfigError for other configs, or shares that do not fit.
    """
    shares = [1.0] * len(checkpoints) if shares is None else list(shares)
    if len(shares) != len(checkpoints) or not checkpoints or min(shares) < 0 or not sum(shares):
        raise ConfigError(f"{len(checkpoints)} checkpoints need as many shares, none below 0, not {shares}")
    metadata: dict[str, str] = {}
    total: dict[str, Tensor] = {}
    for checkpoint, share in zip(checkpoints, shares, strict=True):
        before, (metadata, tensors) = metadata, averages(checkpoint)
        if before and config_of(checkpoint, metadata) != config_of(checkpoints[0], before):
            raise ConfigError(f"{checkpoint}: another config than that of {checkpoints[0]}")
        for name, value in tensors.items():
            part = value.float() * (share / sum(shares))
            total[name] = total[name] + part if name in total else part
    save_averages(path, metadata, total)
