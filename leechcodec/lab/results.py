"""A results file: one codec on one data set, strictly read and written.

``results`` has CompressAI's names (bpp, psnr-rgb, ms-ssim-rgb, encoding_time, decoding_time, and ssim-rgb, ssimulacra2
and lpips beside them), so its plotting tool draws the file; ``images`` has a row an image and setting.
"""

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

from leechcodec.formats.files import told_apart, write_atomic
from leechcodec.lab.errors import ResultsError, SchemaError

SCHEMA = 2
"""2 has ssimulacra2, process, and images of several kinds."""
MEANS = {
    "bpp": "bpp",
    "psnr-rgb": "psnr",
    "ms-ssim-rgb": "ms_ssim",
    "ssim-rgb": "ssim",
    "ssimulacra2": "ssimulacra2",
    "lpips": "lpips",
    "encoding_time": "encode_s",
    "decoding_time": "decode_s",
}
"""Name in ``results`` -> field of the rows that it is the mean of."""


@dataclass(frozen=True)
class ImageRow:
    """One image at one setting. image: its name, after its kind and a slash where the data set is a folder of folders.
    bytes: of the file on disk. Times in seconds. None: not measured (see metrics.py)."""

    image: str
    setting: str
    width: int
    height: int
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    ssim: float | None
    ssimulacra2: float | None
    lpips: float | None
    encode_s: float
    decode_s: float
    file: str
    """Path of the compressed file, from the results folder."""
    sha256: str = ""
    """Of the image's file, in hex; empty in results of earlier versions."""


@dataclass(frozen=True)
class Skipped:
    """An image that a codec's figures leave out, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Process:
    """One image through the codec in processes of their own. Seconds from start to end, imports and all."""

    image: str
    setting: str
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Results:
    """A codec's figures. settings and the lists in results: one entry a point, ascending in bpp.

    A mean is over the images whose row has the figure, None where none has; with several kinds of images over the
    kinds' means, so that each kind counts alike.
    """

    name: str
    codec: str
    description: str
    dataset: str
    machine: dict
    versions: dict
    model: dict | None
    settings: tuple[str, ...]
    results: dict[str, list[float | None]]
    images: tuple[ImageRow, ...]
    skipped: tuple[Skipped, ...] = ()
    process: Process | None = None


def means(rows: Sequence[ImageRow]) -> tuple[tuple[str, ...], dict[str, list[float | None]]]:
    """(settings, results) of rows: the mean over kinds of the mean over images for each setting, ascending in bpp."""
    points = {}
    for setting in dict.fromkeys(row.setting for row in rows):
        kinds: dict[str, list[ImageRow]] = {}
        for row in rows:
            if row.setting == setting:
                kinds.setdefault(kind_of(row.image), []).append(row)
        points[setting] = {
            name: _mean([_mean([getattr(row, key) for row in chosen]) for chosen in kinds.values()])
            for name, key in MEANS.items()
        }
    order = sorted(points, key=lambda setting: points[setting]["bpp"])
    return tuple(order), {name: [points[setting][name] for setting in order] for name in MEANS}


def kind_of(image: str) -> str:
    """The kind of an image, from its name in a row; empty where the data set is a single folder."""
    return image.rpartition("/")[0]


def restricted(results: Results, images: Collection[str]) -> Results:
    """The results over some of their images alone."""
    rows = tuple(row for row in results.images if row.image in images)
    settings, columns = means(rows)
    return replace(results, images=rows, settings=settings, results=columns)


def ours_first(results: Sequence[Results]) -> list[Results]:
    """Sorted by codec: the released model, this codec's other models and efforts, then the others."""
    return sorted(results, key=_order)


def _order(results: Results) -> tuple[bool, bool, bool, str]:
    ours = "token_model" in (results.model or {})
    return results.codec != "leech", not ours, ours and "bsq" in results.codec, results.codec


def load_all(paths: Iterable[Path]) -> list[Results]:
    """Read results files, this codec's first. Raises what load() does.

    Those of one codec, or of one name, are told apart by the folders that they lie in: old/leech, new/leech.
    """
    found = sorted(((load(path), path) for path in dict.fromkeys(paths)), key=lambda pair: _order(pair[0]))
    codecs, names = [], []
    for each, path in found:
        folder, whole = path.parent, path.with_suffix("")
        codecs.append((each.codec, f"{folder}/{each.codec}", str(whole)))
        names.append((each.name, f"{each.name} ({folder})", f"{each.name} ({whole})"))
    apart = zip(found, _told_apart(codecs), _told_apart(names))
    return [replace(each, codec=codec, name=name) for (each, _), codec, name in apart]


def _told_apart(forms: Sequence[tuple[str, str, str]]) -> list[str]:
    """The first form of each, or the second where others have the same, or the last."""
    first, second, last = ([form[place] for form in forms] for place in range(3))
    return told_apart(told_apart(first, second), last)


def save(results: Results, path: Path) -> None:
    """Write a results file, whole or not at all."""
    whole = {"schema": SCHEMA, **asdict(results)}
    text = json.dumps(whole, indent=1, allow_nan=False)  # in ASCII: names of files need not be Unicode
    write_atomic(path, (text + "\n").encode(), force=True)


def load(path: Path) -> Results:
    """Read a results file. Raises SchemaError for another schema or kind of file, ResultsError for a damaged one."""
    data = read_json(path)
    if not isinstance(data, dict) or "schema" not in data:
        raise SchemaError(f"{path}: not a results file of leechcodec eval")
    if data["schema"] != SCHEMA or isinstance(data["schema"], bool):
        raise SchemaError(f"{path}: schema {data['schema']!r}, this version reads {SCHEMA}; run leechcodec eval again")
    data = {key: value for key, value in data.items() if key != "schema"}
    results = _build(Results, data, str(path))
    for name in MEANS:
        column = results.results.get(name)
        if not isinstance(column, list) or len(column) != len(results.settings):
            raise ResultsError(f"{path}: results has no {name!r} with {len(results.settings)} points")
        for value in column:
            _check(value, float if name == "bpp" else float | None, f"{path}: results {name!r}")
    return results


def read_json(path: Path):
    """The value of a JSON file. Raises ResultsError for a file that is missing, not JSON, or with NaN in it."""

    def refuse(constant: str):
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: not JSON ({error})") from None


def row_from(data, where: str) -> ImageRow:
    """A row from its JSON object. Raises ResultsError where it is not one."""
    return _build(ImageRow, data, where)


def _build(kind: type, data, where: str):
    """A frozen dataclass from a JSON object: every field without a default there, of its type, and no other."""
    if not isinstance(data, dict):
        raise ResultsError(f"{where}: an object is expected")
    known = {field.name: field for field in fields(kind)}
    unknown = data.keys() - known.keys()
    missing = {name for name, field in known.items() if field.default is MISSING} - data.keys()
    if unknown or missing:
        problem = f"unknown key {min(unknown)!r}" if unknown else f"no {min(missing)!r}"
        raise ResultsError(f"{where}: {problem}")
    return kind(**{name: _check(value, known[name].type, f"{where}: {name!r}") for name, value in data.items()})


def _check(value, kind, where: str):
    """A JSON value as a type of the dataclasses above. Raises ResultsError for any other."""
    if get_origin(kind) is UnionType or isinstance(kind, UnionType):
        if value is None:
            return None
        return _check(value, get_args(kind)[0], where)
    if kind is Process:
        return _build(Process, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ResultsError(f"{where}: a list is expected")
        item = get_args(kind)[0]
        return tuple(
            _build(item, entry, where) if item in (ImageRow, Skipped) else _check(entry, item, where) for entry in value
        )
    plain = get_origin(kind) or kind
    accepted = (int, float) if plain is float else (plain,)
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ResultsError(f"{where}: {type(value).__name__} where {plain.__name__} is expected")
    if plain is float and not math.isfinite(value):
        raise ResultsError(f"{where}: not finite")
    return value


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(present) if present else None
