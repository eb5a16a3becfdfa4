"""Training pictures: every image decoded once, held in memory as uint8, cropped from there.

    folders, tar files ─▶ sources of images ─▶ a source, an image, a scale, a window ─▶ crop
                                               graphics drawn on the fly (graphics.py) ─▶ crop

A photograph counts once whatever its size: large smooth ones would teach slowly if every pixel counted alike. Each crop
is taken at a random scale, so that one photograph shows its details in many sizes, and may be the busiest of several:
busy pictures are learned last. All draws come from one torch generator whose state is part of the checkpoint, so that a
resumed run sees what the uninterrupted one would have seen.
"""

import hashlib
import io
import tarfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.errors import ConfigError, LqError
from leechcodec.formats.images import load_image, to_array
from leechcodec.formats.side_data import as_coded
from leechcodec.formats.tars import whole
from leechcodec.training.graphics import draw_graphic

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".ppm", ".bmp", ".tif", ".tiff"}
UNSCALED = 0.25
"""Share of the crops that are taken as the image is."""


def image_files(folder: Path) -> list[Path]:
    """All images below a folder, by their names' endings, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _read_source(source: Path) -> Iterator[tuple[Path, bytes]]:
    """Where each image of a folder or archive lies, and its file."""
    if source.is_dir():
        for path in image_files(source):
            yield path, path.read_bytes()
    elif source.suffix == ".tar" and source.is_file():
        try:
            with tarfile.open(source) as archive:
                for member in whole(archive):
                    wanted = member.isfile() and Path(member.name).suffix.lower() in SUFFIXES
                    if wanted and (file := archive.extractfile(member)):
                        yield source / member.name, file.read()
        except tarfile.TarError as error:
            raise ConfigError(f"{source}: {error}") from None
    else:
        raise ConfigError(f"{source}: neither a folder nor a .tar file of images")


def decoded(item: tuple[Path, bytes]) -> tuple[str, Tensor]:
    """The name of an image and its pixels, uint8 (3, H, W), as the codec would be given them.

    Upright, 16 bits scaled to 8, transparency on white. Raises ConfigError, with the name, where it cannot be read.
    """
    path, data = item
    try:
        pixels = to_array(as_coded(load_image(io.BytesIO(data))))
    except LqError as error:
        raise ConfigError(f"{path}: {str(error).removeprefix('standard input: ')}") from None
    return path.name, torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def check_scales(scales: object) -> None:
    """Raises ConfigError for what are not the lowest and the highest scale of a photograph."""
    if not isinstance(scales, tuple) or len(scales) != 2 or not 0 < scales[0] <= scales[1] <= 1:
        raise ConfigError(f"scales must be two numbers above 0 and up to 1, the lower one first, got {scales}")


def is_validation(name: str, share: float) -> bool:
    """Whether an image belongs to the validation split: by a hash of its name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:4], "big") < share * 2**32


def load_images(
    sources: Iterable[Path], *, validation_share: float, exclude: Iterable[str] = (), threads: int = 1
) -> tuple[list[Tensor], list[Tensor]]:
    """Decode all images. Returns (training, validation) lists of uint8 tensors (3, H, W).

    exclude: file names to leave out. Raises ConfigError where a source is missing, an image cannot be read, or nothing
    is left to train on.
    """
    exclude = set(exclude)
    training, validation = [], []
    with ThreadPoolExecutor(threads) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of metadata, which nobody learns from
        items = (item for source in map(Path, sources) for item in _read_source(source) if item[0].name not in exclude)
        for name, image in pool.map(decoded, items):
            (validation if is_validation(name, validation_share) else training).append(image)
    if not training:
        raise ConfigError("no training images found")
    return training, validation


def _busiest(crops: Sequence[Tensor]) -> Tensor:
    """The crop of the largest mean absolute difference of neighbours. crops: uint8 (3, H, W)."""

    def busyness(crop: Tensor) -> float:
        values = crop.float()
        return (values.diff(dim=1).abs().mean() + values.diff(dim=2).abs().mean()).item()

    return crops[0] if len(crops) == 1 else max(crops, key=busyness)


class Cropper:
    """Random crops of a list of images, each image as often as any other, on the images' device.

    images: uint8 (3, H, W).
    generator: of all draws; its state is the place in the data.
    scales: lowest and highest scale of a photograph, above 0 and up to 1; a quarter of the crops are not scaled.
    graphics: share of the crops that are drawn instead (graphics.py), 0..1.
    choices: windows drawn for each crop of a photograph, of which the busiest is taken.
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        generator: torch.Generator,
        scales: tuple[float, float] = (1.0, 1.0),
        graphics: float = 0.0,
        choices: int = 1,
    ) -> None:
        self.images = images
        self.generator = generator
        self.scales = scales
        self.graphics = graphics
        self.choices = choices
        self.large_enough: dict[int, list[Tensor]] = {}

    def add(self, images: Iterable[Tensor]) -> None:
        """More of them, uint8 (3, H, W) each, from here on."""
        device = self.images[0].device
        self.images = [*self.images, *(image.to(device) for image in images)]
        self.large_enough.clear()

    def __call__(self, count: int, size: int) -> Tensor:
        """A batch of crops, uint8 (count, 3, size, size).

        Images with a side shorter than size are left out, unless there are no others: then they are padded with their
        last rows and columns.
        """
        draws = torch.rand(count, self.choices, 8, generator=self.generator, dtype=torch.float64).tolist()
        return torch.stack([self._chosen(size, choices) for choices in draws])

    def _chosen(self, size: int, draws: list[list[float]]) -> Tensor:
        """A drawn graphic, whatever it shows, or the busiest window."""
        if draws[0][6] < self.graphics:
            graphic = draw_graphic(size, int(draws[0][7] * 2**48)).to(self.images[0].device)
            return self._turned(graphic, draws[0])
        images = self._images(size)
        windows = [self._window(images[int(draw[0] * len(images))], size, draw) for draw in draws]
        return _busiest([self._turned(window, draw) for window, draw in zip(windows, draws)])

    def _turned(self, crop: Tensor, draw: list[float]) -> Tensor:
        if draw[3] < 0.5:
            crop = crop.flip(2)
        if draw[4] < 0.25:
            crop = crop.transpose(1, 2)
        return crop

    def _images(self, size: int) -> list[Tensor]:
        """Those that hold a crop."""
        if size not in self.large_enough:
            fitting = [image for image in self.images if min(image.shape[1:]) >= size]
            self.large_enough[size] = fitting or list(self.images)
        return self.large_enough[size]

    def _window(self, image: Tensor, size: int, draw: list[float]) -> Tensor:
        _, height, width = image.shape
        if height < size or width < size:
            pad = (0, max(0, size - width), 0, max(0, size - height))
            image = F.pad(image[None].float(), pad, mode="replicate")[0].to(torch.uint8)
            _, height, width = image.shape
        low, high = self.scales
        scale = 1.0 if draw[5] < UNSCALED else low + (high - low) * (draw[5] - UNSCALED) / (1 - UNSCALED)
        side = min(round(size / scale), height, width)
        top, left = int(draw[1] * (height - side + 1)), int(draw[2] * (width - side + 1))
        window = image[:, top : top + side, left : left + side]
        if side == size:
            return window
        small = F.interpolate(window[None].float(), (size, size), mode="bilinear", antialias=True)
        return small[0].round_().to(torch.uint8)
