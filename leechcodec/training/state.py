"""Checkpoints: safetensors only, written to a temporary name and renamed, the one before kept beside.

Holds the model's state (float32), its weights' average (float32), Muon's or Dion's momentum and Dion's bases (bf16),
AdamW's moments (float32), the networks that are trained beside the model (objective.py) and the random state; the step,
the seconds trained and the model config are in the file's metadata.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError, ModelError
from leechcodec.networks.model import CodecModel

HALVED = ("momentum", "basis")
"""An optimizer's state that is kept in bf16."""


def save_checkpoint(
    path: Path,
    config: ModelConfig,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimizers: dict[str, Optimizer],
    generator: torch.Generator,
    step: int,
    seconds: float,
    mean_loss: float | None,
    trained: nn.Module | None = None,
    lag: int | None = None,
) -> None:
    """Write everything a run needs to go on. Never leaves half a file behind.

    trained: networks beside the model, whose weights are not averaged. lag: of the averages (run.py).
    """
    trained = trained or nn.Module()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in ema.items()}
    tensors |= {f"objective.{name}": value for name, value in trained.state_dict().items()}
    names = {id(p): name for name, p in _parameters(model, trained).items()}
    for kind, optimizer in optimizers.items():
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                value = torch.as_tensor(value)
                value = value.bfloat16() if key in HALVED else value
                tensors[f"{kind}.{key}.{names[id(parameter)]}"] = value
    tensors["random.crops"] = generator.get_state()
    tensors["random.torch"] = torch.get_rng_state()
    device = next(model.parameters()).device
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    metadata = {
        "step": str(step),
        "seconds": str(seconds),
        "mean_codec_loss": json.dumps(mean_loss),
        "config": json.dumps(asdict(config)),
        "averages_lag": json.dumps(lag),
    }
    temporary = path.with_suffix(".tmp")
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, temporary, metadata)
    if path.exists():
        _keep(path, path.with_name("checkpoint.previous.safetensors"))
    os.replace(temporary, path)


def _keep(path: Path, previous: Path) -> None:
    """A second name for a file that is about to be replaced: at no moment is there none of the first."""
    previous.unlink(missing_ok=True)
    try:
        os.link(path, previous)
    except OSError:  # a file system without links
        shutil.copyfile(path, previous)


def load_checkpoint(
    path: Path,
    config: ModelConfig,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimizers: dict[str, Optimizer],
    generator: torch.Generator,
    trained: nn.Module | None = None,
) -> tuple[int, float, float | None, int | None]:
    """Restore a run. Returns (step, seconds, mean loss, lag of the averages).

    Raises ModelError where the file is missing, damaged, of another architecture or of another kind of run, or lacks a
    network of `trained`.
    """
    metadata, tensors = _read(path, config)
    trained = trained or nn.Module()
    for part, name, size in ((p, n, v.shape) for n, v in model.named_parameters() for p in ("model", "ema")):
        if f"{part}.{name}" not in tensors or tensors[f"{part}.{name}"].shape != size:
            raise ModelError(f"{path}: no {part}.{name} that fits: this is the checkpoint of another kind of run")
    beside = {name: tensors.get(f"objective.{name}") for name in trained.state_dict()}
    if missing := [name for name, value in beside.items() if value is None]:
        raise ModelError(f"{path}: no objective.{missing[0]}: this run was started without that term of the loss")
    trained.load_state_dict(beside)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
            ema[name].copy_(tensors[f"ema.{name}"])
        _load_buffers(model, tensors)
    for kind, optimizer in optimizers.items():
        keys = {name.split(".")[1] for name in tensors if name.startswith(f"{kind}.")}
        for name, parameter in _parameters(model, trained).items():
            for key in keys:
                value = tensors.get(f"{kind}.{key}.{name}")
                if value is not None:
                    optimizer.state[parameter][key] = value if key == "step" else _placed(value, parameter)
    generator.set_state(tensors["random.crops"])
    torch.set_rng_state(tensors["random.torch"])
    device = next(model.parameters()).device
    if device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
    mean_loss, lag = (json.loads(metadata.get(name, "null")) for name in ("mean_codec_loss", "averages_lag"))
    return int(metadata["step"]), float(metadata["seconds"]), mean_loss, lag


@torch.no_grad()
def _placed(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """An optimizer's state in float32 on the parameter's device; of its shape, laid out in memory as it is: a fused
    optimizer goes through both as they lie there."""
    value = value.to(parameter.device, torch.float32)
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _parameters(model: nn.Module, trained: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters()) | dict(trained.named_parameters(prefix="objective"))


def config_of(path: Path, metadata: Mapping[str, str]) -> ModelConfig:
    """The model's config, of a checkpoint's metadata, packed or not. Raises ModelError where it is none."""
    try:
        return ModelConfig.from_dict(json.loads(metadata["config"]))
    except (KeyError, ValueError, RecursionError, ConfigError) as error:
        raise ModelError(f"{path}: not a training checkpoint ({error})") from error


def load_weights(path: Path, config: ModelConfig, model: CodecModel) -> dict[str, str]:
    """Load a checkpoint's averaged weights alone into a model. Returns the checkpoint's metadata."""
    metadata, tensors = _read(path, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"ema.{name}"])
        _load_buffers(model, tensors)
    model.quantizer.refresh()
    return metadata


def _load_buffers(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """What a learned quantizer keeps beside parameters."""
    for name, value in model.state_dict().items():
        if f"ema.{name}" not in tensors:
            value.copy_(tensors[f"model.{name}"])


def _read(path: Path, config: ModelConfig) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a training checkpoint ({error})") from error
    if (saved := config_of(path, metadata)) != config:
        theirs, ours = asdict(saved), asdict(config)
        differing = next(key for key in ours if ours[key] != theirs[key])
        raise ModelError(f"{path}: another architecture ({differing} is {theirs[differing]}, not {ours[differing]})")
    return metadata, tensors
