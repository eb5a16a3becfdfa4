"""Released models: a folder with config.json, weights.safetensors and card.md. Strict, hashed, no pickle.

A folder may also hold a second decoder alone: its config.json names the base model, its weights replace some of the
base's synthesis transform. It has the base's tokens, so either decodes the other's files.

The transforms are stored as float16, the prior as its canonical integers (weights int16, shifts int8, others int32), a
codebook that the quantizer's name does not fix as int8; the large ones as weight_storage.py has it.
Two ids of eight bytes name a model in a file: the token model (all that fixes the tokens: the prior's integers, the
codebook and the stage layout) and the synthesis transform.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from safetensors import SafetensorError

from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.paths import installed_models, models_dir
from leechcodec.codec.surroundings import shelter
from leechcodec.codec.weight_storage import read_about, read_weights, restored, stored, write_weights
from leechcodec.concurrency import Lock
from leechcodec.config import ModelConfig
from leechcodec.errors import (
    TORCH_COMMAND,
    ConfigError,
    LqError,
    MissingPackageError,
    ModelError,
    UnknownModelError,
)
from leechcodec.networks.devices import place
from leechcodec.networks.integer_prior_weights import IntegerWeights, check_exact, integer_weights
from leechcodec.networks.runtime import Transforms, check_torch, has_torch
from leechcodec.networks.shapes import check_weights
from leechcodec.quantizers.code import TokenCode, code_of
from leechcodec.threads import load_torch

if TYPE_CHECKING:
    from torch import Tensor

    from leechcodec.networks.model import CodecModel

DEFAULT_MODEL = "leech-open"
FILES = ("config.json", "weights.safetensors")
"""Of a model's folder, beside card.md."""
TOKEN_MODEL = "token_model"
"""Where a second decoder's config.json, and the metadata of other models' weights, say which it is: who looks for one
need not load the others."""
ROOM = 1 / 16
"""Of the range of the prior's sums, for weights that levels make larger."""
_LOADING = Lock()
"""Threads that want the same model wait for one of them to read it."""
LAYOUT_KEYS = ("quantizer", "stages", "passes", "gates", "min_quality", "prior_channels", "quality_knots")
"""The config's keys that fix the tokens, beside the prior's integers."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to code: its prior as integers, its transforms as a runtime computes them."""

    name: str
    config: ModelConfig
    code: TokenCode
    """What the coder and files know of the quantizer."""
    prior: IntegerWeights
    """Canonical integers of the prior."""
    transforms: Transforms
    decoder: Transforms
    """What makes the picture: the transforms themselves, unless this is a second decoder for their tokens."""
    tensors: Mapping[str, np.ndarray]
    """Of weights.safetensors; of the base's, where this is a second decoder."""
    token_model: bytes
    synthesis: bytes

    @property
    def is_second_decoder(self) -> bool:
        return self.decoder is not self.transforms

    @property
    def parameters(self) -> int:
        """How many numbers the networks have."""
        return sum(
            t.size for n, t in self.tensors.items() if not n.startswith("quantizer.") and not n.endswith(".shift")
        )

    @property
    def networks(self) -> "CodecModel":
        """torch's networks, of the base where this is a second decoder: evaluation mode, CPU, no gradients.

        Made when first asked for, where the transforms are computed by another runtime or elsewhere. Raises
        MissingPackageError without torch.
        """
        check_torch("what computes gradients or measures networks")
        load_torch()
        from leechcodec.networks.torch_transforms import TorchTransforms

        own = isinstance(self.transforms, TorchTransforms) and self.transforms.device == "cpu"
        return self.networks_there if own else self._networks

    @property
    def networks_there(self) -> "CodecModel":
        """:attr:`networks` on the device of the transforms, where torch computes these."""
        check_torch("what computes gradients or measures networks")
        load_torch()
        from leechcodec.networks.torch_transforms import TorchTransforms

        return self.transforms.model if isinstance(self.transforms, TorchTransforms) else self._networks

    @cached_property
    def _networks(self) -> "CodecModel":
        from leechcodec.networks.torch_transforms import torch_model

        with shelter():
            return torch_model(self.config, self.tensors)


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


def save_model(folder: Path, model: "CodecModel", units: Mapping[str, float] | None = None) -> None:
    """Write config.json and weights.safetensors of a model into a folder.

    units: to keep matrices in levels (weight_storage.py), by the part of the model; None: nothing is lost.
    Raises ModelError where a weight does not fit, or the prior is not exact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    for name, value in model.state_dict().items():
        if not name.startswith(("prior.", "quantizer.")):
            tensors[name] = _half(name, value)
    integers = integer_weights(model.prior, room=0.0 if units is None else ROOM)
    tensors |= {f"prior.{name}": value for name, value in integers.items()}
    tensors |= {f"quantizer.{name}": value for name, value in model.quantizer.frozen().items()}
    kept, metadata = stored(tensors, units)
    whole = restored(kept, metadata)
    check_exact(_integers(whole))
    token_model = token_model_id(model.config, _fixing_tokens(whole)).hex()
    (folder / "config.json").write_text(model.config.to_json() + "\n")
    write_weights(folder / "weights.safetensors", kept, {**metadata, TOKEN_MODEL: token_model})


def save_decoder(folder: Path, base: str | Path, tensors: "dict[str, Tensor]", units: float | None = None) -> None:
    """Write a second decoder of a model: names and values of the synthesis parameters that differ from the base's.

    units: to keep matrices in levels, so many in a row's root mean square (weight_storage.py); None: nothing of 16 bits
        is lost. Raises ModelError for a base that is a second decoder itself.
    """
    loaded = load_model(base)
    if loaded.is_second_decoder:
        raise ModelError(f"{base}: a second decoder itself")
    folder.mkdir(parents=True, exist_ok=True)
    halves = {f"synthesis.{name}": _half(f"synthesis.{name}", value) for name, value in tensors.items()}
    config = {"base": loaded.name, TOKEN_MODEL: loaded.token_model.hex()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_weights(folder / "weights.safetensors", *stored(halves, None if units is None else {"synthesis": units}))


def _half(name: str, value: "Tensor") -> np.ndarray:
    """A weight in float16. Raises ModelError where it does not fit."""
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(value.detach().cpu().numpy().astype(np.float16))
    if not np.isfinite(half).all():
        raise ModelError(f"weight {name} does not fit float16")
    return half


def load_model(model: str | Path | None = None, how: str | None = None, device: str | None = None) -> LoadedModel:
    """Load a model by name, by folder, or the default one; cached: a folder is read once a runtime and device, until it
    is written anew.

    how: the runtime, "torch" or "onnx"; None for the one in use (:func:`leechcodec.networks.runtime.use_runtime`), and
        where none was named ONNX Runtime, or torch for quantizers and devices that it has not.
    device: None for the one in use (:func:`leechcodec.networks.devices.use_device`).

    Any number of threads may call it, and code with what it returns: nothing writes to a loaded model. Raises
    ModelError where a folder is missing, incomplete, damaged, or not exact; MissingPackageError where the runtime, or a
    quantizer that no released model has, needs a package that is not installed; ConfigError for a device that is not
    there.
    """
    check_arguments(model=model, device=device)
    folder = model_folder(model)
    with _LOADING.held(), shelter():  # the same tensors, whoever asks first
        return _load(folder, _stamp(folder), *place(device, how))


def model_folder(model: str | Path | None = None) -> Path:
    """Where a model lies, or would, without links: a folder itself, or that of an installed model's name.

    Raises ModelError for what cannot be the name of a file.
    """
    try:
        found = (
            Path(model) if model is not None and Path(model).is_dir() else models_dir() / str(model or DEFAULT_MODEL)
        )
        return found.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero in it, links in a circle
        raise ModelError(f"no model {str(model)!r}: {getattr(error, 'strerror', None) or error}") from None


def model_for_file(
    token_model: bytes, model: str | Path | None = None, synthesis: bytes | None = None, device: str | None = None
) -> LoadedModel:
    """The model that decodes a file: the given one, or the installed one with this token model id.

    synthesis: id of the synthesis transform to take where several go with these tokens; without it, or where it is not
    installed, the model that they were made for and not a second decoder. Raises UnknownModelError where there is none.
    """
    candidates = [model] if model is not None else sorted(installed_models(), key=lambda name: name != DEFAULT_MODEL)
    fitting: list[LoadedModel] = []
    failures: list[LqError] = []
    failures_of_it: list[LqError] = []  # of what says it is the one
    for candidate in candidates:
        claimed = _claimed(model_folder(candidate)) if model is None else None
        if claimed not in (None, token_model.hex()):
            continue
        try:
            loaded = load_model(candidate, device=device)
        except (ModelError, MissingPackageError) as error:
            (failures if claimed is None else failures_of_it).append(error)
            continue
        if loaded.token_model == token_model:
            if loaded.synthesis == synthesis or (synthesis is None and not loaded.is_second_decoder):
                return loaded
            fitting.append(loaded)
    if fitting:
        return min(fitting, key=lambda loaded: loaded.is_second_decoder)
    if failures_of_it or (len(failures) == len(candidates) and failures):
        raise [*failures_of_it, *failures][0]
    where = f"the model {model}" if model is not None else "any installed model: give its folder as the model"
    others = "".join(f"; {failure}" for failure in failures)
    raise UnknownModelError(f"the file needs token model {token_model.hex()}, which is not {where}{others}")


def _claimed(folder: Path) -> str | None:
    """The token model that a folder says it has, in hexadecimal; None where it says none, or is damaged."""
    try:
        config, weights = (folder / name for name in FILES)
        about = json.loads(config.read_text()) if is_second_decoder(folder) else read_about(weights)
        return str(about[TOKEN_MODEL]) if TOKEN_MODEL in about else None
    except (OSError, ValueError, RecursionError, SafetensorError):
        return None  # what is wrong with it, loading says


def _stamp(folder: Path) -> tuple[tuple[int, ...], ...]:
    """What changes when a model, or the base of a second decoder, is written into its folder once more.

    Raises ModelError for a folder that may not be looked into.
    """
    try:
        own = _written(folder)
        base = _base_name(folder, own)
        return own if base is None else own + _written(_beside(folder, base))
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror or error}") from None


def _written(folder: Path) -> tuple[tuple[int, ...], ...]:
    """What changes when files of a folder are written once more."""
    found = (folder / name for name in FILES)
    return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in (path.stat() for path in found if path.is_file()))


@lru_cache(maxsize=16)
def _base_name(folder: Path, written: tuple[tuple[int, ...], ...]) -> str | None:
    """The base that a second decoder names, whose files are such; None of any other folder."""
    try:
        return Path(str(json.loads((folder / "config.json").read_text())["base"])).name
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None  # what is wrong with it, loading says


def _beside(folder: Path, name: str) -> Path:
    """Where a model lies that another one names, or would."""
    return folder.parent / name if (folder.parent / name).is_dir() else models_dir() / name


@lru_cache(maxsize=4)
def _load(folder: Path, stamp: tuple[tuple[int, ...], ...], how: str | None, device: str) -> LoadedModel:
    if not folder.is_dir():
        raise ModelError(f"no model {folder.name!r}; installed: {', '.join(installed_models()) or 'none'}")
    try:
        values = json.loads((folder / "config.json").read_text())
        tensors = read_weights(folder / "weights.safetensors")
    except FileNotFoundError:
        missing = "config.json" if not (folder / "config.json").is_file() else "weights.safetensors"
        raise ModelError(f"{folder}: not a model (no {missing})") from None
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ModelError(f"{folder}: {error}") from error
    except (AttributeError, LookupError, TypeError) as error:  # types of numbers that numpy has not
        raise ModelError(f"{folder}: weights.safetensors: {error}") from error
    if isinstance(values, dict) and "base" in values:
        return _load_decoder(folder, cast("dict[str, Any]", values), tensors, how, device)
    integers = _integers(tensors)
    try:
        config = ModelConfig.from_dict(cast(object, values))
        check_exact(integers)
    except (ConfigError, ModelError, RecursionError) as error:
        raise ModelError(f"{folder}: {error}") from error
    transforms = _transforms(folder, config, tensors, how, device)
    token_model = token_model_id(config, _fixing_tokens(tensors))
    if _claimed(folder) not in (None, token_model.hex()):
        raise ModelError(f"{folder}: weights.safetensors says that it is another token model than it is")
    synthesis = {n: t for n, t in tensors.items() if n.startswith("synthesis.")}
    return LoadedModel(
        name=folder.name,
        config=config,
        code=_code(config, transforms),
        prior=IntegerWeights(integers),
        transforms=transforms,
        decoder=transforms,
        tensors=tensors,
        token_model=token_model,
        synthesis=synthesis_id(config, synthesis),
    )


def _integers(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The prior's, by its own names."""
    return {name.removeprefix("prior."): value for name, value in tensors.items() if name.startswith("prior.")}


def _fixing_tokens(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a token model's id is made of: the prior's integers, and the quantizer's where it has any."""
    return _integers(tensors) | {name: value for name, value in tensors.items() if name.startswith("quantizer.")}


def _transforms(
    folder: Path, config: ModelConfig, tensors: Mapping[str, np.ndarray], how: str | None, device: str
) -> Transforms:
    """Transforms of a model's tensors, which must fit the config."""
    try:
        code = code_of(config.quantizer)
        if code is not None:
            check_weights(config, code, tensors)
        if how == "torch" or (how is None and code is None and has_torch()):
            load_torch()
            from leechcodec.networks.torch_transforms import TorchTransforms, torch_model

            return TorchTransforms(torch_model(config, tensors), device)
        from leechcodec.networks.onnx_transforms import OnnxTransforms

        if code is None:
            raise MissingPackageError(f"the quantizer {config.quantizer} needs the runtime torch: {TORCH_COMMAND}")
        return OnnxTransforms(config, code, tensors, device)
    except (ConfigError, ModelError) as error:
        raise ModelError(f"{folder}: {error}") from error


def _code(config: ModelConfig, transforms: Transforms) -> TokenCode:
    """The quantizer of the config's name; of torch's networks, where it has tensors of its own."""
    if (code := code_of(config.quantizer)) is not None:
        return code
    from leechcodec.networks.torch_transforms import TorchTransforms

    return cast(TorchTransforms, transforms).model.quantizer


def is_second_decoder(folder: Path) -> bool:
    """Whether a folder holds what :func:`save_decoder` writes."""
    return _base_name(folder, _written(folder)) is not None


def _load_decoder(
    folder: Path, values: dict[str, Any], tensors: dict[str, np.ndarray], how: str | None, device: str
) -> LoadedModel:
    """A second decoder: the base model with some of its synthesis transform's parameters replaced."""
    name = Path(str(values["base"])).name
    place = _beside(folder, name)
    if is_second_decoder(place):
        raise ModelError(f"{folder}: its base {name} is a second decoder itself")
    base = _load(place, _stamp(place), how, device)
    if values.get(TOKEN_MODEL) != base.token_model.hex():
        raise ModelError(f"{folder}: made for token model {values.get('token_model')}, not that of {name}")
    for key, value in tensors.items():
        if not key.startswith("synthesis.") or key not in base.tensors or base.tensors[key].shape != value.shape:
            raise ModelError(f"{folder}: {key} is no parameter of {name}'s synthesis transform")
    changed = {**base.tensors, **tensors}
    synthesis = synthesis_id(base.config, {key: t for key, t in changed.items() if key.startswith("synthesis.")})
    decoder = _transforms(folder, base.config, changed, how, device)
    return dataclasses.replace(base, name=folder.name, decoder=decoder, synthesis=synthesis)
