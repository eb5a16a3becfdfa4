"""The post-filter of a picture: whole numbers that take more off its squared error than their bits are worth.

    decoded, original ─▶ terms of every nth row ─▶ normal equations ─▶ least squares ─▶ whole numbers
                                                                                               one at a time

Error plus bits at their worth, in whole numbers: the one changes for which that pays most, all others being what they
are, until it pays for none. From zero on, and from the rounded least squares; the better end is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from leechcodec.detail.transform import CHANNELS
from leechcodec.postfilter.coding import FINEST, LARGEST, best_order, bits_of
from leechcodec.postfilter.terms import MARGIN, SHIFTS, TERMS, around, groups, planes_of, terms

SAMPLED = 1 << 17
"""Pixels that the equations are made of, about: rows from top to bottom. As many in a few strips fit these alone, and
lose half of the gain at low rates."""
_AT_ONCE = 1 << 15
"""Pixels whose terms are in memory together, where a row has no more."""
COARSER = 2
"""Of the step that theory gives: numbers that become zero save more than it counts."""
_CHANGES = 2000
"""At most: some hundred are usual."""
_RIDGE = 1e-3
"""What a number's square costs in bits: terms that are alike, as those of a grey picture, have no single answer."""


@dataclass(frozen=True)
class Equations:
    """Normal equations of the terms' weights, sums over sampled pixels.

    products: float64 (52, 52), of two terms. targets: float64 (52, 3), of a term and what a plane lacks. pixels: how
    many. Planes are those of terms.py, of which a pixel's squared error in levels is 3 · 127.5² times the sum.
    """

    products: np.ndarray
    targets: np.ndarray
    pixels: int


def equations(original: np.ndarray, decoded: np.ndarray) -> Equations:
    """Of pictures, uint8 (H, W, 3), all their rows or every so many."""
    height, width, _ = decoded.shape
    rows = np.arange(0, height, spacing(height, width))
    products, targets, count = np.zeros((TERMS, TERMS)), np.zeros((TERMS, CHANNELS)), max(1, _AT_ONCE // width)
    for start in range(0, len(rows), count):
        own = rows[start : start + count]
        near = [planes_of(around(decoded, own + step)) for step in range(-MARGIN, MARGIN + 1)]
        found = np.stack([term.reshape(-1) for term in terms(near)])
        missing = planes_of(original[own]) - near[MARGIN][:, :, MARGIN:-MARGIN]
        products += found @ found.T
        targets += found @ missing.reshape(CHANNELS, -1).T
    return Equations(products, targets, len(rows) * width)


def spacing(height: int, width: int) -> int:
    """Of the rows that the equations are made of: odd, since networks draw four rows at a time, each in its own way."""
    return max(1, round(height * width / SAMPLED)) | 1


def fit(found: Equations, bit_worth: float, planes: int = CHANNELS) -> tuple[np.ndarray, int]:
    """Whole numbers (3, 52), int64, and e: their weights are numbers · 2^(shift - e) (coding.py).

    bit_worth: squared error of the sampled pixels' planes that one bit must save. planes: that are filtered, from the
        first on. All numbers are zero where none is worth its bits.
    """
    numbers = np.zeros((CHANNELS, TERMS), np.int64)
    # Where a step's rounding error, step² / 12 a pixel, changes by as much as half a bit is worth (high-rate theory).
    step = COARSER * math.sqrt(12 * bit_worth / (2 * math.log(2) * found.pixels))
    e = min(FINEST, max(0, round(-math.log2(step))))
    units = 2.0 ** (SHIFTS - e)
    products = found.products * np.outer(units, units) / bit_worth
    products[np.diag_indices(TERMS)] += _RIDGE
    for plane in range(planes):
        own = np.r_[groups(plane)]
        search = _Search(
            products[np.ix_(own, own)], (found.targets[:, plane] * units / bit_worth)[own], _side_by_side(groups(plane))
        )
        numbers[plane, own] = search.best()
    return numbers, e


def _side_by_side(apart: Sequence[slice]) -> list[slice]:
    """The places of slices' elements where these follow one another."""
    ends = np.cumsum([part.stop - part.start for part in apart]).tolist()
    return [slice(*places) for places in pairwise([0, *ends])]


def saved(found: Equations, weights: np.ndarray) -> float:
    """Squared error of the sampled pixels' planes that weights (3, 52) take away."""
    rest = 2 * found.targets.T - weights @ found.products
    return float((weights * rest).sum())


@dataclass(frozen=True)
class _Search:
    """For a plane's numbers n, of error n · products · n - 2 n · targets, in bits, and their codes.

    products: float64 (terms, terms). targets: float64 (terms,). groups: the terms of each.
    """

    products: np.ndarray
    targets: np.ndarray
    groups: Sequence[slice]

    def best(self) -> np.ndarray:
        """Of the ends of two descents: float64 (terms,), whole."""
        least_squares = np.linalg.solve(self.products, self.targets).round().clip(-LARGEST, LARGEST)
        return min(map(self._descended, (np.zeros(len(self.targets)), least_squares)), key=self._cost)

    def _descended(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers after changes of one at a time, always the one that pays most, until none does."""
        numbers, rest = numbers.copy(), self.targets - self.products @ numbers
        sizes, orders, count = self.products.diagonal(), np.zeros(len(numbers), int), len(numbers)
        for change in range(_CHANGES):
            if change % count == 0:
                for group in self.groups:
                    orders[group] = best_order(numbers[group])[0]
            best = (rest / sizes + numbers).clip(-LARGEST, LARGEST)
            choices = np.stack([numbers, np.zeros(count), np.floor(best), np.ceil(best)])
            costs = sizes * (choices - best) ** 2 + bits_of(choices, orders)
            gains = costs[0] - costs.min(0)
            term = int(gains.argmax())
            if gains[term] > 0:
                chosen = choices[costs[:, term].argmin(), term]
                rest -= self.products[term] * (chosen - numbers[term])
                numbers[term] = chosen
            elif change % count == 0:
                break
        return numbers

    def _cost(self, numbers: np.ndarray) -> float:
        bits = sum(best_order(numbers[group])[1] for group in self.groups if numbers[group].any())
        return float(numbers @ (self.products @ numbers - 2 * self.targets)) + bits
