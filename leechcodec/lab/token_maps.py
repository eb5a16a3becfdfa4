"""Where the bits of an .lq file went: every stage's tokens as maps over the picture.

The first row shows the picture and its bits per pixel, summed over the stages; then, stage by stage, the bits of each
token and, of Λ24-SQ, the class of its codeword.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import model_for_file
from leechcodec.config import STRIDES
from leechcodec.formats.packages import require
from leechcodec.lab.figures import check_figure, save_figure
from leechcodec.quantizers.leech import LeechSQ

CLASSES = ("origin", "±4² 0²²", "±2⁸ 0¹⁶", "∓3 ±1²³")
"""The codewords' shapes by class number, 0 the origin."""
CLASS_COLOURS = ("#F0F0F0", "#E69F00", "#56B4E9", "#0B5D8A")
COLUMNS = 4
WIDTH = 13.0
"""Inches."""


@dataclass(frozen=True)
class StageMap:
    """A stage's tokens on their grid. bits: float64 (h, w). classes: uint8 (h, w), 0..3 as in CLASSES; None for another
    quantizer."""

    number: int
    stride: int
    bits: np.ndarray
    classes: np.ndarray | None


def class_of(codes: np.ndarray) -> np.ndarray:
    """Class of codewords in integer form, (..., 24) -> uint8 (...): by the largest entry, 0 for the origin."""
    largest = np.abs(codes).max(axis=-1)
    return np.choose(largest, [0, 0, 2, 3, 1]).astype(np.uint8)


def stage_maps(tokens: api.Tokens, model: str | Path | None = None) -> list[StageMap]:
    """The maps of all stages of an image."""
    loaded = model_for_file(tokens.token_model, model)
    classed = isinstance(loaded.networks.quantizer, LeechSQ)
    bits = api.token_bits(tokens, model=model)
    scales = loaded.config.stage_scales
    return [
        StageMap(number + 1, STRIDES[scales[number]], stage, class_of(codes) if classed else None)
        for number, (stage, codes) in enumerate(zip(bits, tokens.codes))
    ]


def bits_per_pixel(maps: list[StageMap]) -> np.ndarray:
    """Bits a pixel of all stages together on the finest stage's grid, float64 (h, w)."""
    finest = min(stage.stride for stage in maps)
    spread = [
        np.kron(stage.bits / stage.stride**2, np.ones((stage.stride // finest, stage.stride // finest)))
        for stage in maps
    ]
    return np.sum(spread, axis=0)


def draw(image: Image.Image, maps: list[StageMap], target: Path) -> None:
    """Write the figure of a decoded image and its maps to a file, .png, .svg or .pdf by its name."""
    check_figure(target)
    require("matplotlib")
    figures, colours = require("matplotlib.figure"), require("matplotlib.colors")
    each = 1 if maps[0].classes is None else 2
    rows = 1 + -(-len(maps) // (COLUMNS // each))
    height = WIDTH / COLUMNS * (image.height / image.width) * rows + 0.45 * rows + 0.6
    figure = figures.Figure(figsize=(WIDTH, min(height, 60)), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    extent = (0, image.width, image.height, 0)
    axes[0, 0].imshow(image, extent=extent)
    axes[0, 0].set_title("decoded", fontsize=9)
    _heat(figure, axes[0, 1], image, bits_per_pixel(maps), maps, "all stages, bits per pixel")
    palette = colours.ListedColormap(CLASS_COLOURS)
    for index, stage in enumerate(maps):
        row, column = 1 + index // (COLUMNS // each), each * (index % (COLUMNS // each))
        total, sent = stage.bits.sum(), max(1, np.count_nonzero(stage.bits))
        title = f"{stage.number}: stride {stage.stride}, {total / 8000:.2f} kB, {total / sent:.1f} bits a token"
        _heat(figure, axes[row, column], image, stage.bits, maps, title)
        if stage.classes is None:
            continue
        axis = axes[row, column + 1]
        _map(axis, image, stage.classes, maps, cmap=palette, vmin=-0.5, vmax=3.5)
        shares = np.bincount(stage.classes.reshape(-1), minlength=4) / stage.classes.size
        named = ", ".join(f"{name} {share:.0%}" for name, share in zip(CLASSES, shares) if share >= 0.005)
        axis.set_title(named, fontsize=8)
    save_figure(figure, target, dpi=110)


def _heat(figure, axis, image: Image.Image, values: np.ndarray, maps: list[StageMap], title: str) -> None:
    mesh = _map(axis, image, values, maps, cmap="magma", vmin=0, vmax=max(float(values.max()), 1e-9))
    figure.colorbar(mesh, ax=axis, shrink=0.8, pad=0.01)
    axis.set_title(title, fontsize=9)


def _map(axis, image: Image.Image, values: np.ndarray, maps: list[StageMap], **style):
    """Values on the padded grid, cut to the picture."""
    height, width = (side * maps[0].stride for side in maps[0].bits.shape)
    mesh = axis.imshow(values, extent=(0, width, height, 0), interpolation="nearest", **style)
    axis.set_xlim(0, image.width)
    axis.set_ylim(image.height, 0)
    return mesh
