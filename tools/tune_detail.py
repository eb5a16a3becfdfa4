"""What the detail layer's constants come from, on held-out photographs.

    python -m tools.tune_detail entry PHOTOGRAPHS/*.jpg       on which tokens a layer pays, and from where
    python -m tools.tune_detail kappa PHOTOGRAPHS/*.jpg       the weight of errors in the rate-aware choice
    python -m tools.tune_detail scalars PHOTOGRAPHS/*.jpg     scalars in place of the lattice, all else equal
    python -m tools.tune_detail steps PHOTOGRAPHS/*.jpg       steps by frequency and by block (detail/steps.py)

Figures are mean changes of the file's size at equal PSNR and SSIMULACRA2, in per cent, each photograph alike.
Photographs are first scaled down to sides of at most 768 pixels. Scalars are multiples of 3 in the lattice's integer
units, each with the integer pmf of its own Laplacian scale, chosen exactly for rate and error; several weights, since
theirs is another.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.detail_layer import added
from leechcodec.codec.dial import ENTRY
from leechcodec.codec.distortion import psnr
from leechcodec.codec.model_store import load_model
from leechcodec.codec.pipeline import Prepared
from leechcodec.detail.coding import HIGH_RATE, WEIGHT, CodeVectors, code_lattice, encode_detail
from leechcodec.detail.head import STEP_UNIT
from leechcodec.detail.scales import PER_OCTAVE, SCALES, UNIT
from leechcodec.detail.steps import of_blocks, of_frequencies, relative_steps
from leechcodec.detail.transform import forward
from leechcodec.entropy.pmf import integer_pmf
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.formats.container import FRAME_SIZE
from leechcodec.formats.images import from_array
from leechcodec.lab.metrics import ssimulacra2

LARGEST = 768
METRICS: dict[Callable[[np.ndarray, np.ndarray], float | None], tuple[int, ...]] = {
    psnr: (36, 38, 40, 42, 44, 46, 48),
    ssimulacra2: (72, 76, 80, 84, 88, 92),
}
"""Levels at which sizes are compared, in dB and on SSIMULACRA2's scale."""
STEPS = (14.0, 9.0, 6.0, 4.0, 2.6, 1.7, 1.1)
SPACING = 3
"""Of scalars: about the lattice's volume of 8^(1/2) a dimension, and an integer."""
SCALAR_ERROR = SPACING**2 / 12
KAPPAS, SCALAR_KAPPAS = (0.4, 0.5, 0.6, 0.75, 0.9), (0.6, 0.9, 1.1, 1.4)
Curve = list[tuple[float, float]]
"""Points (bytes, level)."""
File = tuple[int, Image.Image]
"""Its bytes and its picture."""


def scalars(
    coder: TokenCoder, table: np.ndarray, index: np.ndarray, vectors: np.ndarray | None, weight: float
) -> np.ndarray:
    """Choose and code multiples of SPACING; the arguments of :data:`leechcodec.detail.coding.CodeVectors`."""
    half = table.shape[1] // 2
    first = -(half // SPACING)
    columns = np.arange(first, (half - 1) // SPACING + 1) * SPACING + half
    pmf = integer_pmf(np.ascontiguousarray(ScoreTables.of(table).masses[:, columns]))
    symbols = None if vectors is None else _nearest(vectors, index, weight).clip(first, first + len(columns) - 1)
    found = np.empty(index.size, dtype=np.int64)
    rows = max(1, (1 << 22) // len(columns))
    for start in range(0, index.size, rows):
        part = slice(start, start + rows)
        given = None if symbols is None else symbols.reshape(-1)[part] - first
        found[part] = coder.code(pmf[index.reshape(-1)[part]], given)
    return ((found + first) * SPACING).reshape(index.shape).astype(np.int32)


def _nearest(y: np.ndarray, index: np.ndarray, weight: float) -> np.ndarray:
    """The best multiples, exactly: with a score of -|x| / mean the best real x is y brought nearer to zero by a
    constant, and errors from there are a parabola as far as zero."""
    slope = 2.0 ** (-(np.arange(SCALES) - UNIT) / PER_OCTAVE)
    best = np.sign(y) * np.maximum(np.abs(y) - slope[index] / (2 * weight), 0)
    return np.rint(best / SPACING).astype(np.int64)


class Photograph:
    """A prepared photograph with the tokens of a quality and their picture."""

    def __init__(self, prepared: Prepared, quality: float) -> None:
        self.prepared = prepared
        tokens, self.below = pipeline.preview(load_model(), prepared.pixels, prepared.size, quality)
        self.bytes = len(pipeline.pack(load_model(), tokens, prepared.side_data))
        self.coefficients = forward(prepared.colours.astype(np.float64) - np.asarray(self.below))
        self.steps = relative_steps(of_blocks(np.asarray(self.below)))

    @property
    def alone(self) -> File:
        """Of the tokens alone."""
        return self.bytes, self.below

    def files(
        self, code: CodeVectors = code_lattice, scale: float = 1.0, steps: np.ndarray | None = None
    ) -> list[File]:
        """The tokens alone, and with a layer of each step. scale: times the steps. steps: relative ones, (64, rows,
        columns); None: those of files."""
        wanted, found = self.steps if steps is None else steps, [self.alone]
        for step in STEPS:
            units = round(scale * step / STEP_UNIT)
            data, points = encode_detail(self.coefficients / wanted, units, 9000, code)
            shown = from_array(added(np.asarray(self.below), points * (units * STEP_UNIT) * wanted))
            found.append((self.bytes + FRAME_SIZE + len(data), shown))
        return found


def log_bytes(curve: Curve, level: float) -> float:
    """The logarithm of the size at a level, NaN outside the curve."""
    points = sorted((reached, np.log(size)) for size, reached in curve)
    return float(np.interp(level, *zip(*points), left=np.nan, right=np.nan))


def compare(photographs: list[Prepared], found: dict[str, list[list[File]]], anchor: str) -> None:
    """Print the mean change of size of every kind of files against the anchor's, by level in both measures.

    found: a list of files for each photograph. Photographs that do not reach a level in both are left out there.
    """
    for metric, at in METRICS.items():
        curves: dict[str, list[Curve]] = {
            name: [
                [(size, metric(one.colours, np.asarray(shown)) or np.nan) for size, shown in files]
                for one, files in rows
            ]
            for name, rows in ((name, zip(photographs, files)) for name, files in found.items())
        }
        print(f"{metric.__name__ + ', against ' + anchor:<32}" + "".join(f"{level:>8} " for level in at))
        for name, own in curves.items():
            changes = [[log_bytes(a, level) - log_bytes(b, level) for a, b in zip(own, curves[anchor])] for level in at]
            means = (100 * (np.exp(np.nanmean(row)) - 1) if not np.isnan(row).all() else np.nan for row in changes)
            print(f"{name:<32}" + "".join(f"{mean:>+7.1f} %" for mean in means), flush=True)


def entry(photographs: list[Prepared]) -> None:
    """Layers on tokens of several qualities, and tokens alone."""
    bases = {quality: [Photograph(one, quality) for one in photographs] for quality in (75, 80, 85, 90, 95, 100)}
    found = {f"on {quality}": [one.files() for one in of] for quality, of in bases.items()}
    found["tokens alone"] = [[one.alone for one in of] for of in zip(*bases.values())]
    compare(photographs, found, f"on {ENTRY:g}")


def kappa(photographs: list[Prepared]) -> None:
    bases = [Photograph(one, ENTRY) for one in photographs]
    codes = {f"kappa {value:g}": partial(code_lattice, weight=value * HIGH_RATE) for value in KAPPAS}
    compare(photographs, {name: [one.files(code) for one in bases] for name, code in codes.items()}, "kappa 0.6")


def control(photographs: list[Prepared]) -> None:
    bases = [Photograph(one, ENTRY) for one in photographs]
    lattice = f"lattice, kappa {WEIGHT / HIGH_RATE:g}"
    found = {lattice: [one.files() for one in bases]}
    for value in SCALAR_KAPPAS:
        code = partial(scalars, weight=value / (2 * SCALAR_ERROR))
        found[f"scalars, kappa {value:g}"] = [one.files(code, 0.84) for one in bases]  # about the same errors
    compare(photographs, found, lattice)


def steps(photographs: list[Prepared]) -> None:
    bases = [Photograph(one, ENTRY) for one in photographs]
    kinds: dict[str, Callable[[Photograph], np.ndarray]] = {
        "equal": lambda one: np.ones_like(one.steps),
        "by frequency": lambda one: np.broadcast_to(of_frequencies()[:, None, None], one.steps.shape),
        "by block": lambda one: np.broadcast_to(of_blocks(np.asarray(one.below)), one.steps.shape),
        "as in files": lambda one: one.steps,
    }
    found = {name: [one.files(steps=kind(one)) for one in bases] for name, kind in kinds.items()}
    compare(photographs, found, "equal")


WHAT: dict[str, Callable[[list[Prepared]], None]] = {
    "entry": entry,
    "kappa": kappa,
    "scalars": control,
    "steps": steps,
}


def prepared(path: Path) -> Prepared:
    image = Image.open(path).convert("RGB")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return pipeline.prepare(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("photographs", type=Path, nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(1)
    WHAT[args.what]([prepared(path) for path in args.photographs])


if __name__ == "__main__":
    main()
