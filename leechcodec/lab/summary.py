"""Where each codec's dial ends, and what it costs in time: a row a codec."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from leechcodec.lab.limits import lined_up
from leechcodec.lab.results import ImageRow, Results

HEADER = ("codec", "bpp", "PSNR, dB", "encode, s/MP", "decode, s/MP", "process: encode, s", "decode, s")


@dataclass(frozen=True)
class Summary:
    """A codec's range and speed. bpp, psnr: means over the images at the setting of the smallest and of the largest
    files. encode, decode: seconds per million pixels, over all images and settings, of the call alone. process:
    seconds of a whole process for one image, encoding and decoding, None where that was not measured."""

    name: str
    bpp: tuple[float, float]
    psnr: tuple[float | None, float | None]
    encode: float
    decode: float
    process: tuple[float, float] | None


def summary(results: Results) -> Summary:
    """The row of a results file."""
    rates, values = cast("list[float]", results.results["bpp"]), results.results["psnr-rgb"]
    process = results.process and (results.process.encode_s, results.process.decode_s)
    encode, decode = (per_megapixel(results.images, name) for name in ("encode_s", "decode_s"))
    return Summary(results.name, (rates[0], rates[-1]), (values[0], values[-1]), encode, decode, process)


def per_megapixel(rows: Sequence[ImageRow], field: str) -> float:
    """Seconds of a field of the rows per million pixels."""
    return 1e6 * math.fsum(getattr(row, field) for row in rows) / sum(row.width * row.height for row in rows)


def cells(row: Summary) -> tuple[str, ...]:
    """The row as text, a cell for each of HEADER."""
    process = ("–", "–") if row.process is None else tuple(f"{value:.2f}" for value in row.process)
    psnr = ("–" if value is None else f"{value:.1f}" for value in row.psnr)
    rates = f"{row.bpp[0]:.3f} to {row.bpp[1]:.3f}"
    return row.name, rates, " to ".join(psnr), _seconds(row.encode), _seconds(row.decode), *process


def table(rows: Sequence[Summary], form: str = "text") -> str:
    """The rows as aligned text or as Markdown."""
    return lined_up(HEADER, [cells(row) for row in rows], form)


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
