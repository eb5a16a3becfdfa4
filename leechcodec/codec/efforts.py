"""What an effort costs: its steps, and the tiles that an image is refined in (refinement.py). No torch."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

from leechcodec.codec.arguments import is_whole
from leechcodec.config import ALIGNMENT
from leechcodec.errors import ConfigError

STEPS = {1: 0, 2: 1, 3: 5, 4: 8, 5: 12, 6: 20, 7: 35, 8: 60, 9: 100}
"""Steps of an effort 1..9: the first is the second look, the others go down the gradient."""
TILE_AREA = 768 * 512
"""Pixels of an image that is one tile. A step takes 2 to 2.5 kB of memory a pixel (bf16, float32) of a tile and its
margin ..."""
PART_AREA = TILE_AREA // 2
"""... so those of larger images are smaller: a margin goes around them."""
MARGIN = ALIGNMENT
"""Pixels around a tile that are computed with it."""


def check_effort(effort: object) -> None:
    """Raises ConfigError for an effort that is none."""
    if not is_whole(effort) or effort not in STEPS:
        raise ConfigError(f"effort must be a whole number from 1 to 9, got {effort}")


def steps_in_all(effort: int, height: int, width: int) -> int:
    """Steps that an image of that size takes, over all its tiles. Raises ConfigError for an effort that is none."""
    check_effort(effort)
    return STEPS[effort] * len(list(tiles(Box(0, height, 0, width))))


class Allowance:
    """How many steps a tile gets: those of its effort, or as many as fit its share of the time left.

    deadline: by time.monotonic(), None for as long as it takes. tiles: that are still to be refined, this one too.
    """

    LOOK, STEP = 1.5, 3.0
    """What the second look and a gradient step take, in evaluations of the loss: one, and the analysis transform; one,
    and its gradient."""

    def __init__(self, most: int, deadline: float | None, tiles: int = 1) -> None:
        self._most, self._begun = most, time.monotonic()
        self._seconds = math.inf if deadline is None else (deadline - self._begun) / tiles

    @property
    def is_used_up(self) -> bool:
        """Before anything was computed."""
        return self._seconds <= 0

    def steps(self, done: int) -> int:
        """In all, as it looks after so many, one evaluation before the first of them and two to come after the last."""
        if math.isinf(self._seconds):
            return self._most
        evaluations = 1 + (self.LOOK + self.STEP * (done - 1) if done else 0)
        fitting = self._seconds * evaluations / max(time.monotonic() - self._begun, 1e-9) - 3 - self.LOOK
        return min(self._most, max(done, 1 + math.floor(fitting / self.STEP)))


class Box(NamedTuple):
    """A rectangle of pixels, its sides multiples of 64."""

    top: int
    bottom: int
    left: int
    right: int

    def at(self, stride: int) -> tuple[slice, slice]:
        """Rows and columns of a map at a stride."""
        return slice(self.top // stride, self.bottom // stride), slice(self.left // stride, self.right // stride)

    def inside(self, other: "Box") -> "Box":
        """The same rectangle, counted from another's corner."""
        return Box(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)

    def widened(self, height: int, width: int) -> "Box":
        """With the margin around it, as far as the image goes."""
        return Box(
            max(0, self.top - MARGIN),
            min(height, self.bottom + MARGIN),
            max(0, self.left - MARGIN),
            min(width, self.right + MARGIN),
        )


def tiles(box: Box) -> Iterator[Box]:
    """A box, or halved, the longer side first, until its parts are small enough."""
    yield from _parts(box, TILE_AREA)


def _parts(box: Box, area: int) -> Iterator[Box]:
    height, width = box.bottom - box.top, box.right - box.left
    if height * width <= area:
        yield box
        return
    if height > width:
        middle = box.top + _half(height)
        halves = box._replace(bottom=middle), box._replace(top=middle)
    else:
        middle = box.left + _half(width)
        halves = box._replace(right=middle), box._replace(left=middle)
    for half in halves:
        yield from _parts(half, PART_AREA)


def _half(side: int) -> int:
    return math.ceil(side / 2 / ALIGNMENT) * ALIGNMENT
