"""The post-filter a second time, straight from docs/FORMAT.md's sentences, pixel by pixel and without speed."""

import math
from collections.abc import Sequence
from itertools import chain, repeat

import numpy as np

SIZES = ((0, 1, 3, 4), (1, 4, 5, 5, 6, 7, 2), (4, 4, 4, 7, 7, 7, 8, 8, 8), (3,) * 12)
"""s of each term, by the rows of the table."""
CLIPPED = ((5,) * 12, (7,) * 4, (8,) * 4)
"""s of each plane's clipped pairs."""
STEPS = ((0, 1), (0, 2), (0, 3), (1, -2), (1, -1), (1, 0), (1, 1), (1, 2), (2, -1), (2, 0), (2, 1), (3, 0))


def weights(payload: bytes) -> list[list[float]]:
    """Of the planes Y, A, B: 44, 24 and 24."""
    bits = chain("".join(f"{byte:08b}" for byte in payload), repeat("0"))

    def whole(count: int) -> int:
        return int("0" + "".join(next(bits) for _ in range(count)), 2)

    def group(sizes: tuple[int, ...]) -> list[float]:
        order, found = whole(3) - 1, list[float]()
        for size in sizes:
            number = 0
            if order >= 0:
                zeros = 0
                while next(bits) == "0":
                    zeros += 1
                u = 2 ** (zeros + order) + whole(zeros + order) - 2**order
                number = (u + 1) // 2 if u % 2 else -u // 2
            found.append(number * 2.0 ** (size - e))
        return found

    e = whole(4)
    planes = [[weight for sizes in SIZES[: 3 if plane else 4] for weight in group(sizes)] for plane in range(3)]
    return [own + group(sizes) for own, sizes in zip(planes, CLIPPED, strict=True)]


def filtered(levels: np.ndarray, payload: bytes, row: int, column: int) -> tuple[float, float, float]:
    """Red, green and blue of a pixel before they are rounded. levels: uint8 (H, W, 3), the decoded picture."""
    height, width, _ = levels.shape

    def planes(down: int = 0, right: int = 0) -> tuple[float, float, float]:
        place = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
        r, g, b = (int(level) / 127.5 - 1 for level in levels[place])
        return (r + g + b) / 3, (r - b) / math.sqrt(6), (2 * g - r - b) / math.sqrt(18)

    def mean(plane: int, side: int) -> float:
        steps = range(-(side // 2), side // 2 + 1)
        return sum(planes(down, right)[plane] for down in steps for right in steps) / side**2

    def clipped(plane: int, steps: Sequence[tuple[int, int]], most: float) -> list[float]:
        def difference(down: int, right: int) -> float:
            return min(max(planes(down, right)[plane] - planes()[plane], -most), most)

        return [difference(down, right) + difference(-down, -right) for down, right in steps]

    y, a, b = planes()
    terms = [1, y, a, b, y * y, y * a, y * b, a * a, a * b, b * b, y**3]
    for plane, p in enumerate((y, a, b)):
        m3, m5, m9 = (mean(plane, side) for side in (3, 5, 9))
        terms += [p - m3, m3 - m5, m5 - m9]
    pairs = [planes(down, right)[0] + planes(-down, -right)[0] - 2 * y for down, right in STEPS]
    own = [terms + pairs + clipped(0, STEPS, 1 / 16)]
    own += [terms + clipped(plane, [STEPS[0], STEPS[4], STEPS[5], STEPS[6]], 1 / 64) for plane in (1, 2)]
    y, a, b = (
        p + sum(w * term for w, term in zip(*both, strict=True))
        for p, *both in zip((y, a, b), weights(payload), own, strict=True)
    )
    red = y + a * math.sqrt(6) / 2 - b * math.sqrt(18) / 6
    green = y + b * math.sqrt(18) / 3
    blue = y - a * math.sqrt(6) / 2 - b * math.sqrt(18) / 6
    return (red + 1) * 127.5, (green + 1) * 127.5, (blue + 1) * 127.5
