"""This codec with its released model, at higher efforts, and with any other model that is installed."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import leechcodec
from leechcodec import __version__
from leechcodec.codec import api
from leechcodec.codec.model_store import DEFAULT_MODEL, LoadedModel, load_model
from leechcodec.codec.paths import models_dir
from leechcodec.errors import LqError
from leechcodec.formats.packages import require
from leechcodec.lab.peers.base import BSQ, EFFORT, PAIR, Peer, Setting
from leechcodec.networks.devices import place
from leechcodec.networks.torch_transforms import TorchTransforms

_PACKAGE = Path(str(leechcodec.__file__)).parent
_CODE = ("codec", "detail", "entropy", "lattice", "networks", "quantizers")
"""Packages on which files and pixels depend."""


@cache
def _code() -> str:
    """A digest of their sources."""
    digest = hashlib.sha256()
    for package in _CODE:
        for path in sorted((_PACKAGE / package).glob("*.py")):
            digest.update(f"{package}/{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


class Neural(Peer):
    """leechcodec with one model."""

    extension = ".lq"
    description = "leechcodec, real .lq files"
    values = (1, 12, 25, 40, 55, 70, 85, 92)
    limits = (1, 100)
    whole = False

    @property
    def source(self) -> str | None:
        """The model's name or folder, None for the default one."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        model = Path(self.source or DEFAULT_MODEL).name
        return f"{PAIR[model]} ({model})" if model in PAIR else f"leechcodec {model}"

    def available(self) -> str | None:
        try:
            self._loaded()
        except LqError as error:
            return str(error)
        return None

    def prepare(self) -> None:
        grey = Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8))
        for value in self.limits:  # both ends of the dial compile every kernel
            self.decode(self.encode(grey, self.setting(value)))

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        return api.compress(image, quality=setting.value, model=self.source)

    def decode(self, data: bytes) -> Image.Image:
        return api.decompress(data, model=self.source).convert("RGB")

    def versions(self) -> dict[str, str]:
        """With what computes the transforms: pixels differ by a level here and there from one runtime to another.

        And with a digest of the code that makes files: neither the weights nor a release's number tell of a change.
        """
        shared = {"leechcodec": __version__, "code": _code(), "torch": torch.__version__, "numpy": np.__version__}
        if (where := place()[1]) != "cpu":
            shared["device"] = where
        if isinstance(self._loaded().transforms, TorchTransforms):
            return shared | {"runtime": f"torch {torch.__version__}"}
        return shared | {"runtime": f"onnxruntime {require('onnxruntime').__version__}"}

    def model(self) -> dict:
        loaded = self._loaded()
        given = Path(self.source) if self.source else None
        folder = given if given and given.is_dir() else models_dir() / (self.source or DEFAULT_MODEL)
        return {
            "name": loaded.name,
            "source": self.source,
            "token_model": loaded.token_model.hex(),
            "synthesis": loaded.synthesis.hex(),
            "weights_sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
            "config": asdict(loaded.config),
        }

    def _loaded(self) -> LoadedModel:
        return load_model(self.source)


class Leech(Neural):
    """The released model, or the one given by name or folder."""

    key = "leech"

    @property
    def source(self) -> str | None:
        return self.options.model


@dataclass(frozen=True)
class LeechEffort(Leech):
    """The same, with tokens refined at encoding: what an effort buys, and what it costs."""

    effort: str = "2"
    """2 to 9, as the key has it."""

    @property
    def key(self) -> str:
        return f"{EFFORT}{self.effort}"

    @property
    def name(self) -> str:
        return f"{super().name}, effort {self.effort}"

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        return api.compress(image, quality=setting.value, model=self.source, effort=int(self.effort))


TOKENS_ALONE = Neural.values[:-1]
"""The dial of models that are compared for their tokens: the layer above 90 is the same for all."""


class Bsq(Neural):
    """The second model of the pair trained alike, or the one given by name or folder."""

    key = "bsq"
    values = TOKENS_ALONE

    @property
    def source(self) -> str:
        return self.options.bsq_model or BSQ


@dataclass(frozen=True)
class Installed(Neural):
    """An installed model by its name, which is the key."""

    key: str = BSQ
    values = TOKENS_ALONE

    @property
    def source(self) -> str:
        return self.key
