"""A run's weights as a released model: a folder with config.json and weights.safetensors. Its card is hand-written."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from leechcodec.codec.model_store import LoadedModel, load_model, save_model
from leechcodec.config import ModelConfig
from leechcodec.errors import ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.training.state import load_weights

FILES = ("config.json", "weights.safetensors")
"""Of a model's folder, beside card.md."""


@dataclass(frozen=True)
class Release:
    """What was released.

    step, seconds: how long the run had trained; None for a second decoder, whose folder does not say.
    size: bytes of the weights.
    """

    model: LoadedModel
    step: int | None
    seconds: float | None
    size: int


def release(run: Path, folder: Path) -> Release:
    """Write the model of a run, its averaged weights, and load it as a user would.

    run: the folder that `leechcodec train --out` names, or a checkpoint in it. Of a second decoder's run, the folder:
        the model that it left is copied.
    folder: of the model; made where it does not exist. What else lies in it stays.
    Raises ModelError where there is no checkpoint, or the model is not exact.
    """
    step = seconds = None
    if _is_second_decoder(run / "model"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(run / "model" / name, folder / name)
    else:
        metadata = release_checkpoint(run / "checkpoint.safetensors" if run.is_dir() else run, folder)
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
    return Release(load_model(folder), step, seconds, (folder / "weights.safetensors").stat().st_size)


def release_checkpoint(checkpoint: Path, folder: Path) -> dict[str, str]:
    """Write the model of a checkpoint. Returns the checkpoint's metadata."""
    try:
        with safe_open(checkpoint, "pt") as file:
            config = ModelConfig.from_dict(json.loads((file.metadata() or {})["config"]))
    except (OSError, KeyError, SafetensorError) as error:
        raise ModelError(f"{checkpoint}: not a training checkpoint ({error})") from error
    model = CodecModel(config)
    try:
        metadata = load_weights(checkpoint, config, model)
    except KeyError as error:
        raise ModelError(f"{checkpoint}: not a whole model's ({error} is missing); name the run's folder") from error
    save_model(folder, model)
    return metadata


def _is_second_decoder(folder: Path) -> bool:
    try:
        return "base" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
