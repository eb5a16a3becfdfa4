"""Rate-distortion curves, measured here or published elsewhere, in the units in which they are drawn and compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leechcodec.lab.errors import ResultsError, one_of
from leechcodec.lab.results import Results, read_json

PSNR, MS_SSIM, LPIPS = "psnr", "ms-ssim", "lpips"
METRICS = (PSNR, MS_SSIM, LPIPS)
LABELS = {PSNR: "PSNR (dB)", MS_SSIM: "MS-SSIM (dB)", LPIPS: "LPIPS (lower is better)"}
_COLUMNS = {PSNR: "psnr-rgb", MS_SSIM: "ms-ssim-rgb", LPIPS: "lpips"}


@dataclass(frozen=True)
class Curve:
    """Points of one codec, ascending in bpp. key: the results file's codec, or a published curve's name.

    metrics: metric -> value at each point, or None where it was not measured: PSNR in dB, MS-SSIM in dB
    (-10 log10(1 - mean)), LPIPS as it is.
    """

    key: str
    name: str
    published: bool
    bpp: tuple[float, ...]
    metrics: dict[str, tuple[float | None, ...]]

    def points(self, metric: str) -> tuple[list[float], list[float]]:
        """(bpp, value) of the points that have the metric, as two lists."""
        pairs = [(rate, value) for rate, value in zip(self.bpp, self.metrics[metric]) if value is not None]
        return [rate for rate, _ in pairs], [value for _, value in pairs]


def measured(results: Results) -> Curve:
    """The curve of a results file."""
    metrics = {metric: tuple(results.results[column]) for metric, column in _COLUMNS.items()}
    metrics[MS_SSIM] = tuple(map(_decibels, metrics[MS_SSIM]))
    return Curve(results.codec, results.name, False, tuple(results.results["bpp"]), metrics)


def published(path: Path, names: Sequence[str] = ()) -> list[Curve]:
    """The curves of a file {name: {bpp: [...], psnr: [...] or null, ms_ssim: [...] or null}}, all or those named.

    Raises ResultsError for another kind of file, PeerError for a name that it does not have.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not data:
        raise ResultsError(f"{path}: not a file of published curves")
    chosen = [one_of(name, data, f"curve in {path}") for name in names] or list(data)
    return [_published(name, data[name], f"{path}: {name}") for name in chosen]


def _published(name: str, entry, where: str) -> Curve:
    if not isinstance(entry, dict):
        raise ResultsError(f"{where}: an object with bpp, psnr and ms_ssim is expected")
    rates = _column(entry.get("bpp"), None, f"{where}: bpp")
    columns = {
        PSNR: _column(entry.get("psnr"), len(rates), f"{where}: psnr"),
        MS_SSIM: [_decibels(x) for x in _column(entry.get("ms_ssim"), len(rates), f"{where}: ms_ssim")],
        LPIPS: [None] * len(rates),
    }
    order = sorted(range(len(rates)), key=rates.__getitem__)
    metrics = {metric: tuple(column[index] for index in order) for metric, column in columns.items()}
    return Curve(name, name, True, tuple(rates[index] for index in order), metrics)


def _column(values, length: int | None, where: str) -> list:
    """A list of numbers; Nones where values is None and another column fixes the length."""
    if values is None and length is not None:
        return [None] * length
    if not isinstance(values, list) or (length is not None and len(values) != length) or not values:
        raise ResultsError(f"{where}: a list of {length or 'some'} numbers is expected")
    for value in values:
        bad = isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
        if bad and not (value is None and length is not None):
            raise ResultsError(f"{where}: {value!r} is not a number")
    return values


def _decibels(similarity: float | None) -> float | None:
    return None if similarity is None else 100.0 if similarity >= 1 else min(100.0, -10 * math.log10(1 - similarity))
