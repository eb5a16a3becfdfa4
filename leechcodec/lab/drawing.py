"""What the graphics are made of: canvases, fonts, made-up sentences, pages, windows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from leechcodec.formats.packages import require

WIDTH, HEIGHT = 640, 448
"""Pixels of every picture."""
_TEXT = (
    "the of and a to in is that it was for on are with as they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over "
    "did down only way find use may water long little very after words called just where most know lattice token "
    "quality Unicode 2,048 3.14159 €19.99 50 % fi fl Ångström naïve (x + y)² A/B: yes!"
)
WORDS = tuple(_TEXT.split())


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of matplotlib's fonts, such as DejaVuSans or STIXGeneral, at a size in pixels."""
    folder = Path(require("matplotlib").get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)


def canvas(colour: str, scale: int = 1) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), colour)
    return image, ImageDraw.Draw(image)


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def picture(values: np.ndarray) -> Image.Image:
    """An image of levels 0..255, rounded and clipped."""
    return Image.fromarray(np.round(values).clip(0, 255).astype(np.uint8))


def fitted(photograph: Image.Image) -> Image.Image:
    """The middle of a photograph at the size of these pictures."""
    scale = max(WIDTH / photograph.width, HEIGHT / photograph.height)
    size = (max(WIDTH, round(photograph.width * scale)), max(HEIGHT, round(photograph.height * scale)))
    left, top = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
    return photograph.resize(size, Image.Resampling.LANCZOS).crop((left, top, left + WIDTH, top + HEIGHT))


def figure(draw: Callable) -> Image.Image:
    """What matplotlib draws, at its default look, with labels, grid and legend."""
    figures, agg = require("matplotlib.figure"), require("matplotlib.backends.backend_agg")
    with require("matplotlib").rc_context(require("matplotlib").rcParamsDefault):
        made = figures.Figure((WIDTH / 100, HEIGHT / 100), dpi=100, layout="constrained")
        axis = made.subplots()
        draw(axis)
        axis.set_xlabel("rate")
        axis.set_ylabel("quality")
        axis.set_title("A chart")
        axis.grid(alpha=0.4)
        axis.legend(fontsize=9)
        surface = agg.FigureCanvasAgg(made)
        surface.draw()
        return Image.fromarray(np.asarray(surface.buffer_rgba())[..., :3].copy())


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: str) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words)).capitalize()


def clipped(line: str, length: int) -> str:
    return line if len(line) <= length else line[: length - 1] + "…"


def page(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, face: ImageFont.FreeTypeFont, box: tuple, ink: str
) -> None:
    """Lines of running text in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    y, line = float(top), ""
    while y + face.size <= bottom:
        word = str(rng.choice(WORDS))
        if draw.textlength(f"{line} {word}", face) > right - left:
            draw.text((left, y), line, ink, face)
            y, line = y + 1.4 * face.size, word
        else:
            line = f"{line} {word}".strip()


def listing(rng: np.random.Generator, draw: ImageDraw.ImageDraw, face: ImageFont.FreeTypeFont, box: tuple) -> None:
    """Lines that look like a program's, indented and in colours."""
    left, top, _, bottom = box
    y, depth, colours = top, 0, ("#d8dee9", "#81a1c1", "#a3be8c", "#d08770", "#b48ead")
    while y + face.size <= bottom:
        x = left + 4 * depth * draw.textlength("m", face)
        for _ in range(int(rng.integers(2, 7))):
            word = str(rng.choice(WORDS)) + str(rng.choice(["(", ") =", ".", " +", "[0]:", ","]))
            draw.text((x, y), word, str(rng.choice(colours)), face)
            x += draw.textlength(word + " ", face)
        depth = int(np.clip(depth + rng.integers(-1, 2), 0, 4))
        y += int(1.35 * face.size)


def window(draw: ImageDraw.ImageDraw, title: str, bar: str, ink: str, line: str) -> None:
    """A title bar with three buttons."""
    draw.rectangle((0, 0, WIDTH, 40), bar)
    draw.line((0, 40, WIDTH, 40), line)
    for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        disc(draw, 20 + 20 * number, 20, 6, colour)
    draw.text((WIDTH / 2, 12), title, ink, font("DejaVuSans-Bold", 14), "ma")


def sidebar(rng: np.random.Generator, draw: ImageDraw.ImageDraw, paper: str, ink: str, chosen: str) -> None:
    draw.rectangle((0, 41, 179, HEIGHT), paper)
    for row in range(9):
        y = 56 + 32 * row
        if row == 1:
            draw.rounded_rectangle((8, y - 5, 172, y + 21), 6, chosen)
        draw.text((20, y), clipped(sentence(rng, 2), 20), "#ffffff" if row == 1 else ink, font("DejaVuSans", 12))
