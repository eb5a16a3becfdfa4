"""A prior of one pass a stage and without gates, made of one that has more: what grow.py and prior_only.py add, undone.

Every pass of the prior adds a branch to its map, without a norm. While all networks learn together, many loud branches
in a row carry small differences to the coder's limit, and tokens there cost 20 to 250 bits (docs/experiments.md). So a
prior learns beside the transforms with one pass a stage; passes and gates come when it is trained alone.

    a stage's passes           its only pass
    0          ─▶ head, quality
    0 … last   ─▶ embed                        their mean
    last       ─▶ conv1, conv2                 the first block that knows the stage's tokens everywhere

The transforms stay as they are. The prior costs more bits at first and learns it in some hundred steps alone.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from leechcodec.training.packed import averages, save_averages
from leechcodec.training.state import config_of


def join_passes(checkpoint: Path, path: Path) -> None:
    """Write the averaged weights of a checkpoint with every stage's passes made one, without gates: a file for
    `leechcodec train --init`, whose config has such a prior.

    checkpoint: packed or not. Raises ModelError for what is no checkpoint.
    """
    metadata, tensors = averages(checkpoint)
    config = config_of(checkpoint, metadata)
    result = {name: value for name, value in tensors.items() if not name.startswith("prior.stages.")}
    for stage, passes in enumerate(config.passes):
        result |= _joined(tensors, f"prior.stages.{stage}", passes)
    single = replace(config, passes=(1,) * len(config.passes), gates=False)
    save_averages(path, metadata | {"config": json.dumps(asdict(single))}, result)


def _joined(tensors: dict[str, Tensor], stage: str, passes: int) -> dict[str, Tensor]:
    """The only pass of a stage, by its names in the new prior."""
    embeds = [tensors[f"{stage}.{number}.embed.weight"] for number in range(passes)]
    sources = {
        "quality": 0, "head.weight": 0, "head.bias": 0,
        "conv1.weight": passes - 1, "conv1.bias": passes - 1, "conv2.weight": passes - 1, "conv2.bias": passes - 1,
    }  # fmt: skip
    joined = {f"{stage}.0.{part}": tensors[f"{stage}.{number}.{part}"] for part, number in sources.items()}
    return joined | {f"{stage}.0.embed.weight": torch.stack(embeds).mean(0)}
