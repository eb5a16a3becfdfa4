"""Find the dial's value that meets a target: a file's size, or its PSNR.

Size and PSNR rise with quality, up to a per cent or so of noise: interpolation between the two values that enclose
the target, with a bisection step whenever that stalls. Where measuring is dear and a rough measure is not (the same
image without refinement), the rough one is searched, for the target less what the two differ by where both are known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from leechcodec.config import MAX_QUALITY, MIN_QUALITY, QUALITY_UNIT
from leechcodec.errors import TargetError

LOWEST, HIGHEST = float(MIN_QUALITY), float(MAX_QUALITY)
MAX_TRIALS = 14
MAX_GUIDED = 4
"""Values measured where a rough measure leads, before the search goes on without it."""
RATE_TOLERANCE = 0.02
"""A size may stay below its target by that share."""
FINEST = 1 / QUALITY_UNIT
"""Steps of the dial, as the header holds it."""
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


def best_within_size(
    measure: Callable[[float], int], target: float, rough: Callable[[float], int] | None = None
) -> Found:
    """The highest quality whose file is no larger than a target, both in bytes.

    measure: the size of the file at a quality 1..100, asked once for each. rough: about the same, for much less work.
    ``close`` is false where even the highest quality stays more than 2 % below the target, or the dial jumps over it.
    Raises TargetError where even the lowest is larger.
    """
    _check(target)
    size, rough_size = cache(measure), rough and cache(rough)
    quality = _highest_below(
        lambda q: math.log(size(q)),
        rough_size and (lambda q: math.log(rough_size(q))),
        math.log(target),
        -math.log(1 - RATE_TOLERANCE),
    )
    if quality is None:
        raise TargetError(f"cannot reach {target:,.0f} bytes: the lowest quality needs {size(LOWEST):,}")
    return Found(quality, size(quality), size(quality) >= target * (1 - RATE_TOLERANCE))


def least_for_psnr(
    measure: Callable[[float], float], target: float, rough: Callable[[float], float] | None = None
) -> Found:
    """The lowest quality whose PSNR is no less than a target, both in dB.

    measure: PSNR at a quality 1..100, asked once for each. rough: about the same, for much less work. ``close`` is
    false where even the lowest quality is more than 0.05 dB better, or the dial jumps over the target. Raises
    TargetError where even the highest is worse.
    """
    _check(target)
    psnr, rough_psnr = cache(measure), rough and cache(rough)

    def mirrored(place: float) -> float:
        return round(LOWEST + HIGHEST - place, 2)

    place = _highest_below(
        lambda p: -psnr(mirrored(p)), rough_psnr and (lambda p: -rough_psnr(mirrored(p))), -target, PSNR_TOLERANCE
    )
    if place is None:
        raise TargetError(f"cannot reach {target:g} dB: the highest quality gives {psnr(HIGHEST):.2f} dB")
    quality = mirrored(place)
    return Found(quality, psnr(quality), psnr(quality) <= target + PSNR_TOLERANCE)


Measure = Callable[[float], float]
"""Of a place on the dial, rising with it; cheap for a place that was asked for before."""


def _highest_below(measure: Measure, rough: Measure | None, limit: float, tolerance: float) -> float | None:
    """A place with limit - tolerance <= measure <= limit, else the highest one found that is not above the limit. None
    where the lowest is."""
    known = _guided(measure, rough, limit, tolerance) if rough else {}
    low = max((place for place, value in known.items() if value <= limit), default=LOWEST)
    high = min((place for place, value in known.items() if value > limit and place > low), default=HIGHEST)
    return _between(measure, low, high, limit, tolerance)


def _guided(measure: Measure, rough: Measure, limit: float, tolerance: float) -> dict[float, float]:
    """Values near the limit, at the places where a rough measure meets the limit less what the two differed by at the
    last one. Ends where one is close, or two enclose a jump over the limit."""
    known: dict[float, float] = {}
    difference = 0.0
    while len(known) < MAX_GUIDED:
        aim = limit - difference - tolerance / 4  # a quarter at either end for another difference at the new place
        place = _between(rough, LOWEST, HIGHEST, aim, tolerance / 2)
        if place is None or place in known:
            break
        value = known[place] = measure(place)
        if limit - tolerance <= value <= limit:
            break
        if value <= limit and rough(place) < aim - tolerance / 2 and place < HIGHEST:
            place = round(place + FINEST, 2)  # the rough measure jumps here; does this one?
            value = known[place] = measure(place)
            if value > limit:
                break
        difference = value - rough(place)
    return known


def _between(measure: Measure, lowest: float, highest: float, limit: float, tolerance: float) -> float | None:
    """The same as :func:`_highest_below`, between two places."""
    low: tuple[float, float] = (lowest, measure(lowest))
    high: tuple[float, float] = (highest, measure(highest))
    if low[1] > limit:
        return None
    if high[1] <= limit:
        return highest
    for trial in range(MAX_TRIALS):
        if low[1] >= limit - tolerance or high[0] - low[0] < 1.5 * FINEST:
            break
        share: float = 0.5 if trial % 3 == 2 else (limit - tolerance / 2 - low[1]) / max(high[1] - low[1], 1e-9)
        step = min(max(share, 0.02), 0.98) * (high[0] - low[0])
        place = min(max(round(low[0] + step, 2), round(low[0] + FINEST, 2)), round(high[0] - FINEST, 2))
        value = measure(place)
        if value <= limit:
            low = (place, value)
        else:
            high = (place, value)
    return low[0]


def _check(target: float) -> None:
    if not 0 < target < math.inf:
        raise TargetError(f"a target must be a positive number, got {target:g}")
