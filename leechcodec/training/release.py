"""A run's weights as a released model: a folder with config.json and weights.safetensors. Its card is hand-written."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from leechcodec.codec.canvas import padded_pixels
from leechcodec.codec.model_store import FILES, LoadedModel, is_second_decoder, load_model, save_model
from leechcodec.codec.pipeline import analyse, synthesise
from leechcodec.codec.weight_storage import TENSORS
from leechcodec.config import MAX_QUALITY
from leechcodec.errors import ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.quantizers.code import code_of
from leechcodec.training.run import CHECKPOINT, MODEL
from leechcodec.training.state import config_of, load_weights


@dataclass(frozen=True)
class Release:
    """What was released.

    step, seconds: how long the run had trained; None where the model that it left is copied, which does not say.
    size: bytes of the weights.
    apart: of :func:`levels_apart`.
    """

    model: LoadedModel
    step: int | None
    seconds: float | None
    size: int
    apart: int | None


def release(run: Path, folder: Path, units: Mapping[str, float] | None = None) -> Release:
    """Write the model of a run, its averaged weights, and load it as a user would.

    run: the folder that `leechcodec train --out` names, or a checkpoint in it. Of a prior's or a second decoder's run,
        the folder: the model that it left is copied.
    folder: of the model; made where it does not exist. What else lies in it stays, and what was released there until
        the new model has proved itself.
    units: to keep matrices in levels (codec/weight_storage.py), by the part of the model; None: nothing is lost.
    Raises ModelError where there is no checkpoint, the model is not exact, or ONNX Runtime decodes another picture.
    """
    step = seconds = None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        tried = Path(temporary)
        if _left_its_model(run):
            if units is not None:
                raise ModelError(f"{run}: the model that it left is copied as it is; levels are of a checkpoint")
            for name in FILES:
                shutil.copyfile(run / MODEL / name, tried / name)
        else:
            metadata = release_checkpoint(run / CHECKPOINT if run.is_dir() else run, tried, units)
            step, seconds = int(metadata["step"]), float(metadata["seconds"])
        apart = levels_apart(tried)
        if apart is not None and apart > 1:
            raise ModelError(f"{run}: torch and ONNX Runtime decode to pictures {apart} levels apart")
        folder.mkdir(exist_ok=True)
        for name in FILES:
            os.replace(tried / name, folder / name)
    return Release(load_model(folder), step, seconds, (folder / "weights.safetensors").stat().st_size, apart)


def levels_apart(folder: Path) -> int | None:
    """How far the pixels that torch and ONNX Runtime decode are apart at most, of 0..255.

    Of a generated picture at the end of the dial. None where ONNX Runtime is not installed, or does not know the
    model's quantizer.
    """
    in_torch = load_model(folder, "torch")
    if not find_spec("onnxruntime") or code_of(in_torch.config.quantizer) is None:
        return None
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    image = Image.fromarray(colours).resize((256, 192), Image.Resampling.BICUBIC)
    tokens = analyse(in_torch, padded_pixels(image), (192, 256), quality=float(MAX_QUALITY))
    pictures = (synthesise(loaded, tokens) for loaded in (in_torch, load_model(folder, "onnx")))
    a, b = (np.asarray(picture, dtype=int) for picture in pictures)
    return int(np.abs(a - b).max())


def release_checkpoint(checkpoint: Path, folder: Path, units: Mapping[str, float] | None = None) -> dict[str, str]:
    """Write the model of a checkpoint. units: as for :func:`release`. Returns the checkpoint's metadata."""
    try:
        with safe_open(checkpoint, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{checkpoint}: not a training checkpoint ({error})") from error
    config = config_of(checkpoint, metadata)
    if TENSORS in metadata:
        raise ModelError(f"{checkpoint}: packed weights, with which a run goes on (--init): they are no release's")
    model = CodecModel(config)
    try:
        metadata = load_weights(checkpoint, config, model)
    except KeyError as error:
        where = "name the run's folder, where the run leaves its model at its end"
        raise ModelError(f"{checkpoint}: not a whole model's ({error} is missing); {where}") from error
    save_model(folder, model, units)
    return metadata


def _left_its_model(run: Path) -> bool:
    """Whether a run of a prior or of a second decoder, whose checkpoint has a part of a model alone, is done."""
    if is_second_decoder(run / MODEL):
        return True
    return all((run / MODEL / name).is_file() for name in FILES) and not _is_whole(run / CHECKPOINT)


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has more of a model than its prior. What cannot be read counts as one: others say why."""
    try:
        with safe_open(checkpoint, "pt") as file:
            return any(name.startswith("ema.analysis.") for name in file.keys())  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError):
        return True
