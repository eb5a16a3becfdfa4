"""Rate-distortion curves, measured here or published elsewhere, in the units in which they are drawn and compared."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leechcodec.lab.errors import ResultsError, one_of
from leechcodec.lab.results import MEANS, ImageRow, Results, means, read_json, restricted

PSNR, MS_SSIM, SSIMULACRA2, LPIPS = "psnr", "ms-ssim", "ssimulacra2", "lpips"


@dataclass(frozen=True)
class Metric:
    """How a metric is shown. column: in a results file. published: in a file of published curves. unit: may be empty.
    digits: after the decimal point, where values stand in ranges and in lists."""

    name: str
    label: str
    column: str
    published: str
    unit: str
    digits: int


MEASURES = {
    PSNR: Metric("PSNR", "PSNR (dB)", "psnr-rgb", "psnr", "dB", 2),
    MS_SSIM: Metric("MS-SSIM", "MS-SSIM (dB)", "ms-ssim-rgb", "ms_ssim", "dB", 2),
    SSIMULACRA2: Metric("SSIMULACRA2", "SSIMULACRA2", "ssimulacra2", "ssimulacra2", "", 2),
    LPIPS: Metric("LPIPS", "LPIPS (lower is better)", "lpips", "lpips", "", 4),
}
METRICS = (PSNR, MS_SSIM, LPIPS)
"""Those that the comparison of quantizers keeps of every run."""


@dataclass(frozen=True)
class Curve:
    """Points of one codec, ascending in bpp. key: the results file's codec, or a published curve's name.

    metrics: metric -> value at each point, or None where it was not measured; a metric that is not in it was not.
    PSNR in dB, MS-SSIM in dB (-10 log10(1 - mean)), SSIMULACRA2 and LPIPS as they are. rates: metric -> bpp at each
    point of the images that have the metric, where some are too small for it; bpp where it is not in it. settings: the
    codec's at each point, where it was measured.
    """

    key: str
    name: str
    published: bool
    bpp: tuple[float, ...]
    metrics: dict[str, tuple[float | None, ...]]
    rates: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def values(self, metric: str) -> tuple[float | None, ...]:
        """The metric at each point."""
        return self.metrics.get(metric, (None,) * len(self.bpp))

    def points(self, metric: str) -> tuple[list[float], list[float]]:
        """(bpp, value) of the points that have the metric, ascending in bpp, as two lists."""
        found = self.numbered_points(metric)
        return [rate for _, rate, _ in found], [value for _, _, value in found]

    def numbered_points(self, metric: str) -> list[tuple[int, float, float]]:
        """(place among all points, bpp, value) of the points that have the metric, ascending in bpp."""
        columns = enumerate(zip(self.rates.get(metric, self.bpp), self.values(metric)))
        found = [(i, rate, value) for i, (rate, value) in columns if rate is not None and value is not None]
        return sorted(found, key=lambda point: point[1])


def common_images(results: Sequence[Results]) -> tuple[set[str], list[str]]:
    """The images that all results have, and those that some lack, sorted. Where they share none, both are of all.

    Images of one name are one only where their sizes are equal, and their files.
    """
    each = [{row.image for row in found.images} for found in results]
    every, common = set().union(*each), set.intersection(*each)
    common -= _others_of_the_name(results)
    return common or every, sorted(every - common)


def _others_of_the_name(results: Sequence[Results]) -> set[str]:
    """Names that are not the same image in all results."""
    sizes: dict[str, set[tuple[int, int]]] = {}
    files: dict[str, set[str]] = {}
    for row in (row for found in results for row in found.images):
        sizes.setdefault(row.image, set()).add((row.width, row.height))
        files.setdefault(row.image, set()).add(row.sha256)
    return {name for name in sizes if len(sizes[name]) > 1 or len(files[name] - {""}) > 1}


def left_out(images: set[str], lacking: Sequence[str]) -> str:
    """What to say of images that some results lack. images, lacking: of :func:`common_images`."""
    if images.issuperset(lacking):
        return "the results share no image: means of different ones are compared"
    names = ", ".join(lacking[:3]) + (" ..." if len(lacking) > 3 else "")
    return f"compared over the {len(images)} images that all results have, without {names}"


def over_common_images(results: Sequence[Results]) -> tuple[Sequence[Results], str]:
    """The results over the images that all have, and what to say of the others; nothing where there are none."""
    images, lacking = common_images(results)
    if not lacking:
        return results, ""
    return [restricted(each, images) for each in results], left_out(images, lacking)


def measured(results: Results, images: Collection[str] | None = None) -> Curve:
    """The curve of a results file: its means, or those over some of its images only."""
    results = results if images is None else restricted(results, images)
    rows, settings, columns = results.images, results.settings, results.results
    metrics = {metric: tuple(columns[facts.column]) for metric, facts in MEASURES.items()}
    metrics[MS_SSIM] = tuple(map(_decibels, metrics[MS_SSIM]))
    bpp = tuple(rate for rate in columns["bpp"] if rate is not None)  # all of them
    rates = {metric: _rates_with(MEANS[facts.column], rows, settings) for metric, facts in MEASURES.items()}
    own = {metric: column for metric, column in rates.items() if column is not None}
    return Curve(results.codec, results.name, False, bpp, metrics, own, tuple(settings))


def _rates_with(figure: str, rows: Sequence[ImageRow], settings: Sequence[str]) -> tuple[float | None, ...] | None:
    """Mean bpp at each setting of the rows that have a figure; None where all have it, or none.

    A small image has other rates than a large one, so a metric's mean belongs to the rates of its own images.
    """
    having = [row for row in rows if getattr(row, figure) is not None]
    if len(having) in (0, len(rows)):
        return None
    labels, columns = means(having)
    found = dict(zip(labels, columns["bpp"], strict=True))
    return tuple(found.get(setting) for setting in settings)


def published(path: Path, names: Sequence[str] = ()) -> list[Curve]:
    """The curves of a file {name: {bpp: [...], psnr: [...] or null, ms_ssim: [...] or null}}, all or those named.

    ssimulacra2 and lpips may stand beside psnr; what is not there counts as null.

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
    _within(rates, 0, math.inf, f"{where}: bpp")
    columns = {
        metric: _column(entry.get(facts.published), len(rates), f"{where}: {facts.published}")
        for metric, facts in MEASURES.items()
    }
    _within(columns[MS_SSIM], -math.inf, 1, f"{where}: {MEASURES[MS_SSIM].published}")
    columns[MS_SSIM] = [_decibels(value) for value in columns[MS_SSIM]]
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
        if value is None and length is not None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ResultsError(f"{where}: {value!r} is not a number")
    return values


def _within(values: Sequence[float | None], low: float, high: float, where: str) -> None:
    """Raises ResultsError where a value is not above low, or above high."""
    for value in values:
        if value is not None and not low < value <= high:
            raise ResultsError(f"{where}: {value!r} is out of range")


def _decibels(similarity: float | None) -> float | None:
    return None if similarity is None else 100.0 if similarity >= 1 else min(100.0, -10 * math.log10(1 - similarity))
