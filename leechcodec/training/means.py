"""The mean of several runs' averaged weights, of one run's at several times, or what lies beyond one of two.

Weights of branches from one start lie around something better than any of them: their noise is independent and cancels
(Wortsman et al., "Model soups", arXiv 2203.05482). What a short last phase has changed can be taken further without
training: shares of -0.15 and 1.15 go on by 15 % of it (Ilharco et al., "Editing models with task arithmetic", arXiv
2212.04089).
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from leechcodec.errors import ConfigError
from leechcodec.training.packed import averages, save_averages
from leechcodec.training.state import config_of


def mean_weights(checkpoints: Sequence[Path], path: Path, shares: Sequence[float] | None = None) -> None:
    """Write a weighted mean of checkpoints' averaged weights: a file for `leechcodec train --init`, or to be packed.

    checkpoints: packed or not, one or more, of one config but for the places of its stages; these, step and seconds are
        those of the last one.
    shares: of each, in any unit, of a sum above 0. None: all alike.
    Raises ModelError for what is no checkpoint, ConfigError for other configs, or shares that do not fit.
    """
    shares = [1.0] * len(checkpoints) if shares is None else list(shares)
    if len(shares) != len(checkpoints) or not checkpoints or not sum(shares) > 0:
        raise ConfigError(f"{len(checkpoints)} checkpoints need as many shares, of a sum above 0, not {shares}")
    metadata: dict[str, str] = {}
    total: dict[str, Tensor] = {}
    for checkpoint, share in zip(checkpoints, shares, strict=True):
        before, (metadata, tensors) = metadata, averages(checkpoint)
        if before and _networks(checkpoint, metadata) != _networks(checkpoints[0], before):
            raise ConfigError(f"{checkpoint}: another config than that of {checkpoints[0]}")
        for name, value in tensors.items():
            part = value.float() * (share / sum(shares))
            total[name] = total[name] + part if name in total else part
    save_averages(path, metadata, total)


def _networks(checkpoint: Path, metadata: dict[str, str]) -> dict[str, object]:
    """The config without what says where on the dial stages enter."""
    return {name: value for name, value in asdict(config_of(checkpoint, metadata)).items() if name != "min_quality"}
