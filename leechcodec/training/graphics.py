"""Pictures that are no photographs, drawn on the fly: text, interfaces, line art, charts, gradients, flat colours.

A codec trained on photographs alone makes flat white grey and text a blur. Some hundredths of the crops are drawn here,
each from a seed, so that a run can be resumed and repeated.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Colour = tuple[int, int, int]
LETTERS = "abcdefghijklmnopqrstuvwxyz" * 3 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:-()%&"
PRIMARIES: list[Colour] = [(255 * (n & 1), 255 * (n >> 1 & 1), 255 * (n >> 2)) for n in range(8)]


def draw_graphic(size: int, seed: int) -> Tensor:
    """One picture, uint8 (3, size, size). seed: 0 or more; the same one gives the same picture."""
    rng = np.random.default_rng(seed)
    draw = KINDS[rng.integers(len(KINDS))]
    return torch.from_numpy(np.array(draw(size, rng))).permute(2, 0, 1).contiguous()


def _colour(rng: np.random.Generator) -> Colour:
    """White, black, a primary, a grey or anything, the plain ones often."""
    kind = rng.random()
    if kind < 0.35:
        return (255, 255, 255) if kind < 0.25 else (0, 0, 0)
    if kind < 0.5:
        return PRIMARIES[rng.integers(8)]
    if kind < 0.7:
        grey = int(rng.integers(256))
        return grey, grey, grey
    red, green, blue = map(int, rng.integers(0, 256, 3))
    return red, green, blue


def _contrast(colour: Colour, rng: np.random.Generator) -> Colour:
    """A colour that can be read on the one given."""
    for _ in range(8):
        other = _colour(rng)
        if abs(sum(other) - sum(colour)) > 240:
            return other
    return (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)


def _page(size: int, colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (size, size), colour)
    return image, ImageDraw.Draw(image)


def _words(rng: np.random.Generator, count: int) -> str:
    lengths = rng.integers(1, 11, count)
    return " ".join("".join(LETTERS[i] for i in rng.integers(0, len(LETTERS), length)) for length in lengths)


def _text(size: int, rng: np.random.Generator) -> Image.Image:
    """Lines of words in one size, on a flat page."""
    paper = _colour(rng)
    ink, height = _contrast(paper, rng), float(rng.uniform(8, 40))
    image, draw = _page(size, paper)
    font = ImageFont.load_default(height)
    top = float(rng.uniform(-height, height))
    while top < size:
        if rng.random() < 0.9:  # else the gap between two paragraphs
            draw.text((float(rng.uniform(-40, 10)), top), _words(rng, 2 + int(4 * size / (height * 5))), ink, font)
        top += height * 1.35
    return image


def _interface(size: int, rng: np.random.Generator) -> Image.Image:
    """Boxes, some with round corners, shadows and labels."""
    image, draw = _page(size, _colour(rng))
    for _ in range(rng.integers(3, 12)):
        x, y = rng.integers(-20, size, 2).tolist()
        width, height = rng.integers(16, max(17, size * 2 // 3), 2).tolist()
        fill, radius = _colour(rng), int(rng.integers(0, 14))
        box = (x, y, x + width, y + height)
        outline = _contrast(fill, rng) if rng.random() < 0.5 else None
        draw.rounded_rectangle(box, min(radius, width // 2, height // 2), fill, outline, int(rng.integers(1, 3)))
        if rng.random() < 0.7:
            font = ImageFont.load_default(float(rng.uniform(9, 20)))
            draw.text((x + 6, y + 4), _words(rng, int(rng.integers(1, 4))), _contrast(fill, rng), font)
    return image


def _lines(size: int, rng: np.random.Generator) -> Image.Image:
    """Line art: straight and curved strokes, circles, polygons."""
    paper = _colour(rng)
    image, draw = _page(size, paper)
    for _ in range(rng.integers(4, 24)):
        ink, width = _contrast(paper, rng), int(rng.integers(1, 5))
        points = [tuple(point) for point in rng.integers(-10, size + 10, (int(rng.integers(2, 6)), 2)).tolist()]
        kind = rng.random()
        if kind < 0.5:
            draw.line(points, ink, width, joint="curve")
        elif kind < 0.8:
            (x, y), r = points[0], int(rng.integers(4, size // 2))
            draw.arc((x - r, y - r, x + r, y + r), float(rng.uniform(0, 360)), float(rng.uniform(0, 360)), ink, width)
        else:
            draw.polygon(points, outline=ink, fill=_colour(rng) if rng.random() < 0.3 else None, width=width)
    return image


def _chart(size: int, rng: np.random.Generator) -> Image.Image:
    """Axes, a grid, and bars or curves with labels."""
    paper = (255, 255, 255) if rng.random() < 0.7 else _colour(rng)
    ink = _contrast(paper, rng)
    image, draw = _page(size, paper)
    left, bottom = int(rng.integers(10, 40)), size - int(rng.integers(10, 40))
    font = ImageFont.load_default(float(rng.uniform(8, 14)))
    for step in range(0, size, int(rng.integers(16, 48))):
        draw.line((left, step, size, step), tuple((a * 3 + b) // 4 for a, b in zip(paper, ink)))
        draw.text((1, step - 5), str(int(rng.integers(0, 1000))), ink, font)
    if rng.random() < 0.5:
        width = int(rng.integers(6, 32))
        for x in range(left + 4, size, width + int(rng.integers(2, 10))):
            draw.rectangle((x, int(rng.integers(0, bottom)), x + width, bottom), _colour(rng))
    else:
        for _ in range(rng.integers(1, 5)):
            heights = bottom / 2 + np.cumsum(rng.normal(0, size / 24, size // 4 + 2))
            points = [(left + 4 * i, float(height)) for i, height in enumerate(heights)]
            draw.line(points, _contrast(paper, rng), int(rng.integers(1, 4)))
    draw.line((left, 0, left, bottom, size, bottom), ink, int(rng.integers(1, 3)))
    return image


def _gradient(size: int, rng: np.random.Generator) -> Image.Image:
    """From one colour to another, straight or round, with or without a little noise."""
    first, last = np.array(_colour(rng), float), np.array(_colour(rng), float)
    y, x = np.mgrid[0:size, 0:size] / size
    if rng.random() < 0.6:
        angle = rng.choice([0, math.pi / 2, rng.uniform(0, 2 * math.pi)])
        place = x * math.cos(angle) + y * math.sin(angle)
    else:
        place = np.hypot(x - rng.uniform(), y - rng.uniform())
    place = (place - place.min()) / np.ptp(place)
    values = first + (last - first) * (place * rng.uniform(0.1, 1))[..., None]
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(0.5, 3), values.shape)
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def _flat(size: int, rng: np.random.Generator) -> Image.Image:
    """One colour, or a few large areas of one each."""
    image, draw = _page(size, _colour(rng))
    for _ in range(int(rng.choice([0, 0, 1, 2, 4]))):
        corners = rng.integers(-size // 4, size + size // 4, (2, 2))
        draw.rectangle((*corners.min(0).tolist(), *corners.max(0).tolist()), _colour(rng))
    return image


KINDS: tuple[Callable[[int, np.random.Generator], Image.Image], ...] = (
    _text,
    _interface,
    _lines,
    _chart,
    _gradient,
    _flat,
)
