"""Training photographs: every image decoded once, held in memory as uint8, cropped from there.

Sources are folders and tar files of images. A crop's position, flip and turn come from one torch generator whose
state is part of the checkpoint, so that a resumed run sees what the uninterrupted one would have seen.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from leechcodec.errors import ConfigError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".ppm", ".bmp", ".tif", ".tiff"}


def _read_sources(sources: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for source in map(Path, sources):
        if source.is_dir():
            for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
                yield path.name, path.read_bytes()
        elif source.suffix == ".tar" and source.is_file():
            with tarfile.open(source) as archive:
                for member in archive:
                    if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                        yield Path(member.name).name, archive.extractfile(member).read()
        else:
            raise ConfigError(f"{source}: neither a folder nor a .tar file of images")


def is_validation(name: str, share: float) -> bool:
    """Whether an image belongs to the validation split: by a hash of its name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") < share * 2**32


def load_images(
    sources: Iterable[Path], *, validation_share: float, exclude: Iterable[str] = (), threads: int = 1
) -> tuple[list[Tensor], list[Tensor]]:
    """Decode all images. Returns (training, validation) lists of uint8 tensors (3, H, W).

    exclude: file names to leave out. Raises ConfigError where a source is missing or nothing is left to train on.
    """
    exclude = set(exclude)

    def decode(item: tuple[str, bytes]) -> tuple[str, Tensor]:
        name, data = item
        array = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        return name, torch.from_numpy(array).permute(2, 0, 1).contiguous()

    training, validation = [], []
    with ThreadPoolExecutor(threads) as pool:
        items = (item for item in _read_sources(sources) if item[0] not in exclude)
        for name, image in pool.map(decode, items):
            (validation if is_validation(name, validation_share) else training).append(image)
    if not training:
        raise ConfigError("no training images found")
    return training, validation


class Cropper:
    """Random crops of a list of images, each image in proportion to its pixels, on the images' device."""

    def __init__(self, images: list[Tensor], generator: torch.Generator) -> None:
        self.images = images
        self.generator = generator
        areas = torch.tensor([float(image.shape[1] * image.shape[2]) for image in images])
        self.cumulative = torch.cumsum(areas / areas.sum(), 0)

    def __call__(self, count: int, size: int) -> Tensor:
        """A batch of crops, uint8 (count, 3, size, size); small images are padded with their last rows and columns."""
        draws = torch.rand(count, 5, generator=self.generator)
        picks = torch.searchsorted(self.cumulative, draws[:, 0].contiguous()).clamp(max=len(self.images) - 1)
        return torch.stack([self._crop(self.images[i], size, draw) for i, draw in zip(picks.tolist(), draws.tolist())])

    @staticmethod
    def _crop(image: Tensor, size: int, draw: list[float]) -> Tensor:
        _, height, width = image.shape
        if height < size or width < size:
            pad = (0, max(0, size - width), 0, max(0, size - height))
            image = torch.nn.functional.pad(image[None].float(), pad, mode="replicate")[0].to(torch.uint8)
            _, height, width = image.shape
        top, left = int(draw[1] * (height - size + 1)), int(draw[2] * (width - size + 1))
        crop = image[:, top : top + size, left : left + size]
        if draw[3] < 0.5:
            crop = crop.flip(2)
        if draw[4] < 0.25:
            crop = crop.transpose(1, 2)
        return crop
