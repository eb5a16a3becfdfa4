"""What the detail layer's constants come from, on held-out photographs.

    python -m tools.tune_detail entry PHOTOGRAPHS/*.jpg       on which tokens a layer pays, and from where
    python -m tools.tune_detail kappa PHOTOGRAPHS/*.jpg       the weight of errors in the rate-aware choice
    python -m tools.tune_detail scalars PHOTOGRAPHS/*.jpg     scalars in place of the lattice, all else equal

Figures are mean changes of the file's size at equal PSNR, in per cent, each photograph alike. Photographs are first
scaled down to sides of at most 768 pixels. Scalars are multiples of 3 in the lattice's integer units, each with the
integer pmf of its own Laplacian scale, chosen exactly for rate and error; several weights, since theirs is another.
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
from leechcodec.codec.dial import LEAST
from leechcodec.codec.model_store import load_model
from leechcodec.codec.pipeline import Prepared
from leechcodec.detail.coding import HIGH_RATE, WEIGHT, CodeVectors, code_lattice, encode_detail
from leechcodec.detail.head import STEP_UNIT
from leechcodec.detail.scales import PER_OCTAVE, SCALES, UNIT
from leechcodec.detail.transform import forward
from leechcodec.entropy.pmf import integer_pmf
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.formats.container import FRAME_SIZE

LARGEST = 768
LEVELS = (36, 38, 40, 42, 44, 46, 48)
"""dB at which sizes are compared."""
STEPS = (14.0, 9.0, 6.0, 4.0, 2.6, 1.7, 1.1)
SPACING = 3
"""Of scalars: about the lattice's volume of 8^(1/2) a dimension, and an integer."""
SCALAR_ERROR = SPACING**2 / 12
KAPPAS, SCALAR_KAPPAS = (0.4, 0.5, 0.6, 0.75, 0.9), (0.6, 0.9, 1.1, 1.4)
Curve = list[tuple[float, float]]
"""Points (bytes, dB)."""


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
        self.residual = prepared.colours.astype(np.float64) - np.asarray(self.below)

    @property
    def point(self) -> tuple[float, float]:
        """Of the tokens alone."""
        return self.bytes, self.prepared.psnr(self.below)

    def layered(self, code: CodeVectors = code_lattice, scale: float = 1.0) -> Curve:
        """The curve over the steps. scale: times the steps."""
        return [self.point, *(self._at(round(scale * step / STEP_UNIT), code) for step in STEPS)]

    def _at(self, units: int, code: CodeVectors) -> tuple[float, float]:
        data, points = encode_detail(forward(self.residual), units, 9000, code)
        return self.bytes + FRAME_SIZE + len(data), self.prepared.psnr(added(self.below, points * (units * STEP_UNIT)))


def log_bytes(curve: Curve, level: float) -> float:
    """The logarithm of the size at a PSNR, NaN outside the curve."""
    points = sorted((decibels, np.log(size)) for size, decibels in curve)
    return float(np.interp(level, *zip(*points), left=np.nan, right=np.nan))


def compare(curves: dict[str, list[Curve]], anchor: str) -> None:
    """Print every curve's mean change of size against the anchor's, by level; photographs that do not reach a level on
    both are left out there."""
    print(f"{'against ' + anchor:<24}" + "".join(f"{level:>7} dB" for level in LEVELS))
    for name, found in curves.items():
        changes = [
            [log_bytes(own, level) - log_bytes(other, level) for own, other in zip(found, curves[anchor])]
            for level in LEVELS
        ]
        means = (100 * (np.exp(np.nanmean(row)) - 1) if not np.isnan(row).all() else np.nan for row in changes)
        print(f"{name:<24}" + "".join(f"{mean:>+8.1f} %" for mean in means))


def entry(photographs: list[Prepared]) -> None:
    """Layers on tokens of several qualities, and tokens alone against the layer at their own PSNR."""
    bases, alone = (75.0, 80.0, 85.0, 90.0), (85.0, 90.0, 95.0, 100.0)
    curves = {f"on {base:g}": [Photograph(one, base).layered() for one in photographs] for base in bases}
    compare(curves, f"on {LEAST:g}")
    for quality in alone:
        points = [Photograph(one, quality).point for one in photographs]
        changes = [np.log(size) - log_bytes(own, level) for (size, level), own in zip(points, curves[f"on {LEAST:g}"])]
        told = ", ".join(f"{100 * (np.exp(change) - 1):+.1f}" for change in changes)
        print(f"tokens of {quality:g} alone: mean {100 * (np.exp(np.nanmean(changes)) - 1):+.1f} % ({told})")


def kappa(photographs: list[Prepared]) -> None:
    bases = [Photograph(one, LEAST) for one in photographs]
    codes = {f"kappa {value:g}": partial(code_lattice, weight=value * HIGH_RATE) for value in KAPPAS}
    compare({name: [one.layered(code) for one in bases] for name, code in codes.items()}, "kappa 0.6")


def control(photographs: list[Prepared]) -> None:
    bases = [Photograph(one, LEAST) for one in photographs]
    lattice = f"lattice, kappa {WEIGHT / HIGH_RATE:g}"
    curves = {lattice: [one.layered() for one in bases]}
    for value in SCALAR_KAPPAS:
        code = partial(scalars, weight=value / (2 * SCALAR_ERROR))
        curves[f"scalars, kappa {value:g}"] = [one.layered(code, 0.84) for one in bases]  # about the same errors
    compare(curves, lattice)


WHAT: dict[str, Callable[[list[Prepared]], None]] = {"entry": entry, "kappa": kappa, "scalars": control}


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
