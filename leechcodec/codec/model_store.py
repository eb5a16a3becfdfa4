"""Released models: a folder with config.json, weights.safetensors and card.md. Strict, hashed, no pickle.

A folder may also hold a second decoder alone: its config.json names the base model, its weights replace some of the
base's synthesis transform. It has the base's tokens, so either decodes the other's files.

The transforms are stored as float16, the prior as its canonical integers (weights int16, shifts int8, others int32), a
codebook that the quantizer's name does not fix as int8.
Two ids of eight bytes name a model in a file: the token model (all that fixes the tokens: the prior's integers, the
codebook and the stage layout) and the synthesis transform.
"""

# torch.from_numpy takes an array of no known type.
# pyright: reportUnknownMemberType=false

import copy
import dataclasses
import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.paths import installed_models, models_dir
from leechcodec.codec.surroundings import own_random_numbers, shelter
from leechcodec.config import ModelConfig
from leechcodec.errors import ModelError, UnknownModelError
from leechcodec.networks.integer_prior_weights import IntegerWeights, check_exact, float_weights, integer_weights
from leechcodec.networks.model import CodecModel

DEFAULT_MODEL = "leech-vbr"
_LOADING = threading.Lock()
"""Threads that want the same model wait for one of them to read it."""
LAYOUT_KEYS = ("quantizer", "stages", "passes", "gates", "min_quality", "prior_channels", "quality_knots")
"""The config's keys that fix the tokens, beside the prior's integers."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to code: evaluation mode, CPU, and its prior as integers."""

    name: str
    config: ModelConfig
    networks: CodecModel
    decoder: CodecModel
    """What makes the picture: the networks themselves, unless this is a second decoder for their tokens."""
    prior: IntegerWeights
    """Canonical integers of the prior."""
    token_model: bytes
    synthesis: bytes

    @property
    def is_second_decoder(self) -> bool:
        return self.decoder is not self.networks


def token_model_id(config: ModelConfig, integers: dict[str, np.ndarray]) -> bytes:
    """First 8 bytes of SHA-256 over the layout (canonical JSON) and integer tensors (names sorted, int32 LE).

    integers: of the prior, and of the quantizer where it has any, as "quantizer." and its name.
    """
    layout = {key: value for key, value in asdict(config).items() if key in LAYOUT_KEYS}
    if config.ramp:
        layout["ramp"] = config.ramp
    return _digest(json.dumps(layout, sort_keys=True, separators=(",", ":")), integers, "<i4")


def synthesis_id(config: ModelConfig, weights: dict[str, np.ndarray]) -> bytes:
    """First 8 bytes of SHA-256 over the synthesis transform's shape and its float16 tensors."""
    shape = {key: asdict(config)[key] for key in ("stages", "channels", "synthesis_blocks", "quality_knots")}
    if config.shortcuts:
        shape["shortcuts"] = True
    return _digest(json.dumps(shape, sort_keys=True, separators=(",", ":")), weights, "<f2")


def _digest(layout: str, tensors: dict[str, np.ndarray], dtype: str) -> bytes:
    digest = hashlib.sha256(layout.encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {list(tensors[name].shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).astype(dtype).tobytes())
    return digest.digest()[:8]


def save_model(folder: Path, model: CodecModel) -> None:
    """Write config.json and weights.safetensors of a model into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    for name, value in model.state_dict().items():
        if not name.startswith(("prior.", "quantizer.")):
            half = value.detach().to(torch.float16).cpu()
            if not torch.isfinite(half).all():
                raise ModelError(f"weight {name} does not fit float16")
            tensors[name] = half.contiguous().numpy()
    integers = integer_weights(model.prior)
    check_exact(integers)
    tensors |= {f"prior.{name}": value for name, value in integers.items()}
    tensors |= {f"quantizer.{name}": value for name, value in model.quantizer.frozen().items()}
    (folder / "config.json").write_text(model.config.to_json() + "\n")
    save_file(tensors, folder / "weights.safetensors")
    (folder / "weights.safetensors").chmod(0o644)  # the writer makes it private to its user


def save_decoder(folder: Path, base: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a second decoder of a model: names and values of the synthesis parameters that differ from the base's."""
    loaded = load_model(base)
    folder.mkdir(parents=True, exist_ok=True)
    halves = {f"synthesis.{name}": value.detach().to(torch.float16).cpu() for name, value in tensors.items()}
    if bad := next((name for name, half in halves.items() if not torch.isfinite(half).all()), None):
        raise ModelError(f"weight {bad} does not fit float16")
    config = {"base": loaded.name, "token_model": loaded.token_model.hex()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({name: half.contiguous().numpy() for name, half in halves.items()}, folder / "weights.safetensors")
    (folder / "weights.safetensors").chmod(0o644)


def load_model(model: str | Path | None = None) -> LoadedModel:
    """Load a model by name, by folder, or the default one; cached, so that each folder is read once.

    Any number of threads may call it, and code with what it returns: nothing writes to a loaded model. Raises
    ModelError where a folder is missing, incomplete, damaged, or not exact.
    """
    check_arguments(model=model)
    folder = model_folder(model)
    with _LOADING, shelter(), own_random_numbers(), torch.inference_mode(False):  # the same tensors, whoever asks first
        return _load(folder.resolve())


def model_folder(model: str | Path | None = None) -> Path:
    """Where a model lies, or would: a folder itself, or that of an installed model's name."""
    return Path(model) if model is not None and Path(model).is_dir() else models_dir() / str(model or DEFAULT_MODEL)


def model_for_file(token_model: bytes, model: str | Path | None = None, synthesis: bytes | None = None) -> LoadedModel:
    """The model that decodes a file: the given one, or the installed one with this token model id.

    synthesis: id of the synthesis transform to take where several go with these tokens; without it, or where it is not
    installed, the model that they were made for and not a second decoder. Raises UnknownModelError where there is none.
    """
    candidates = [model] if model is not None else sorted(installed_models(), key=lambda name: name != DEFAULT_MODEL)
    fitting: list[LoadedModel] = []
    for candidate in candidates:
        loaded = load_model(candidate)
        if loaded.token_model == token_model:
            if loaded.synthesis == synthesis or (synthesis is None and not loaded.is_second_decoder):
                return loaded
            fitting.append(loaded)
    if fitting:
        return min(fitting, key=lambda loaded: loaded.is_second_decoder)
    where = f"the model {model}" if model is not None else "any installed model"
    raise UnknownModelError(f"the file needs token model {token_model.hex()}, which is not {where}")


@lru_cache(maxsize=4)
def _load(folder: Path) -> LoadedModel:
    if not folder.is_dir():
        raise ModelError(f"no model {folder.name!r}; installed: {', '.join(installed_models()) or 'none'}")
    try:
        values = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "weights.safetensors")
    except FileNotFoundError:
        missing = "config.json" if not (folder / "config.json").is_file() else "weights.safetensors"
        raise ModelError(f"{folder}: not a model (no {missing})") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: {error}") from error
    if isinstance(values, dict) and "base" in values:
        return _load_decoder(folder, cast("dict[str, Any]", values), tensors)
    config = ModelConfig.load(folder / "config.json")
    networks = CodecModel(config)
    integers = {n.removeprefix("prior."): t for n, t in tensors.items() if n.startswith("prior.")}
    check_exact(integers)
    codebook = {n.removeprefix("quantizer."): t for n, t in tensors.items() if n.startswith("quantizer.")}
    networks.quantizer.load_frozen(codebook)
    halves = {n: t for n, t in tensors.items() if not n.startswith(("prior.", "quantizer."))}
    state = {n: torch.from_numpy(t.astype(np.float32)) for n, t in halves.items()}
    state |= {f"quantizer.{name}": value for name, value in networks.quantizer.state_dict().items()}
    state |= {f"prior.{name}": torch.from_numpy(value) for name, value in float_weights(integers).items()}
    try:
        networks.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(f"{folder}: weights do not fit the config ({str(error).splitlines()[0]})") from error
    networks.eval().requires_grad_(False)
    synthesis = {n: t for n, t in tensors.items() if n.startswith("synthesis.")}
    return LoadedModel(
        name=folder.name,
        config=config,
        networks=networks,
        decoder=networks,
        prior=IntegerWeights(integers),
        token_model=token_model_id(config, integers | {f"quantizer.{name}": t for name, t in codebook.items()}),
        synthesis=synthesis_id(config, synthesis),
    )


def _load_decoder(folder: Path, values: dict[str, Any], tensors: dict[str, np.ndarray]) -> LoadedModel:
    """A second decoder: the base model with some of its synthesis transform's parameters replaced."""
    name = Path(str(values["base"])).name
    base = _load(folder.parent / name if (folder.parent / name).is_dir() else models_dir() / name)
    if values.get("token_model") != base.token_model.hex():
        raise ModelError(f"{folder}: made for token model {values.get('token_model')}, not that of {name}")
    decoder = copy.deepcopy(base.networks)
    parameters = {f"synthesis.{key}": value for key, value in decoder.synthesis.named_parameters()}
    with torch.no_grad():
        for key, value in tensors.items():
            if key not in parameters or parameters[key].shape != value.shape:
                raise ModelError(f"{folder}: {key} is no parameter of {name}'s synthesis transform")
            parameters[key].copy_(torch.from_numpy(value.astype(np.float32)))
    halves = {key: value.half().numpy() for key, value in parameters.items()}
    synthesis = synthesis_id(base.config, halves)
    return dataclasses.replace(base, name=folder.name, decoder=decoder, synthesis=synthesis)
