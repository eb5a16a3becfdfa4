"""Find the dial's value that meets a target: a file's size, or its PSNR.

Size and PSNR rise with quality, up to a per cent or so of noise: interpolation between the two values that enclose
the target, with a bisection step whenever that stalls.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from leechcodec.errors import TargetError

LOWEST, HIGHEST = 1.0, 100.0
MAX_TRIALS = 14
RATE_TOLERANCE = 0.02
"""A size may stay below its target by that share."""
PSNR_TOLERANCE = 0.05
"""A PSNR may exceed its target by so many dB."""


@dataclass(frozen=True)
class Found:
    """What a search for a target found."""

    quality: float
    """The dial's value, 1..100."""
    value: float
    """What it measures: bytes or dB."""
    close: bool
    """Whether that is within 2 % or 0.05 dB of the target."""


def best_within_size(measure: Callable[[float], int], target: float) -> Found:
    """The highest quality whose file is no larger than a target, both in bytes.

    measure: the size of the file at a quality 1..100. ``close`` is false where even the highest quality stays more
    than 2 % below the target. Raises TargetError where even the lowest is larger.
    """
    _check(target)
    sizes: dict[float, float] = {}

    def log_size(quality: float) -> float:
        sizes[quality] = measure(quality)
        return math.log(sizes[quality])

    limit = math.log(target)
    low = log_size(LOWEST)
    if low > limit:
        raise TargetError(f"cannot reach {target:,.0f} bytes: the lowest quality needs {sizes[LOWEST]:,}")
    quality = _highest_below(log_size, limit, low, -math.log(1 - RATE_TOLERANCE))
    return Found(quality, sizes[quality], sizes[quality] >= target * (1 - RATE_TOLERANCE))


def least_for_psnr(measure: Callable[[float], float], target: float) -> Found:
    """The lowest quality whose PSNR is no less than a target, both in dB.

    measure: PSNR at a quality 1..100. ``close`` is false where even the lowest quality is more than 0.05 dB better.
    Raises TargetError where even the highest is worse.
    """
    _check(target)
    values: dict[float, float] = {}

    def shortfall(mirrored: float) -> float:
        quality = round(LOWEST + HIGHEST - mirrored, 2)
        values[quality] = measure(quality)
        return -values[quality]

    best = shortfall(LOWEST)
    if best > -target:
        raise TargetError(f"cannot reach {target:g} dB: the highest quality gives {values[HIGHEST]:.2f} dB")
    quality = round(LOWEST + HIGHEST - _highest_below(shortfall, -target, best, PSNR_TOLERANCE), 2)
    return Found(quality, values[quality], values[quality] <= target + PSNR_TOLERANCE)


def _highest_below(measure: Callable[[float], float], limit: float, first: float, tolerance: float) -> float:
    """A dial value with limit - tolerance <= measure <= limit, else the highest one found that is not above the limit.

    first: measure(LOWEST), known not to be above the limit.
    """
    low, high = (LOWEST, first), (HIGHEST, measure(HIGHEST))
    if high[1] <= limit:
        return HIGHEST
    for trial in range(MAX_TRIALS):
        if low[1] >= limit - tolerance or high[0] - low[0] <= 0.01:
            break
        share = 0.5 if trial % 3 == 2 else (limit - tolerance / 2 - low[1]) / max(high[1] - low[1], 1e-9)
        step = min(max(share, 0.02), 0.98) * (high[0] - low[0])
        quality = min(max(round(low[0] + step, 2), round(low[0] + 0.01, 2)), round(high[0] - 0.01, 2))
        if not low[0] < quality < high[0]:
            break
        value = measure(quality)
        if value <= limit:
            low = (quality, value)
        else:
            high = (quality, value)
    return low[0]


def _check(target: float) -> None:
    if not 0 < target < math.inf:
        raise TargetError(f"a target must be a positive number, got {target:g}")
