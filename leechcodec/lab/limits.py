"""How far from the rate-distortion bound a spherical code is: distortion of one token, no entropy coding.

A unit vector u in R^d becomes a codeword c of R = log2 |C| bits; the decoder answers g·c with the best scalar gain g:

    D = min_g E|u - g c|² = 1 - (E u·c)² / E|c|²          on a sphere 1 - (E cos)²
    bound D(R) = 2^(-2R/d)                                 a Gaussian source of d dimensions

The bound is Shannon's for a Gaussian, which uniform directions approach as d grows. Directions are easier, because
their length is not coded: in few dimensions a code of them can lie below. So the gap 10 log10(D / bound) is a yardstick
for codes of one dimension, not a limit. A limit for uniform directions is ``cap_bound``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from leechcodec.codec.canvas import padded_pixels
from leechcodec.codec.model_store import load_model
from leechcodec.config import header_quality
from leechcodec.formats.images import apply_orientation
from leechcodec.formats.packages import require
from leechcodec.lab.figures import save_figure
from leechcodec.networks.torch_transforms import as_batch
from leechcodec.quantizers import BSQ, LeechSQ, Quantizer

SAMPLES = 100_000
A_STAGE = 2000
FSQ_LEVELS = ((3,) * 11, (8, 8, 8, 5, 5, 5))
"""FSQ (Mentzer et al., arXiv 2309.15505) near 17 bits: ternary, and its authors' levels for 2^16. A binary one is
BSQ under another name."""


class Grid:
    """Finite scalar quantization of a direction: u·s rounded to levels a coordinate, s the best over the samples."""

    def __init__(self, levels: Sequence[int]) -> None:
        self.levels = torch.tensor(levels, dtype=torch.float32)
        self.dim, self.bits = len(levels), math.log2(math.prod(levels))

    def nearest(self, u: Tensor) -> Tensor:
        """Codewords of unit vectors, float32 (N, d) -> (N, d), at the scale of least distortion."""
        scales = (math.sqrt(self.dim) * step / 10 for step in range(2, 41))
        return min((self._round(u, scale) for scale in scales), key=lambda codes: distortion(u, codes))

    def _round(self, u: Tensor, scale: float) -> Tensor:
        half = (self.levels - 1) / 2  # an even number of levels has none at zero: a half-level offset
        offset = (half % 1).to(u)
        steps = u * scale * half.clamp(min=0.5)
        return ((steps - offset).round() + offset).clamp(-half, half) / half


@dataclass(frozen=True)
class Limit:
    """One code on one source. distortion and bound: shares of the source's energy; gap_db: 10 log10 of their ratio."""

    code: str
    source: str
    dim: int
    bits: float
    distortion: float
    bound: float
    gap_db: float


def distortion(u: Tensor, codes: Tensor) -> float:
    """Share of the energy of unit vectors that the best scalar gain leaves: (N, d), (N, d) -> 0..1."""
    codes = codes.double()
    return 1 - (u.double() * codes).sum(1).mean().item() ** 2 / codes.square().sum(1).mean().item()


def cap_bound(dim: int, bits: float) -> float:
    """The least distortion of uniform directions that any code of 2^bits vectors could have, whatever their lengths.

    A cell of measure p has no larger mean cosine to one direction than the cap of that measure, m(p). With lengths r_i,
    (E u·c)² <= (Σ r_i p_i m(p_i))² <= E|c|² · Σ p_i m(p_i)² by Cauchy and Schwarz, and the sum is largest for cells of
    equal measure, because p·m(p)² lies below its tangent at p = 2^-bits:

        D >= 1 - m(2^-bits)²,    m(p) = sin^(d-1)(φ) / (d - 1) / ∫_0^φ sin^(d-2),    the cap's angle φ

    Caps do not tile the sphere, so it is not reached beyond two codewords. dim >= 2, bits >= 0.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)

    def share(angle: float) -> float:
        """∫_0^angle sin^(d-2), the measure of a cap times that of the sphere."""
        return angle / 2 * float(weights @ np.sin(angle / 2 * (nodes + 1)) ** (dim - 2))

    wanted = 2.0**-bits * share(math.pi)
    low, high = 0.0, math.pi
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < wanted else (low, middle)
    return 1 - (math.sin(low) ** (dim - 1) / (dim - 1) / wanted) ** 2


def limits(latents: Tensor | None = None, samples: int = SAMPLES, seed: int = 0) -> list[Limit]:
    """Λ24-SQ, BSQ and FSQ on uniform directions, and the 24-dimensional ones on latents (N, 24) where given."""
    codes: list[tuple[str, Quantizer | Grid]] = [("Λ24-SQ", LeechSQ()), ("BSQ-18", BSQ(18)), ("BSQ-24", BSQ(24))]
    codes += [(f"FSQ {_levels_name(levels)}", Grid(levels)) for levels in FSQ_LEVELS]
    generator = torch.Generator().manual_seed(seed)
    rows = [_limit(name, "uniform", code, _unit(torch.randn(samples, code.dim, generator=generator)))
            for name, code in codes]  # fmt: skip
    if latents is not None:
        rows += [_limit(name, "latents", code, _unit(latents)) for name, code in codes if code.dim == latents.shape[1]]
    return rows


@torch.inference_mode()
def latents_of(
    images: Sequence[Image.Image], model: str | Path | None = None, qualities: Sequence[float] = (20, 50, 80)
) -> Tensor:
    """What a model asks its quantizer about images: float32 (N, dim), at most 2,000 from a stage of an image.

    torch's networks are asked, whatever the runtime in use: another one does not show what lies before its quantizer.
    """
    networks = load_model(model).networks
    found: list[Tensor] = []
    quantizer = networks.quantizer
    quantize = quantizer.quantize

    def listening(z: Tensor, **options: bool) -> tuple[Tensor, Tensor]:
        flat = z.float().reshape(-1, quantizer.dim)
        picked = torch.randperm(len(flat), generator=torch.Generator().manual_seed(len(found)))[:A_STAGE]
        found.append(flat[picked].clone())
        return quantize(z, **options)

    quantizer.quantize = listening  # of this object alone
    try:
        for image in images:
            pixels = as_batch(padded_pixels(apply_orientation(image)))
            for quality in qualities:
                networks.encode(pixels, header_quality(quality))
    finally:
        del quantizer.quantize
    return torch.cat(found)


def _limit(name: str, source: str, code: Quantizer | Grid, u: Tensor) -> Limit:
    d, bound = distortion(u, code.nearest(u)), 2 ** (-2 * code.bits / code.dim)
    return Limit(name, source, code.dim, code.bits, d, bound, 10 * math.log10(d / bound))


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=1)


def _levels_name(levels: Sequence[int]) -> str:
    runs = [(level, levels.count(level)) for level in dict.fromkeys(levels)]
    return "·".join(f"{level}^{count}" if count > 1 else str(level) for level, count in runs)


def draw(rows: Sequence[Limit], target: Path) -> None:
    """The gaps to the bound, a line a code: a figure, .svg, .png or .pdf by its name."""
    figures = require("matplotlib.figure")
    codes = list(dict.fromkeys(row.code for row in rows))[::-1]
    figure = figures.Figure(figsize=(6.4, 1.2 + 0.42 * len(codes)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="#444444", linewidth=1.2)
    for source, marker, colour in (("uniform", "o", "#0072B2"), ("latents", "D", "#D55E00")):
        chosen = [row for row in rows if row.source == source]
        if chosen:
            label = {"uniform": "uniform directions", "latents": "the model's latents"}[source]
            gaps, lines = [row.gap_db for row in chosen], [codes.index(row.code) for row in chosen]
            axis.plot(gaps, lines, marker, color=colour, markersize=7, label=label, zorder=3)
    names = {row.code: f"{row.code}\n{row.bits:.1f} bits, d = {row.dim}" for row in rows}
    axis.set_yticks(range(len(codes)), [names[code] for code in codes], fontsize=9)
    axis.set_ylim(-0.6, len(codes) - 0.4)
    gaps = [row.gap_db for row in rows]
    axis.set_xlim(min(-0.05, 1.25 * min(gaps)), 1.12 * max(gaps))  # latents may lie below the bound of uniform ones
    axis.set_xlabel("distortion above the bound 2^(−2R/d) at the code's own rate (dB)")
    axis.grid(True, axis="x", linewidth=0.5, alpha=0.4)
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    save_figure(figure, target)


def table(rows: Sequence[Limit], form: str = "text") -> str:
    """The rows as aligned text or as Markdown."""
    header = ("code", "source", "d", "bits", "bits/d", "D", "bound", "gap")
    cells = [
        (row.code, row.source, str(row.dim), f"{row.bits:.2f}", f"{row.bits / row.dim:.3f}", f"{row.distortion:.4f}",
         f"{row.bound:.4f}", f"{row.gap_db:+.2f} dB")
        for row in rows
    ]  # fmt: skip
    return lined_up(header, cells, form)


def lined_up(header: Sequence[str], cells: Sequence[Sequence[str]], form: str) -> str:
    """A table as text with columns of one width ("text"), or as Markdown ("markdown")."""
    if form == "markdown":
        return "\n".join("| " + " | ".join(line) + " |" for line in (header, ("---",) * len(header), *cells))
    widths = [max(map(len, column)) for column in zip(header, *cells)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in (header, *cells))  # fmt: skip
