"""The detail layer's decoding a second time, straight from docs/FORMAT.md's sentences, coefficient by coefficient.

Python integers in place of arrays and no speed. Only the code of a point is the codec's own, which has a reference
beside it (entropy_reference.py, tests/entropy/test_point_coding.py).
"""

import math
import struct
import zlib
from fractions import Fraction

import numpy as np

from leechcodec.entropy.point_coding import code_points
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.range_coder import TokenDecoder

ROOTS = (65536, 55109, 46341, 38968)
EDGES = (1, 3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280)
STRIP_PIXELS = 2**22
Place = tuple[int, int, int, int]
"""Channel, band, row and column of blocks."""


def strips(payload: bytes, size: tuple[int, int]) -> list["Reference"]:
    """A sound chunk, strip by strip."""
    (height, width), found = size, []
    if not payload[1] & 0x80:
        return [Reference(payload, size)]
    rows = 8 * max(1, STRIP_PIXELS // (8 * width))
    for top in range(0, height, rows):
        (length,) = struct.unpack_from("<H", payload)
        length -= 2**15
        (stream,) = struct.unpack_from("<I", payload, 2 + length)
        end = 6 + length + stream
        data = struct.pack("<H", length) + payload[2 : 2 + length] + payload[6 + length : end]
        found.append(Reference(data, (min(rows, height - top), width), top))
        payload = payload[end:]
    return found


class Reference:
    """Decodes one sound strip. points: the coordinates that are not zero, by place. above: rows of pixels above it."""

    def __init__(self, data: bytes, size: tuple[int, int], above: int = 0) -> None:
        self.above = above // 8
        self.rows, self.columns = -(-size[0] // 8), -(-size[1] // 8)
        (length,) = struct.unpack_from("<H", data)
        head = zlib.decompress(data[2 : 2 + length], wbits=-15)
        self.step, self.quality = struct.unpack_from("<HH", head)
        self.bands, self.shifts, self.windows = head[4:196], head[196:436], head[436:652]
        self.sizes: dict[Place, int] = {}
        self.points: dict[Place, int] = {}
        coder, number = TokenDecoder(data[2 + length :]), 0
        for least, most in ((0, 2), (3, 5), (6, 14)):
            group = [k for k in range(64) if least <= k // 8 + k % 8 <= most]
            near = [k for k in range(64) if least - 3 <= k // 8 + k % 8 < least]
            for channels in ((0,), (1, 2)):
                for odd in (0, 1):
                    self._decode_pass(coder, number, channels, group, near, odd)
                    number += 1
        coder.finish()

    def _decode_pass(
        self, coder: TokenDecoder, number: int, channels: tuple[int, ...], group: list[int], near: list[int], odd: int
    ) -> None:
        places: list[Place] = [
            (c, k, row, column)
            for c in channels
            for k in group
            for row in range(self.rows)
            for column in range(self.columns)
            if (row + column) % 2 == odd
        ]
        scales = {place: self._scale(place, number, group, near, odd) for place in places}
        places = sorted(places, key=lambda place: -scales[place])  # sorted() is stable
        loud = sum(scales[place] > 0 for place in places)
        tokens = [places[start : start + 24] for start in range(0, loud, 24)]
        for octave in range(17, -1, -1):
            chosen = [token for token in tokens if scales[token[0]] // 4 == octave]
            if not chosen:
                continue
            index = np.array([[scales[place] for place in token] + [0] * (24 - len(token)) for token in chosen])
            tables = ScoreTables.of(scores(self.windows[18 * number + octave]))
            for token, point in zip(chosen, code_points(coder, tables, index).tolist(), strict=True):
                self.points |= {place: value for place, value in zip(token, point) if value}
        for place in places:
            s = self.bands[64 * place[0] + place[1]]
            unit = max(1, ROOTS[s % 4] * 2**11 // 2 ** (s // 4) // 2**16)
            self.sizes[place] = min(2**24, abs(self.points.get(place, 0)) * unit)

    def _scale(self, place: Place, number: int, group: list[int], near: list[int], odd: int) -> int:
        level = sum(edge <= self._mean(place, group, near, odd) for edge in EDGES)
        band, shift = self.bands[64 * place[0] + place[1]], self.shifts[20 * number + level]
        return min(max(band + shift - 32, 0), 71) if band and shift else 0

    def _mean(self, place: Place, group: list[int], near: list[int], odd: int) -> int:
        c, k, row, column = place
        total, weight = 0, 0
        if odd:
            total += 3 * self._beside(c, [k], row, column) + 3 * self._beside(c, group, row, column) // len(group)
            weight += 6
        if near:
            total += (4 * self._sum(c, near, row, column) + 2 * self._beside(c, near, row, column)) // len(near)
            weight += 6
        if c:
            total += self._sum(0, [k], row, column) + self._sum(0, group, row, column) // len(group)
            weight += 2
        return total // max(weight, 1)

    def _sum(self, c: int, bands: list[int], row: int, column: int) -> int:
        return sum(self.sizes.get((c, k, row, column), 0) for k in bands)

    def _beside(self, c: int, bands: list[int], row: int, column: int) -> int:
        around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        return sum(self._sum(c, bands, *block) for block in around) // 4

    def residual(self, decoded: np.ndarray, row: int, column: int) -> tuple[float, float, float]:
        """What is added to a pixel's red, green and blue, in levels. decoded: the picture of the tokens, (H, W, 3)."""
        channels, block_step = [0.0, 0.0, 0.0], _block_step(decoded, row // 8, column // 8)
        for (c, k, *block), value in self.points.items():
            if block == [row // 8 - self.above, column // 8]:
                wave = _wave(k // 8, row % 8) * _wave(k % 8, column % 8)
                channels[c] += value * self.step / 1024 * block_step * _frequency_step(k) * wave
        y, orange, green = channels[0] / math.sqrt(3), channels[1] / math.sqrt(2), channels[2] / math.sqrt(6)
        return y + orange - green, y + 2 * green, y - orange - green


def _block_step(decoded: np.ndarray, row: int, column: int) -> float:
    """Multiples of the file's step in a block."""
    rows, columns = (-(-side // 8) for side in decoded.shape[:2])
    squares = [_busy(decoded, r, c) ** 2 for r in range(rows) for c in range(columns)]
    return _busy(decoded, row, column) / math.sqrt(math.fsum(squares) / len(squares))


def _busy(decoded: np.ndarray, row: int, column: int) -> float:
    beside = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    total = 4 * _variance(decoded, row, column) + math.fsum(_variance(decoded, *one) for one in beside)
    return (total / 8 + 9) ** (1 / 16)


def _variance(decoded: np.ndarray, row: int, column: int) -> float:
    """Of luma in a block; beyond the border, in the nearest one."""
    height, width = decoded.shape[:2]
    row, column = min(max(row, 0), (height - 1) // 8), min(max(column, 0), (width - 1) // 8)
    rows = [min(8 * row + place, height - 1) for place in range(8)]
    columns = [min(8 * column + place, width - 1) for place in range(8)]
    values = [sum(map(int, decoded[r, c])) / math.sqrt(3) for r in rows for c in columns]
    mean = math.fsum(values) / 64
    return math.fsum((value - mean) ** 2 for value in values) / 64


def scores(window: int) -> np.ndarray:
    """Of the values of a window of 2^window, for every scale: int64 (72, 2^window)."""
    values = range(-(2**window) // 2, 2**window // 2)
    return np.array(
        [[-((ROOTS[s % 4] * 2**10 // 2 ** (s // 4) * abs(v) + 2**15) // 2**16) for v in values] for s in range(72)]
    )


def _frequency_step(k: int) -> float:
    """Multiples of the file's step in a band."""
    steps = [1 + math.hypot(band // 8, band % 8) / 16 for band in range(64)]
    return steps[k] / math.sqrt(math.fsum(step**2 for step in steps) / 64)


def _wave(u: int, place: int) -> float:
    """An orthonormal DCT's basis."""
    return math.sqrt(Fraction(2 - (u == 0), 8)) * math.cos(math.pi * u * (2 * place + 1) / 16)
