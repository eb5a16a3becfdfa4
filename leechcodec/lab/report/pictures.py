"""The report's pictures: for every image and rate the files nearest in size, decoded once, and where to look."""

import contextlib
import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from leechcodec.errors import ImageError, LqError
from leechcodec.formats.files import write_atomic
from leechcodec.formats.images import load_image, to_array, to_rgb
from leechcodec.formats.side_data import as_coded
from leechcodec.lab.errors import ResultsError
from leechcodec.lab.peers.base import Peer
from leechcodec.lab.peers.registry import adapter_of
from leechcodec.lab.results import ImageRow, Results, kind_of

RATES = (0.15, 0.25, 0.5)
"""Bits per pixel at which the pictures are compared."""
WINDOW = (160, 120)
"""Width and height, in pixels, of the places that are searched for."""
FIELDS = ("setting", "bytes", "bpp", "psnr", "ms_ssim", "ssim", "ssimulacra2", "lpips", "encode_s", "decode_s")
"""What the page shows of one file."""
WEBP_LIMIT = 16383
"""WebP's largest width and height; beyond it a picture is a PNG."""


def make_pictures(results: Sequence[Results], folder: Path, out: Path, limit: int | None = None) -> list[dict]:
    """Write the pictures of the results in folder to the folder out; returns the page's entry for every image.

    Images are those of the first result, whose files the others' are matched to. Whatever is missing or cannot be
    decoded is left out with a warning.
    """
    out.mkdir(parents=True, exist_ok=True)
    decoders = {result.codec: _Decoder(result) for result in results}
    originals = Path(results[0].dataset)
    names = sorted({row.image for row in results[0].images})[:limit]
    pictures = []
    for name in tqdm(names, desc="pictures", unit="image", leave=False, disable=None):
        with _left_out(name):
            picture = _Picture(name, _original(originals, name), folder, out, decoders)
            pictures.append(picture.entry(results))
    return pictures


def _original(dataset: Path, name: str) -> Path:
    """Where an image lies: in the data set's folder, or in that of its kind. Never outside."""
    kind, image = kind_of(name), name.rpartition("/")[2]
    if "/" in kind or ".." in (kind, image) or "\0" in name:
        raise ResultsError("not a name of an image")
    return dataset / kind / image


def matched(results: Sequence[Results], image: str, rate: float) -> Iterator[tuple[Results, ImageRow]]:
    """The first codec's file nearest the wanted rate, then every other codec's file nearest to that in size."""
    ours = None
    for result in results:
        rows = [row for row in result.images if row.image == image and row.bytes > 0 and row.bpp > 0]
        if not rows and ours is None:
            raise ResultsError("no file of it")
        if rows:
            wanted, of = (rate, "bpp") if ours is None else (ours.bytes, "bytes")
            row = min(rows, key=partial(_distance, wanted, of))
            ours = ours or row
            yield result, row


def _distance(wanted: float, of: str, row: ImageRow) -> float:
    return abs(math.log(getattr(row, of) / wanted))


@contextlib.contextmanager
def _left_out(what: str) -> Iterator[None]:
    """Name what cannot be shown, and go on without it."""
    try:
        yield
    except (LqError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        warnings.warn(f"{what}: no picture: {reason}", stacklevel=3)


class _Decoder:
    """A codec that decodes its own files; it is made, and asked whether it can, when it is first used."""

    def __init__(self, results: Results):
        self.results = results
        self.peer: Peer | None = None

    def __call__(self, data: bytes) -> Image.Image:
        if self.peer is None:
            peer = adapter_of(self.results.codec, self.results.model)
            if reason := peer.available():
                source = str((self.results.model or {}).get("source") or "")
                raise ResultsError(reason.replace(source, Path(source).name))
            self.peer = peer
        try:
            return to_rgb(self.peer.decode(data))
        except (LqError, MemoryError):
            raise
        except Exception as error:  # libraries raise whatever their parsers trip over
            reason = re.sub(r" <_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error))  # an address says nothing
            raise ImageError(f"cannot be decoded ({reason})") from None


class _Picture:
    """One image: its original and its decoded files."""

    def __init__(self, name: str, source: Path, folder: Path, out: Path, decoders: dict[str, _Decoder]):
        self.name, self.folder, self.out, self.decoders = name, folder, out, decoders
        content = source.read_bytes()
        stream = io.BytesIO(content)
        stream.name = name  # what messages call it, on a page that others read: no folder of this machine
        original = as_coded(load_image(stream))
        self.pixels = to_array(original).astype(np.float32)
        self.bytes = len(content)
        self.file = self._path("original", content)
        self.errors: dict[Path, np.ndarray] = {}
        _save(original, self.file)

    def entry(self, results: Sequence[Results]) -> dict:
        """What the page knows of the image."""
        height, width = self.pixels.shape[:2]
        return {
            "name": self.name,
            "width": width,
            "height": height,
            "bytes": self.bytes,
            "original": self._link(self.file),
            "detail": busiest(_detail(self.pixels)),
            "rates": [{"target": rate, **self._rate(results, rate)} for rate in RATES],
        }

    def _rate(self, results: Sequence[Results], rate: float) -> dict:
        """The files shown at a rate, with the places where each gains and loses most against the first."""
        shown, errors = {}, {}
        ours = None
        for result, row in matched(results, self.name, rate):
            ours = ours or row
            facts = asdict(row)
            entry = {key: facts[key] for key in FIELDS} | {"gap": 100 * (row.bytes / ours.bytes - 1)}
            with _left_out(f"{self.name}, {result.name}"):
                path = self._decoded(result.codec, row)
                entry["file"], errors[result.codec] = self._link(path), self.errors[path]
            shown[result.codec] = entry
        first = errors.pop(results[0].codec, None)
        if first is None:
            return {"shown": shown}
        for key, error in errors.items():
            shown[key] |= {"gains": busiest(error - first), "loses": busiest(first - error)}
        return {"shown": shown, "worst": busiest(first)}

    def _decoded(self, key: str, row: ImageRow) -> Path:
        """Path of the decoded picture, made unless it is there; its squared error goes to self.errors."""
        source = (self.folder / row.file).resolve()
        if not source.is_relative_to(self.folder.resolve()):
            raise ResultsError(f"{row.file}: outside the results folder")
        content = source.read_bytes()
        target = self._path(key, content)
        if target not in self.errors:
            image = load_image(target) if target.exists() else self.decoders[key](content)
            pixels = to_array(image).astype(np.float32)
            if pixels.shape != self.pixels.shape:
                raise ResultsError(f"{row.file}: {image.width} x {image.height} pixels, not the original's size")
            _save(image, target)
            self.errors[target] = np.square(pixels - self.pixels).mean(axis=2)
        return target

    def _path(self, kind: str, content: bytes) -> Path:
        """A name of plain letters with the content's hash: a picture is written once, and a changed one anew."""
        parts = (_plain(Path(self.name).stem), _plain(kind), hashlib.sha256(content).hexdigest()[:12])
        return self.out / ("-".join(parts) + (".webp" if max(self.pixels.shape) <= WEBP_LIMIT else ".png"))

    def _link(self, path: Path) -> str:
        return f"{self.out.name}/{path.name}"


def busiest(weight: np.ndarray) -> list[float]:
    """Centre (x, y) of the window with the largest sum of weight."""
    height, width = weight.shape
    across, down = min(WINDOW[0], width), min(WINDOW[1], height)
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = weight.astype(np.float64).cumsum(0).cumsum(1)
    sums = total[down:, across:] - total[:-down, across:] - total[down:, :-across] + total[:-down, :-across]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return [float(left + across / 2), float(top + down / 2)]


def _detail(pixels: np.ndarray) -> np.ndarray:
    """Squared differences of neighbours: how much there is to see at every pixel."""
    luma = pixels.mean(axis=2)
    across = np.diff(luma, axis=1, append=luma[:, -1:])
    return across**2 + np.diff(luma, axis=0, append=luma[-1:]) ** 2


def _save(image: Image.Image, path: Path) -> None:
    if path.exists():
        return
    buffer = io.BytesIO()
    if path.suffix == ".webp":
        image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    else:
        image.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue(), force=True)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)[:60]
