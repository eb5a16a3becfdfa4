"""The table of quantizers: how many codes, how far apart, how far from the rate-distortion bound, how many in use.

Distances are Euclidean, between codewords scaled to a root mean square length of 1: on the unit sphere, for a spherical
code. Distortion and bound are those of limits.py: for the codeword nearest to a uniform direction, and the best scalar
gain. A code for which length matters (FSQ, a learned codebook) is asked for the codeword nearest to s·u, at the scale s
that suits it best, u and the codewords taken from their mean; what a method does to z before (FSQ's tanh) and a mean
that is not zero (FSQ's even levels) a network can undo.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from leechcodec.codec.model_store import load_model
from leechcodec.lab.limits import SAMPLES, cap_bound, distortion, lined_up
from leechcodec.quantizers import Quantizer, make_quantizer

NAMES = (
    "leech", "bsq-12", "bsq-18", "bsq-24", "lfq-18", "fsq-8x8x8x5x5x5", "fsq-3x3x3x3x3x3x3x3x3x3x3",
    "rpq-12-12", "rpq-24-12", "fibonacci-12-12", "fibonacci-24-12", "d4", "d4x3", "d4x6", "e8", "e8x2", "e8x3", "bw16",
    "vq-12-12", "simvq-12-12", "lgq-12-12", "round-12",
)  # fmt: skip
"""What is listed unless told otherwise. Unstructured codebooks at 2^12, beside BSQ-12."""
PRINTED = {"leech": 0.866, "bsq-18": 0.471}
"""δ_min as Zhao et al., arXiv 2512.14697, table 4, print it."""
SCALES = tuple(step / 20 for step in range(2, 41))
"""Standard deviations of a coordinate, in units of the codewords."""


@dataclass(frozen=True)
class Row:
    """A quantizer. None where a figure does not exist: δ_min and distortion of rounding or of a codebook that
    is still to be learned, a covering cosine that is not known, usage without latents of its dimension.

    distortion, bound, cap_bound: shares of the source's energy; gap_db and cap_gap_db from the first to the others.
    used: different codes among so many latents (tokens).
    """

    name: str
    dim: int
    size: int
    bits: float
    delta_min: float | None
    delta_printed: float | None
    covering_cosine: float | None
    distortion: float | None
    bound: float | None
    gap_db: float | None
    cap_bound: float | None
    cap_gap_db: float | None
    used: int | None
    tokens: int | None


def rows(
    names: Sequence[str] = NAMES,
    latents: Tensor | None = None,
    model: str | Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[Row]:
    """The rows of these names; with latents (N, dim) also the usage of every spherical code of that dimension, and
    first the row of the model's own quantizer, as it was trained."""
    quantizers = [(make_quantizer(name), False) for name in names]
    if latents is not None:
        own = load_model(model).networks.quantizer
        quantizers = [(own, True), *((q, trained) for q, trained in quantizers if q.name != own.name)]
    with torch.inference_mode():
        return [_row(quantizer, trained, latents, samples, seed) for quantizer, trained in quantizers]


def _row(quantizer: Quantizer, trained: bool, latents: Tensor | None, samples: int, seed: int) -> Row:
    fixed = trained or not quantizer.learned
    delta = quantizer.delta_min if fixed else None
    share = bound = caps = used = tokens = None
    if delta is not None:
        generator = torch.Generator().manual_seed(seed)
        u = torch.nn.functional.normalize(torch.randn(samples, quantizer.dim, generator=generator), dim=1)
        share, bound = best_distortion(quantizer, u), 2 ** (-2 * quantizer.bits / quantizer.dim)
        caps = cap_bound(quantizer.dim, quantizer.bits) if quantizer.dim > 1 else None
    if latents is not None and latents.shape[1] == quantizer.dim and (trained or quantizer.spherical):
        codes, _ = quantizer.quantize(latents)
        used, tokens = len(torch.unique(codes, dim=0)), len(codes)
    return Row(
        name=quantizer.name,
        dim=quantizer.dim,
        size=quantizer.size,
        bits=quantizer.bits,
        delta_min=delta,
        delta_printed=PRINTED.get(quantizer.name),
        covering_cosine=quantizer.covering_cosine,
        distortion=share,
        bound=bound,
        gap_db=_gap(share, bound),
        cap_bound=caps,
        cap_gap_db=_gap(share, caps),
        used=used,
        tokens=tokens,
    )


def _gap(distortion: float | None, bound: float | None) -> float | None:
    """In dB. None without a bound, and for a code that loses nothing."""
    if distortion is None or bound is None or distortion <= 0:
        return None
    return 10 * math.log10(distortion / bound)


def best_distortion(quantizer: Quantizer, u: Tensor) -> float:
    """Share of the energy of unit vectors (N, dim) that is lost to the nearest codeword, with the best gain, and at the
    best scale where the scale matters."""
    scales = (1.0,) if quantizer.spherical else [quantizer.dim**0.5 * scale for scale in SCALES]
    centre, found = quantizer.centre, []
    for scale in scales:
        centred = quantizer.codes_to_vectors(quantizer.vectors_to_codes(scale * u + centre)) - centre
        if centred.any():
            found.append(distortion(u, centred))
    return min(found)


HEADER = ("quantizer", "d", "codes", "bits", "δ_min", "printed", "covering cos", "D", "bound", "gap", "to caps",
          "in use")  # fmt: skip


def table(found: Sequence[Row], form: str = "text") -> str:
    """The rows as aligned text or as Markdown."""
    cells = [
        (
            row.name,
            str(row.dim),
            f"{row.size:,}" if row.size < 10**9 else f"2^{row.bits:.1f}".removesuffix(".0"),
            f"{row.bits:.2f}",
            _number(row.delta_min, ".4f"),
            _number(row.delta_printed, ".3f"),
            _number(row.covering_cosine, ".4f"),
            _number(row.distortion, ".4f"),
            _number(row.bound, ".4f"),
            _number(row.gap_db, "+.2f", " dB"),
            _number(row.cap_gap_db, "+.2f", " dB"),
            "–" if row.used is None else f"{row.used:,} of {min(row.tokens or 0, row.size):,}",
        )
        for row in found
    ]
    return lined_up(HEADER, cells, form)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
