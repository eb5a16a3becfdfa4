"""Pictures that are no photographs: text, interfaces, charts, drawings, gradients, flat colours, noise, patterns.

All are drawn from a seed by Pillow, numpy and matplotlib, in the fonts that matplotlib ships, so nobody has rights in
them. A folder a kind: ``leechcodec eval`` reports each. Equal versions of the libraries draw equal pixels.
"""

import colorsys
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from leechcodec.formats.files import write_atomic
from leechcodec.lab.datasets import pixels_of
from leechcodec.lab.drawing import (
    HEIGHT,
    WIDTH,
    canvas,
    clipped,
    disc,
    figure,
    fitted,
    font,
    listing,
    page,
    picture,
    sentence,
    sidebar,
    smaller,
    window,
)  # fmt: skip

INKS = ("#1b1b1b", "#0b57a4", "#b3261e", "#146c2e", "#6d3b8e", "#8a5100")
Named = tuple[str, Image.Image]


def graphics(target: Path, seed: int = 0, photograph: Path | None = None) -> dict[str, int]:
    """Write the pictures to ``<target>/<kind>/<name>.png``; returns how many there are of each kind.

    photograph: an image to put captions on; without one that kind is left out. Raises MissingPackageError without
    matplotlib, ImageError for a photograph that cannot be read.
    """
    makers: dict[str, Callable[[np.random.Generator], Iterator[Named]]] = dict(KINDS)
    if photograph is not None:
        picture = fitted(pixels_of(photograph))
        makers["captions"] = lambda rng: captions(rng, picture)
    counts = {}
    for number, (kind, maker) in enumerate(makers.items()):
        folder = target / kind
        folder.mkdir(parents=True, exist_ok=True)
        made = list(maker(np.random.default_rng([seed, number])))
        for name, image in made:
            file = io.BytesIO()
            image.save(file, "PNG", optimize=True)
            write_atomic(folder / f"{name}.png", file.getvalue(), force=True)
        counts[kind] = len(made)
    return counts


def text(rng: np.random.Generator) -> Iterator[Named]:
    """Pages of text: three families, sizes from 9 to 36 pixels, dark on light and light on dark."""
    for name, size, ink, paper in (
        ("DejaVuSans", 12, "#000000", "#ffffff"),
        ("DejaVuSerif", 16, "#222222", "#fbf6ea"),
        ("STIXGeneral", 24, "#000000", "#ffffff"),
        ("DejaVuSansMono", 13, "#d8dee9", "#1e222a"),
    ):
        image, draw = canvas(paper)
        if "Mono" in name:
            listing(rng, draw, font(name, size), (16, 12, WIDTH - 16, HEIGHT - 12))
        else:
            page(rng, draw, font(name, size), (24, 20, WIDTH - 24, HEIGHT - 16), ink)
        yield f"{name.lower()}-{size}", image
    image, draw = canvas("#ffffff")
    y = 14
    for size in (9, 10, 11, 13, 15, 18, 22, 28, 36):
        bold = "-Bold" if size > 20 else ""
        draw.text(
            (20, y), f"{size} px  {sentence(rng, 400 // size)}", INKS[size % len(INKS)], font(f"DejaVuSans{bold}", size)
        )
        y += int(size * 1.75) + 6
    yield "sizes", image


def interfaces(rng: np.random.Generator) -> Iterator[Named]:
    """Mock-ups of a list in a light window, a form in a dark one, and a page of cards."""
    image, draw = canvas("#f3f4f6")
    window(draw, "Messages", "#ffffff", "#1f2328", "#d0d7de")
    for row in range(8):
        y, chosen = 66 + 46 * row, row == 2
        draw.rectangle((180, y, WIDTH - 1, y + 45), "#ddf4ff" if chosen else "#ffffff")
        draw.line((180, y + 45, WIDTH, y + 45), "#e5e7eb")
        disc(draw, 206, y + 22, 14, INKS[row % len(INKS)])
        draw.text((232, y + 6), sentence(rng, 3), "#1f2328", font("DejaVuSans-Bold", 13))
        draw.text((232, y + 24), clipped(sentence(rng, 16), 52), "#59636e", font("DejaVuSans", 11))
        draw.text(
            (WIDTH - 48, y + 6), f"{rng.integers(8, 20)}:{rng.integers(10, 60)}", "#59636e", font("DejaVuSans", 11)
        )
    sidebar(rng, draw, "#f6f8fa", "#1f2328", "#0969da")
    yield "list-light", image

    image, draw = canvas("#0d1117")
    window(draw, "Settings", "#161b22", "#e6edf3", "#30363d")
    sidebar(rng, draw, "#161b22", "#c9d1d9", "#1f6feb")
    for row in range(6):
        y = 74 + 60 * row
        draw.text((204, y), sentence(rng, 3), "#e6edf3", font("DejaVuSans", 13))
        draw.text((204, y + 19), clipped(sentence(rng, 12), 46), "#8b949e", font("DejaVuSans", 10))
        if row % 3 == 0:
            draw.rounded_rectangle((552, y + 4, 596, y + 26), 11, "#238636" if rng.random() < 0.6 else "#484f58")
            disc(draw, 585, y + 15, 8, "#ffffff")
        elif row % 3 == 1:
            draw.rounded_rectangle((470, y, 600, y + 28), 6, "#0d1117", "#30363d")
            draw.text((480, y + 6), sentence(rng, 1), "#c9d1d9", font("DejaVuSans", 12))
            draw.polygon([(580, y + 11), (592, y + 11), (586, y + 18)], "#8b949e")
        else:
            draw.line((470, y + 14, 600, y + 14), "#484f58", 4)
            draw.line((470, y + 14, 545, y + 14), "#58a6ff", 4)
            disc(draw, 545, y + 14, 8, "#ffffff")
    yield "form-dark", image

    image, draw = canvas("#ffffff")
    draw.rectangle((0, 0, WIDTH, 52), "#4f378b")
    draw.text((20, 14), "leech 24", "#ffffff", font("DejaVuSans-Bold", 20))
    for number in range(6):
        x, y = 20 + 204 * (number % 3), 70 + 188 * (number // 3)
        draw.rounded_rectangle((x, y, x + 192, y + 176), 10, "#fef7ff", "#cac4d0")
        hue = tuple(int(255 * part) for part in colorsys.hls_to_rgb(rng.random(), 0.6, 0.7))
        draw.rounded_rectangle((x + 8, y + 8, x + 184, y + 84), 6, hue)
        draw.text((x + 12, y + 94), clipped(sentence(rng, 3), 22), "#1d1b20", font("DejaVuSans-Bold", 12))
        for line in range(2):
            draw.text((x + 12, y + 112 + 14 * line), clipped(sentence(rng, 8), 30), "#49454f", font("DejaVuSans", 10))
        draw.rounded_rectangle((x + 110, y + 146, x + 182, y + 168), 11, "#6750a4")
        draw.text((x + 128, y + 150), "Open", "#ffffff", font("DejaVuSans-Bold", 12))
    yield "cards", image


def charts(rng: np.random.Generator) -> Iterator[Named]:
    """Lines, bars and points, as matplotlib draws them."""
    yield "lines", figure(lambda axis: [
        axis.plot(np.cumsum(rng.normal(0.1, 1, 120)), label=f"series {number}", linewidth=1.4) for number in range(6)
    ])  # fmt: skip
    values = rng.gamma(3, 10, (4, 8))
    yield "bars", figure(lambda axis: [
        axis.bar(np.arange(8) + 0.2 * number, row, 0.2, label=f"group {number}") for number, row in enumerate(values)
    ])  # fmt: skip
    yield "points", figure(lambda axis: [
        axis.scatter(*rng.normal(rng.normal(0, 2, (2, 1)), 0.8, (2, 150)), s=12, label=f"class {number}")
        for number in range(4)
    ])  # fmt: skip


def drawings(rng: np.random.Generator) -> Iterator[Named]:
    """Lines on paper: curves, a plan with hatching, a web of thin lines; smooth, because drawn four times as large."""
    image, draw = canvas("#ffffff", 4)
    for _ in range(24):
        t = np.linspace(0, 2 * np.pi, 400)
        a, b = rng.integers(1, 5, 2)
        x = (WIDTH * (rng.random() + 0.3 * rng.random() * np.cos(a * t))) * 4
        y = (HEIGHT * (rng.random() + 0.3 * rng.random() * np.sin(b * t + rng.random()))) * 4
        draw.line(list(zip(x.tolist(), y.tolist())), "#111111", int(rng.integers(3, 12)), joint="curve")
    yield "curves", smaller(image)

    image, draw = canvas("#ffffff", 4)
    rooms = [(0, 0, WIDTH, HEIGHT)]
    for _ in range(12):
        rooms.sort(key=lambda room: (room[2] - room[0]) * (room[3] - room[1]))
        left, top, right, bottom = rooms.pop()
        share = 0.35 + 0.3 * rng.random()
        if right - left > bottom - top:
            middle = int(left + share * (right - left))
            rooms += [(left, top, middle, bottom), (middle, top, right, bottom)]
        else:
            middle = int(top + share * (bottom - top))
            rooms += [(left, top, right, middle), (left, middle, right, bottom)]
    for number, (left, top, right, bottom) in enumerate(rooms):
        if number % 3 == 0:
            for offset in range(0, right - left + bottom - top, 7):
                start = (left + max(0, offset - (bottom - top)), top + min(offset, bottom - top))
                end = (left + min(offset, right - left), top + max(0, offset - (right - left)))
                draw.line([4 * part for part in (*start, *end)], "#555555", 2)
        draw.rectangle([4 * part for part in (left, top, right, bottom)], None, "#000000", 10)
    yield "plan", smaller(image)

    image, draw = canvas("#fffef7", 4)
    points = rng.random((70, 2)) * (WIDTH * 4, HEIGHT * 4)
    for number, point in enumerate(points):
        for other in np.argsort(np.square(points - point).sum(1))[1:5]:
            draw.line([*point.tolist(), *points[other].tolist()], INKS[number % len(INKS)], 3)
        across, down = point.tolist()
        disc(draw, across, down, 14, "#1b1b1b")
    yield "web", smaller(image)


def gradients(rng: np.random.Generator) -> Iterator[Named]:
    """Smooth ramps without a grain: where bands show first."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    yield "grey", picture(np.repeat((255 * x)[..., None], 3, 2))
    sky, horizon = np.array([20, 40, 96]), np.array([255, 176, 112])
    yield "dusk", picture(sky + (horizon - sky) * (y**1.5)[..., None])
    phase = 2 * np.pi * (np.hypot(x - 0.3, y - 0.6)[..., None] + np.array([0, 1 / 3, 2 / 3]) + rng.random())
    yield "hues", picture(127.5 + 127.5 * np.cos(phase))
    yield "dark", picture(np.stack([12 + 20 * x, 10 + 16 * y, 18 + 24 * x * y], 2))


def flat(rng: np.random.Generator) -> Iterator[Named]:
    """Saturated colours without any texture: patches, shapes with smooth edges, stripes of red on blue."""
    image, draw = canvas("#ffffff")
    for row in range(7):
        for column in range(10):
            colour = colorsys.hls_to_rgb(column / 10, (row + 1) / 8, 1)
            box = (64 * column, 64 * row, 64 * column + 63, 64 * row + 63)
            draw.rectangle(box, tuple(int(255 * part) for part in colour))
    yield "patches", image
    image, draw = canvas("#ffde00", 4)
    for number in range(14):
        colour = ("#ff0000", "#0000ff", "#00a550", "#ff00ff", "#00ffff", "#000000", "#ffffff")[number % 7]
        across, down = (rng.random(2) * (4 * WIDTH, 4 * HEIGHT)).tolist()
        disc(draw, across, down, int(rng.integers(80, 420)), colour)
    yield "shapes", smaller(image)
    image, draw = canvas("#0000ff")
    for number, x in enumerate(range(0, WIDTH, 20)):
        draw.rectangle((x, 0, x + number // 2, HEIGHT), "#ff0000")
    yield "stripes", image


def noise(rng: np.random.Generator) -> Iterator[Named]:
    """White in grey and in colours, and with a spectrum of 1/f as photographs have."""
    yield "grey", picture(np.repeat(rng.normal(128, 40, (HEIGHT, WIDTH, 1)), 3, 2))
    yield "colour", picture(rng.uniform(0, 256, (HEIGHT, WIDTH, 3)))
    frequencies = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None, :])
    spectrum = np.fft.rfft2(rng.normal(size=(3, HEIGHT, WIDTH))) / np.maximum(frequencies, 1 / WIDTH)
    waves = np.fft.irfft2(spectrum, (HEIGHT, WIDTH)).transpose(1, 2, 0)
    yield "pink", picture(128 + 45 * waves / waves.std())


def checkerboards(rng: np.random.Generator) -> Iterator[Named]:
    """Squares of 1, 4 and 16 pixels, black on white and in colours, and turned ones."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    for side, dark, light in (
        (1, (0, 0, 0), (255, 255, 255)),
        (4, (0, 0, 0), (255, 255, 255)),
        (16, (200, 0, 60), (0, 160, 220)),
    ):
        yield f"side-{side}", picture(np.where(((x // side + y // side) % 2)[..., None] == 0, light, dark))
    angle = 0.2 + 0.3 * rng.random()
    turned = np.sin((x * math.cos(angle) + y * math.sin(angle)) / 5) * np.sin(
        (y * math.cos(angle) - x * math.sin(angle)) / 5
    )
    yield "turned", picture(np.repeat((127.5 + 127.5 * np.clip(4 * turned, -1, 1))[..., None], 3, 2))


def captions(rng: np.random.Generator, photograph: Image.Image) -> Iterator[Named]:
    """A photograph with a caption below, with large letters on it, and as a page's picture."""
    image, draw = canvas("#ffffff")
    image.paste(photograph.crop((0, 0, WIDTH, HEIGHT - 64)))
    page(rng, draw, font("DejaVuSerif", 14), (12, HEIGHT - 58, WIDTH - 12, HEIGHT - 2), "#222222")
    yield "below", image
    image = photograph.copy()
    draw = ImageDraw.Draw(image)
    for y, line in ((10, sentence(rng, 4)), (HEIGHT - 58, sentence(rng, 4))):
        draw.text(
            (WIDTH / 2, y),
            line.upper(),
            "#ffffff",
            font("DejaVuSans-Bold", 36),
            "ma",
            stroke_width=3,
            stroke_fill="#000000",
        )
    yield "letters", image
    image, draw = canvas("#ffffff")
    image.paste(photograph.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.LANCZOS), (WIDTH // 2 - 16, 60))
    draw.text((20, 16), clipped(sentence(rng, 5), 40), "#000000", font("DejaVuSerif-Bold", 24))
    page(rng, draw, font("DejaVuSerif", 12), (20, 60, WIDTH // 2 - 30, 60 + HEIGHT // 2), "#111111")
    page(rng, draw, font("DejaVuSerif", 12), (20, 76 + HEIGHT // 2, WIDTH - 20, HEIGHT - 10), "#111111")
    yield "page", image


KINDS = {
    "text": text,
    "interfaces": interfaces,
    "charts": charts,
    "drawings": drawings,
    "gradients": gradients,
    "flat": flat,
    "noise": noise,
    "checkerboards": checkerboards,
}
"""Kind -> what draws it; captions need a photograph."""
