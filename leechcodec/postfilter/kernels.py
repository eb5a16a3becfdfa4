"""The post-filter's sum over its terms, row by row, in one pass. Its plain form: :func:`terms.filtered`.

three planes ─▶ a row's sums of 3, 5, 9 above one another ─▶ of 3, 5, 9 side by side ─▶ + weights · differences

Pairs whose weight is zero, as most have, take no time.
"""

from typing import Any

import numpy as np

from leechcodec import compiled
from leechcodec.detail.transform import CHANNELS
from leechcodec.postfilter.terms import BANDS, BOXES, CLIPPED, LIMITS, MARGIN, NEAREST, PAIRS, STEPS, TONES

_OPTIONS: dict[str, Any] = {"fastmath": {"contract", "nsz"}}
entry, inner = compiled.entry(**_OPTIONS), compiled.inner(**_OPTIONS)
_THIRD, _FIFTH, _NINTH = (np.float32(1 / side**2) for side in BOXES)
_TONES, _CUBE, _BANDS, _PAIRS = TONES.start, TONES.stop - 1, BANDS.start, PAIRS.start
_FIRST_CLIPPED = tuple(part.start for part in CLIPPED)
_LIMITS = tuple(np.float32(limit) for limit in LIMITS)
_DOWN, _RIGHT = zip(*STEPS, strict=True)
_DOWN_NEAREST, _RIGHT_NEAREST = zip(*NEAREST, strict=True)


def filtered(planes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What :func:`terms.filtered` gives, but for the order of its sums."""
    result = planes[:, MARGIN:-MARGIN, MARGIN:-MARGIN].copy()
    columns = np.empty((len(BOXES), planes.shape[2]), np.float32)
    _filter(np.ascontiguousarray(planes), weights.astype(np.float32), columns, result)
    return result


@entry
def _filter(planes, weights, columns, result):
    """Adds all terms to result (3, h, w). planes: (3, h + 8, w + 8). columns: room, (3, w + 8)."""
    for row in range(result.shape[1]):
        _add_points(planes[:, row + MARGIN], weights, result[:, row])
        for plane in range(CHANNELS):
            _add_bands(planes[plane], weights[:, _BANDS + 3 * plane : _BANDS + 3 * plane + 3], columns, result, row)
        _add_pairs(planes[0], weights[0, _PAIRS:], result[0, row], row)
        own = weights[0, _FIRST_CLIPPED[0] :]
        _add_clipped(planes[0], own, _LIMITS[0], _DOWN, _RIGHT, result[0, row], row)
        for plane in range(1, CHANNELS):
            own = weights[plane, _FIRST_CLIPPED[plane] :]
            _add_clipped(planes[plane], own, _LIMITS[plane], _DOWN_NEAREST, _RIGHT_NEAREST, result[plane, row], row)


@inner
def _add_points(planes, weights, result):
    for plane in range(CHANNELS):
        own = weights[plane]
        for column in range(result.shape[1]):
            a, b, c = planes[0, column + MARGIN], planes[1, column + MARGIN], planes[2, column + MARGIN]
            total = own[0] + own[1] * a + own[2] * b + own[3] * c
            total += a * (own[_TONES] * a + own[_TONES + 1] * b + own[_TONES + 2] * c + own[_CUBE] * a * a)
            total += own[_TONES + 3] * b * b + own[_TONES + 4] * b * c + own[_TONES + 5] * c * c
            result[plane, column] += total


@inner
def _add_bands(plane, weights, columns, result, row):
    for column in range(columns.shape[1]):
        three = plane[row + 3, column] + plane[row + 4, column] + plane[row + 5, column]
        five = three + plane[row + 2, column] + plane[row + 6, column]
        columns[0, column], columns[1, column] = three, five
        columns[2, column] = (
            five + plane[row + 1, column] + plane[row + 7, column] + plane[row, column] + plane[row + 8, column]
        )
    for column in range(result.shape[2]):
        three = five = nine = np.float32(0)
        for step in range(3):
            three += columns[0, column + 3 + step]
        for step in range(5):
            five += columns[1, column + 2 + step]
        for step in range(9):
            nine += columns[2, column + step]
        three, five, nine = three * _THIRD, five * _FIFTH, nine * _NINTH
        fine, middle, coarse = plane[row + MARGIN, column + MARGIN] - three, three - five, five - nine
        for channel in range(CHANNELS):
            own = weights[channel]
            result[channel, row, column] += own[0] * fine + own[1] * middle + own[2] * coarse


@inner
def _add_pairs(luma, weights, result, row):
    for pair in range(len(_DOWN)):
        own = weights[pair]
        if own == 0:
            continue
        above, below = luma[row + MARGIN - _DOWN[pair]], luma[row + MARGIN + _DOWN[pair]]
        left, right = MARGIN - _RIGHT[pair], MARGIN + _RIGHT[pair]
        for column in range(result.shape[0]):
            middle = luma[row + MARGIN, column + MARGIN]
            result[column] += own * (below[column + right] + above[column + left] - 2 * middle)


@inner
def _add_clipped(plane, weights, limit, steps_down, steps_right, result, row):
    for pair in range(len(steps_down)):
        own = weights[pair]
        if own == 0:
            continue
        above, below = plane[row + MARGIN - steps_down[pair]], plane[row + MARGIN + steps_down[pair]]
        left, right = MARGIN - steps_right[pair], MARGIN + steps_right[pair]
        for column in range(result.shape[0]):
            middle = plane[row + MARGIN, column + MARGIN]
            first = min(max(below[column + right] - middle, -limit), limit)
            second = min(max(above[column + left] - middle, -limit), limit)
            result[column] += own * (first + second)
