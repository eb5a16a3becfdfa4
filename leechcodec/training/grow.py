"""Start a model from a smaller one: another dial, more token stages, more passes with gates, more channels, shortcuts.

All changes keep what was learned. The quality tables are read off at the new knots' trade-offs (a table is piecewise
linear in log lmbda). A new stage at the end of a scale starts as a copy of that scale's last one, in the synthesis
transform and in the prior: it codes what the state does not say yet, once more. Shortcuts, new channels and blocks
(widen.py), and the passes that a stage is split into, leave the function as it was at first.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from leechcodec.codec.model_store import load_model
from leechcodec.config import STRIDES, ModelConfig
from leechcodec.errors import ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.training.packed import averages
from leechcodec.training.state import config_of
from leechcodec.training.widen import block_source, widened


def load_grown(path: Path, config: ModelConfig, model: CodecModel) -> None:
    """Load a checkpoint's averaged weights, or a released model, into one that has no less of anything.

    path: a checkpoint file, packed (packed.py) or not, or a model's folder. config: of the model to fill. Raises
    ModelError where the path is neither, or a tensor neither fits nor has a counterpart.
    """
    old, tensors = _released(path) if path.is_dir() else _checkpoint(path)
    state = model.quantizer.state_dict(prefix="quantizer.")
    if state and old.quantizer != config.quantizer:
        raise ModelError(f"{path}: its codebook is that of {old.quantizer!r}, not of {config.quantizer!r}")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            source = block_source(_counterpart(name, old, config), old, config)
            if source is None:  # a new block, which writes nothing
                parameter.mul_(0 if ".conv2." in name else 1)
                continue
            if _is_new(name, old, config):
                parameter.zero_()
                continue
            if ".gate." in name and (not old.gates or source.split(".")[3] == "0"):
                continue  # next to nothing, as they are made: the old pass had none
            if source not in tensors:
                raise ModelError(f"{path}: nothing to start {name} from")
            value = tensors[source]
            if _is_quality_table(name):
                value = _regrid(value, old, config)
            if value.shape != parameter.shape:
                value = widened(name, value, parameter)
            if value.shape != parameter.shape:
                raise ModelError(f"{path}: {source} is {tuple(value.shape)}, {name} needs {tuple(parameter.shape)}")
            parameter.copy_(value)
        for name, value in state.items():
            if name not in tensors or tensors[name].shape != value.shape:
                raise ModelError(f"{path}: no {name} of shape {tuple(value.shape)}")
            value.copy_(tensors[name])
    model.quantizer.refresh()


def _checkpoint(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    metadata, tensors = averages(path)
    return config_of(path, metadata), tensors


def _released(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    loaded = load_model(folder)
    if loaded.is_second_decoder:
        raise ModelError(f"{folder}: a second decoder; start from the model that it goes with")
    state = dict(loaded.networks.quantizer.named_buffers(prefix="quantizer"))
    return loaded.config, state | dict(loaded.networks.named_parameters())


def _counterpart(name: str, old: ModelConfig, new: ModelConfig) -> str:
    """The old model's name of a parameter: stages keep their scale and their place in it, new ones copy the last."""
    parts = name.split(".")
    if parts[1] != "stages":
        return name
    stage = int(parts[2])
    scale = new.stage_scales[stage]
    place = stage - new.stage_scales.index(scale)
    if not old.stages[scale]:
        raise ModelError(f"nothing to start {name} from: the model had no stage at stride {STRIDES[scale]}")
    source = old.stage_scales.index(scale) + min(place, old.stages[scale] - 1)
    parts[2] = str(source)
    if parts[0] == "prior":
        added = new.passes[stage] - old.passes[source]
        if added < 0 and place < old.stages[scale]:
            raise ModelError(f"stage {stage + 1} had {old.passes[source]} passes, more than {new.passes[stage]}")
        parts[3] = str(max(0, int(parts[3]) - max(0, added)))
    return ".".join(parts)


def _is_new(name: str, old: ModelConfig, new: ModelConfig) -> bool:
    """Whether a parameter is to be zero for the function to be unchanged at first.

    So are shortcuts. Of the passes that an old first pass was split into the first alone has its quality bias, and the
    last alone its block: before the block all of them have embedded their tokens, as the old one had.
    """
    parts = name.split(".")
    if parts[1] == "shortcuts":
        return not old.shortcuts
    if parts[:2] != ["prior", "stages"]:
        return False
    source = int(_counterpart(name, old, new).split(".")[2])
    number, added = int(parts[3]), new.passes[int(parts[2])] - old.passes[source]
    return (parts[4] == "quality" and 0 < number <= added) or (parts[4] == "conv2" and number < added)


def _is_quality_table(name: str) -> bool:
    return name.endswith((".table", ".quality"))


def _regrid(table: Tensor, old: ModelConfig, new: ModelConfig) -> Tensor:
    """Rows of a table (knots, channels) at the trade-offs of the new dial's knots; its ends hold beyond its range."""
    span, rows = math.log(old.lmbda_max / old.lmbda_min), []
    for knot in range(new.quality_knots):
        lmbda = new.lmbda(1 + 99 * knot / (new.quality_knots - 1))
        position = math.log(lmbda / old.lmbda_min) / span * (old.quality_knots - 1)
        position = min(max(position, 0.0), old.quality_knots - 1.0)
        below = min(int(position), old.quality_knots - 2)
        rows.append(torch.lerp(table[below], table[below + 1], position - below))
    return torch.stack(rows)
