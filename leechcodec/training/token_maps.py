"""Token maps: pictures as a model's tokens, made once and kept.

    photographs, graphics ─▶ scale, window of up to 640 x 512 ─▶ g_a, quantize ─▶ token maps ─▶ maps.safetensors

What a prior learns from them does not change the tokens, so nothing else has to be computed again.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from leechcodec.config import STRIDES
from leechcodec.errors import ConfigError
from leechcodec.field_types import check_types
from leechcodec.networks.model import CodecModel
from leechcodec.training.data import check_scales
from leechcodec.training.graphics import draw_graphic
from leechcodec.training.settings import check_ranges

ALIGNMENT = STRIDES[0]
SMALLEST = 3 * ALIGNMENT
"""Pictures with a side below it have no inside at stride 64."""


@dataclass(frozen=True)
class MapSettings:
    """Which maps are made."""

    maps: int = 1200
    width: int = 640
    height: int = 512
    """Of a map's picture, at most, in pixels; a third of them are upright."""
    scales: tuple[float, float] = (0.45, 1.0)
    """At which a photograph is shown."""
    graphics: float = 0.12
    """Share of the maps that are of drawn pictures (graphics.py)."""
    low: float = 0.3
    """Share of the maps that are of the lower 40 % of the dial alone."""
    seed: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        if self.maps < 1:
            raise ConfigError(f"maps must be 1 or more, got {self.maps}")
        if min(self.width, self.height) < SMALLEST or self.width % ALIGNMENT or self.height % ALIGNMENT:
            raise ConfigError(f"width and height of a map must be multiples of {ALIGNMENT}, at least {SMALLEST}")
        check_ranges(self, shares=("graphics", "low"))
        check_scales(self.scales)


@dataclass(frozen=True)
class TokenMap:
    """A picture's tokens. quality: the dial. height, width: in pixels. codes: int8 (1, dim, h, w) a stage."""

    quality: float
    height: int
    width: int
    codes: list[Tensor]


@torch.no_grad()
def token_map(model: CodecModel, picture: Tensor, quality: float) -> TokenMap:
    """picture: uint8 (3, H, W), sides multiples of 64."""
    codes = [code.to(torch.int8).contiguous() for code in model.encode(picture[None], quality)]
    _, height, width = picture.shape
    return TokenMap(quality, height, width, codes)


def make_maps(model: CodecModel, images: Sequence[Tensor], settings: MapSettings) -> list[TokenMap]:
    """Token maps of photographs and drawn pictures, over the whole dial. images: uint8 (3, H, W)."""
    fitting = [image for image in images if holds_a_map(image)]
    if not fitting:
        raise ConfigError(f"no training image has sides of {SMALLEST} pixels or more")
    generator, maps = torch.Generator().manual_seed(settings.seed), []
    order = shuffled(len(fitting), generator)
    for _ in tqdm(range(settings.maps), desc="token maps", unit="map", disable=None):
        draw = torch.rand(8, generator=generator, dtype=torch.float64).tolist()
        quality = round(1 + 99 * draw[0] * (0.4 if draw[1] < settings.low else 1.0), 2)
        sides = (settings.height, settings.width) if draw[2] < 2 / 3 else (settings.width, settings.height)
        if draw[3] < settings.graphics:
            picture = draw_graphic(max(sides), int(draw[4] * 2**48))
        else:
            picture = _scaled(fitting[next(order)], settings.scales, draw[4])
        height, width = (min(side // ALIGNMENT * ALIGNMENT, most) for side, most in zip(picture.shape[1:], sides))
        top, left = int(draw[5] * (picture.shape[1] - height + 1)), int(draw[6] * (picture.shape[2] - width + 1))
        window = picture[:, top : top + height, left : left + width]
        maps.append(token_map(model, (window.flip(2) if draw[7] < 0.5 else window).contiguous(), quality))
    return maps


def holds_a_map(image: Tensor) -> bool:
    return min(image.shape[1:]) >= SMALLEST


def _scaled(image: Tensor, scales: tuple[float, float], draw: float) -> Tensor:
    """A photograph at a random scale that leaves both sides large enough."""
    least = SMALLEST / min(image.shape[1:])
    scale = max(scales[0] + (scales[1] - scales[0]) * draw, least)
    if scale >= 1:
        return image
    size = [max(SMALLEST, round(side * scale)) for side in image.shape[1:]]
    small = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
    return small[0].round_().to(torch.uint8)


def shuffled(count: int, generator: torch.Generator) -> Iterator[int]:
    """Numbers 0 to count - 1 in random order, again and again."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _digest(images: Sequence[Tensor]) -> str:
    """SHA-256 of the sizes and pixels of images, in hex."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{tuple(image.shape)}".encode())
        digest.update(image.cpu().numpy().tobytes())
    return digest.hexdigest()


def _weights(*networks: nn.Module) -> str:
    """SHA-256 of the weights that choose tokens, in hex: a token model's id is of the prior alone."""
    digest = hashlib.sha256()
    for network in networks:
        for name, value in sorted(network.state_dict().items()):
            digest.update(name.encode() + value.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def kept_maps(
    path: Path, settings: MapSettings, model: CodecModel, token_model: bytes, images: Sequence[Tensor]
) -> list[TokenMap]:
    """The maps in a file where it has those of this model, config and images, else new ones, kept there."""
    networks = _weights(model.analysis, model.synthesis)
    wanted = json.dumps(
        asdict(settings) | {"token_model": token_model.hex(), "networks": networks, "images": _digest(images)}
    )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("of") == wanted:
                return [
                    TokenMap(quality, height, width, [file.get_tensor(f"{i}.{stage}") for stage in range(stages)])
                    for i, (quality, height, width, stages) in enumerate(json.loads(metadata["maps"]))
                ]
    except (OSError, SafetensorError, KeyError):
        pass  # none yet, or half a file
    maps = make_maps(model, images, settings)
    rows = json.dumps([(item.quality, item.height, item.width, len(item.codes)) for item in maps])
    tensors = {
        f"{i}.{stage}": code.contiguous() for i, item in enumerate(maps) for stage, code in enumerate(item.codes)
    }
    save_file(tensors, path, {"of": wanted, "maps": rows})
    return maps
