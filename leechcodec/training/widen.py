"""Networks with more channels and more blocks than those they start from, and at first the same function.

    new channels of a state or feature   written by nothing (rows of zeros), read by everything (rows as they are made)
    new units within a token's question  written as they are made, read by nothing (columns of zeros)
    new units within a block             the mean of the old ones, which its norm turns into 0
    new blocks                           write nothing
    new channels of the prior            as they are made, read by nothing of the old

Wherever something is zero its neighbour is not, so that both have a gradient from the first step on. A block's norm is
over its channels: the mean among them leaves their mean as it is and makes their variance smaller, which the scale
makes up for. (Chen et al., "Net2Net", arXiv 1511.05641, copies units instead, and a norm would see that.)
"""

import torch
from torch import Tensor

from leechcodec.config import ModelConfig
from leechcodec.networks.prior_loop import AGREEMENTS

WRITES = ("stem", "down", "up", "conv2", "embed", "constant", "analysis.shortcuts")
"""What writes to a state or a feature: its new rows are zero."""


def block_source(name: str, old: ModelConfig, new: ModelConfig) -> str | None:
    """The old model's name of a parameter of a block, None for a block that it has not. Other names come back."""
    parts = name.split(".")
    if parts[1] != "blocks" or parts[0] not in ("analysis", "synthesis"):
        return name
    scale, number = int(parts[2]), int(parts[3])
    if parts[0] == "analysis":
        return name if number < old.analysis_blocks[::-1][scale] else None
    for place, count in enumerate(new.synthesis_blocks[scale]):
        if number < count:
            before = old.synthesis_blocks[scale]
            if place >= len(before) or number >= before[place]:
                return None
            parts[3] = str(sum(before[:place]) + number)
            return ".".join(parts)
        number -= count
    return None


def widened(name: str, value: Tensor, made: Tensor) -> Tensor:
    """A parameter with more channels: as value says, and what is new as the module says.

    made: as a new model has it. Where a tensor has become smaller it comes back as it is.
    """
    if value.ndim != made.ndim or any(size < had for had, size in zip(value.shape, made.shape, strict=True)):
        return value
    if name.startswith("prior."):
        return _widened_prior(name, value, made)
    layer = _layer(name)
    if value.ndim == 4:
        return _rows(layer, _columns(layer, value, made), made)
    if value.ndim == 2:  # a quality table, (knots, channels)
        if layer == "scale":
            value = (1 + value) * (value.shape[1] / made.shape[1]) ** 0.5 - 1
        return torch.cat([value, value.new_zeros(len(value), made.shape[1] - value.shape[1])], 1)
    return _rows(layer, value, made)


def _widened_prior(name: str, value: Tensor, made: Tensor) -> Tensor:
    """What the prior was does not read the new channels; what is new is as it was made."""
    result = made.clone()
    if value.ndim == 4:
        seen = value.shape[1] - (AGREEMENTS if ".gate." in name else 0)  # agreements come after the channels
        result[: len(value)] = 0
        result[: len(value), :seen] = value[:, :seen]
        result[: len(value), made.shape[1] - (value.shape[1] - seen) :] = value[:, seen:]
    else:
        result[tuple(slice(side) for side in value.shape)] = value
    return result


def _layer(name: str) -> str:
    parts = [part for part in name.split(".") if not part.isdigit() and part not in ("weight", "table")]
    if parts[-1] == "bias" and name.endswith(".bias"):
        parts = parts[:-1]
    return f"{parts[0]}.shortcuts" if "shortcuts" in parts else parts[-1]


def _columns(layer: str, value: Tensor, made: Tensor) -> Tensor:
    """Old rows (rows, columns, k, k) with the new columns among the old ones."""
    groups = 2 if layer == "hidden" else 1  # the feature's channels, then the state's
    had, size = value.shape[1] // groups, made.shape[1] // groups
    parts = []
    for group in range(groups):
        new = made[: len(value), group * size + had : (group + 1) * size]
        parts += [value[:, group * had : (group + 1) * had], torch.zeros_like(new) if layer == "to_z" else new]
    return torch.cat(parts, 1)


def _rows(layer: str, value: Tensor, made: Tensor) -> Tensor:
    """What has the old rows, with the new ones after them."""
    new = made[len(value) :]
    if layer == "conv1":
        new = value.mean(0, keepdim=True).expand_as(new)
    elif layer in WRITES:
        new = torch.zeros_like(new)
    return torch.cat([value, new])
