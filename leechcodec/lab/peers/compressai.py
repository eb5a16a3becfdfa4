"""Models of the CompressAI zoo, trained for MSE, where the package and their weights can be had.

The weights are files as CompressAI publishes them, …-7eb97409.pth.tar, in a folder that is given or in torch's own.

A file is a header (magic, quality, image size, latent size) and the model's strings, each after its length.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from leechcodec.errors import CorruptError, MissingPackageError, NotLqError
from leechcodec.formats.packages import require
from leechcodec.lab.peers.base import COMPRESSAI, Peer, Setting

ARCHITECTURES = {
    "bmshj2018-factorized": 8,
    "bmshj2018-hyperprior": 8,
    "mbt2018-mean": 8,
    "mbt2018": 8,
    "cheng2020-anchor": 6,
    "cheng2020-attn": 6,
}
"""Architecture -> its number of qualities, one set of weights each."""
ALIGNMENT = 64
"""Pixels: the total stride of the deepest of them."""
_HEADER = struct.Struct("<4sBIIHHB")
_MAGIC = b"CAI1"


@dataclass(frozen=True)
class CompressAi(Peer):
    """One architecture; its dial is the zoo's quality, 1..8 or 1..6."""

    architecture: str = "bmshj2018-hyperprior"
    extension = ".cai"

    @property
    def key(self) -> str:
        return f"{COMPRESSAI}{self.architecture}"

    @property
    def name(self) -> str:
        return f"{self.architecture} (CompressAI)"

    @property
    def description(self) -> str:
        return f"{self.architecture} of the CompressAI zoo, trained for MSE, through files with a header of its own"

    @property
    def limits(self) -> tuple[float, float]:
        return (1, ARCHITECTURES.get(self.architecture, 1))

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(range(1, int(self.limits[1]) + 1))

    def available(self) -> str | None:
        if self.architecture not in ARCHITECTURES:
            return f"the architectures are {', '.join(ARCHITECTURES)}"
        try:
            urls = [_url(self.architecture, int(value)) for value in self.values]
        except MissingPackageError as error:
            return str(error)
        folder, given = self._folder(), self.options.compressai_weights is not None
        missing = [url for url in urls if not (folder / _name(url)).is_file()]
        if missing and (given or not self.options.download):
            return f"{len(missing)} of its {len(urls)} weights are not in {folder}, {_name(missing[0])} the first"
        try:
            for url in missing:
                folder.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(url, str(folder / _name(url)), _digest(url), progress=False)
        except (OSError, RuntimeError) as error:
            where = "into a folder and give it by --compressai-weights"
            return f"no weights ({str(error).splitlines()[0]}); put {urls[0]} … {where}"
        for url in urls if given else ():
            if not _sha256(folder / _name(url)).startswith(_digest(url)):
                return f"{folder / _name(url)} is not the file it should be: its SHA-256 does not begin with its name's"
        return None

    def prepare(self) -> None:
        for value in self.values:
            self._network(int(value))

    @torch.inference_mode()
    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        height, width = pixels.shape[2:]
        padding = (0, -width % ALIGNMENT, 0, -height % ALIGNMENT)
        out = self._network(int(setting.value)).compress(F.pad(pixels, padding, mode="replicate"))
        strings = [string[0] for string in out["strings"]]
        return pack(int(setting.value), (width, height), tuple(out["shape"]), strings)

    @torch.inference_mode()
    def decode(self, data: bytes) -> Image.Image:
        quality, (width, height), shape, strings = unpack(data)
        x_hat = self._network(quality).decompress([[string] for string in strings], shape)["x_hat"]
        levels = (x_hat[0, :, :height, :width].clamp(0, 1) * 255).round().to(torch.uint8)
        return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())

    def versions(self) -> dict[str, str]:
        return {"compressai": metadata.version("compressai"), "torch": torch.__version__}

    def model(self) -> dict:
        files = [_name(_url(self.architecture, int(value))) for value in self.values]
        return {"name": self.architecture, "source": self.options.compressai_weights, "weights": files}

    def _folder(self) -> Path:
        given = self.options.compressai_weights
        return Path(given) if given is not None else Path(torch.hub.get_dir()) / "checkpoints"

    def _network(self, quality: int) -> Any:
        return network(self.architecture, quality, self._folder())


@lru_cache(maxsize=8)
def network(architecture: str, quality: int, folder: Path) -> nn.Module:
    """A model of the zoo ready to code, its weights from a folder, read without unpickling objects."""
    zoo = require("compressai.zoo.image", "compressai")
    path = folder / _name(_url(architecture, quality))
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = zoo.model_architectures[architecture].from_state_dict(zoo.load_pretrained(state)).eval()
    model.update()
    return model


def _url(architecture: str, quality: int) -> str:
    return require("compressai.zoo.image", "compressai").model_urls[architecture]["mse"][quality]


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(url: str) -> str:
    """The first eight hex digits of the file's SHA-256, which end its name: …-7eb97409.pth.tar."""
    return _name(url).removesuffix(".pth.tar").rpartition("-")[2]


def pack(quality: int, size: tuple[int, int], shape: tuple[int, int], strings: list[bytes]) -> bytes:
    """The bytes of a file. size: width, height. shape: of the latent that the strings start from."""
    lengths = struct.pack(f"<{len(strings)}I", *map(len, strings))
    return b"".join([_HEADER.pack(_MAGIC, quality, *size, *shape, len(strings)), lengths, *strings])


def unpack(data: bytes) -> tuple[int, tuple[int, int], tuple[int, int], list[bytes]]:
    """The inverse of pack. Raises NotLqError for other data, CorruptError for damaged."""
    if data[:4] != _MAGIC:
        raise NotLqError("not a file of a CompressAI model")
    if len(data) < _HEADER.size:
        raise CorruptError("the header is cut off")
    _, quality, width, height, rows, columns, count = _HEADER.unpack_from(data)
    start = _HEADER.size + 4 * count
    if len(data) < start:
        raise CorruptError("the lengths are cut off")
    lengths = struct.unpack_from(f"<{count}I", data, _HEADER.size)
    if start + sum(lengths) != len(data):
        raise CorruptError(f"{len(data)} bytes where the header says {start + sum(lengths)}")
    strings = []
    for length in lengths:
        strings.append(data[start : start + length])
        start += length
    return quality, (width, height), (rows, columns), strings
