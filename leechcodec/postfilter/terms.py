"""What the post-filter adds up: terms, maps that a decoder makes of the decoded picture.

    levels ─▶ planes: luma, two chromas ─┬─▶ 1, each plane              4   colours
                                         ├─▶ their products, luma³      7   tones
                                         ├─▶ box means, differences     9   sharpness of each plane
                                         ├─▶ opposite neighbours        12  edges, of luma for luma alone
                                         └─▶ the same, clipped          12, 4, 4  textures, of each plane for itself
    plane + Σ weight · term ─▶ levels

A network is right in the mean of all pictures; in a single one its colours, contrasts and edges are a little off, and
in the same way all over. (Cf. the adaptive loop filter of H.266/VVC: Tsai et al., "Adaptive Loop Filtering for Video
Coding", IEEE J-STSP 2013; its clipped differences: Taquet et al., "Non-Linear Adaptive Loop Filter", PCS 2019.)
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np

from leechcodec.detail.transform import CHANNELS, COLOUR

MARGIN = 4
"""Pixels on either side that a term looks at; beyond the picture its border is repeated."""
COLOURS, TONES, BANDS, PAIRS = slice(0, 4), slice(4, 11), slice(11, 20), slice(20, 32)
"""The terms of each group."""
CLIPPED = (slice(32, 44), slice(44, 48), slice(48, 52))
"""Of each plane's clipped pairs."""
TERMS = CLIPPED[-1].stop
PRODUCTS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
BOXES = (3, 5, 9)
"""Sides of the squares whose means are compared."""
STEPS = tuple(
    (down, right)
    for down in range(4)
    for right in range(-3, 4)
    if 0 < down + abs(right) < 4 and (down > 0 or right > 0)
)
"""From the middle to one of a pair of opposite neighbours, three pixels away at most: rows, columns."""
NEAREST = tuple(step for step in STEPS if max(map(abs, step)) == 1)
CLIPPED_STEPS = (STEPS, NEAREST, NEAREST)
"""The pairs of each plane whose differences from the middle are clipped."""
LIMITS = (1 / 16, 1 / 64, 1 / 64)
"""Of these differences, with either sign: eight levels of grey. A strong edge is no texture."""
SHIFTS = np.array(
    (0, 1, 3, 4) + (1, 4, 5, 5, 6, 7, 2) + (4, 4, 4, 7, 7, 7, 8, 8, 8) + (3,) * 12 + (5,) * 12 + (7,) * 4 + (8,) * 4
)
"""A term's usual size is 2^-shift: its weight is a whole number of 2^(shift - e), e being the file's."""
_PLANES = COLOUR / (127.5 * np.sqrt(CHANNELS))
_LEVELS = np.linalg.inv(_PLANES)


def groups(plane: int) -> tuple[slice, ...]:
    """Of the terms that a plane may take, in order."""
    return (COLOURS, TONES, BANDS, *(() if plane else (PAIRS,)), CLIPPED[plane])


def around(levels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a picture (H, W, 3), by number, with a margin of 4 columns: (n, W + 8, 3). Beyond the picture its border
    is repeated."""
    height, width, _ = levels.shape
    columns = np.arange(-MARGIN, width + MARGIN).clip(0, width - 1)
    return levels[rows.clip(0, height - 1)][:, columns]


def planes_of(levels: np.ndarray) -> np.ndarray:
    """Levels (H, W, 3), 0..255, as planes: float32 (3, H, W), luma within ±1, chroma within ±0.95."""
    height, width, _ = levels.shape
    middle = np.subtract(levels, 127.5, dtype=np.float32).reshape(-1, CHANNELS)
    return (_PLANES.astype(np.float32) @ middle.T).reshape(CHANNELS, height, width)


def levels_of(planes: np.ndarray) -> np.ndarray:
    """The inverse of :func:`planes_of`, rounded: uint8 (H, W, 3)."""
    levels = _LEVELS.astype(np.float32) @ planes.reshape(CHANNELS, -1)
    levels += np.float32(127.5)
    whole = levels.round(out=levels).clip(0, 255, out=levels).astype(np.uint8)
    return np.ascontiguousarray(whole.reshape(planes.shape).transpose(1, 2, 0))


def terms(rows: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """All terms of some rows, in order: float32 (n, w) each.

    rows: of three planes and those 4 above to 4 below them, float32 (3, n, w + 8) each, with a margin of 4 columns.
    """
    inside = rows[MARGIN][:, :, MARGIN:-MARGIN]
    yield np.ones_like(inside[0])
    yield from inside
    for a, b in PRODUCTS:
        yield inside[a] * inside[b]
    yield inside[0] ** 3
    for plane, own in enumerate(inside):
        finer = own
        for side in BOXES:
            coarser = box_mean(rows, plane, side)
            yield finer - coarser
            finer = coarser
    for down, right in STEPS:
        yield _moved(rows, 0, down, right) + _moved(rows, 0, -down, -right) - 2 * inside[0]
    for plane, (steps, limit) in enumerate(zip(CLIPPED_STEPS, LIMITS, strict=True)):
        for down, right in steps:
            first = _moved(rows, plane, down, right) - inside[plane]
            second = _moved(rows, plane, -down, -right) - inside[plane]
            yield first.clip(-limit, limit) + second.clip(-limit, limit)


def filtered(planes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Planes without their margin of 4, and what weights (3, 52) add to them: float32 (3, h, w).

    planes: float32 (3, h + 8, w + 8). This is the plain form of kernels.py.
    """
    result = planes[:, MARGIN:-MARGIN, MARGIN:-MARGIN].copy()
    rows = [planes[:, start : start + result.shape[1]] for start in range(2 * MARGIN + 1)]
    for term, own in zip(terms(rows), weights.astype(np.float32).T, strict=True):
        result += own[:, None, None] * term
    return result


def box_mean(rows: Sequence[np.ndarray], plane: int, side: int) -> np.ndarray:
    """Of the square around every position: (n, w)."""
    reach = range(-(side // 2), side // 2 + 1)
    above = reduce(add, (rows[MARGIN + step][plane] for step in reach))
    beside = reduce(add, (above[:, MARGIN + step : above.shape[1] - MARGIN + step] for step in reach))
    return beside * np.float32(1 / side**2)


def _moved(rows: Sequence[np.ndarray], plane: int, down: int, right: int) -> np.ndarray:
    """A plane so many rows and columns further: (n, w)."""
    own = rows[MARGIN + down][plane]
    return own[:, MARGIN + right : own.shape[1] - MARGIN + right]
