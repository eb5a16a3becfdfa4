"""The post-filter of a picture: whole numbers that take more off its error than their bits are worth.

    normal equations ─▶ least squares ─▶ whole numbers, one at a time ─▶ numbers, e

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
from leechcodec.postfilter.equations import Equations
from leechcodec.postfilter.terms import SHIFTS, TERMS, groups

COARSER = 2
"""Of the step that theory gives: numbers that become zero save more than it counts."""
_CHANGES = 2000
"""At most: some hundred are usual."""
_RIDGE = 1e-3
"""What a number's square costs in bits: terms that are alike, as those of a grey picture, have no single answer."""


def fit(found: Equations, bit_worth: float, planes: int = CHANNELS) -> tuple[np.ndarray, int]:
    """Whole numbers (3, 52), int64, and e: their weights are numbers · 2^(shift - e) (coding.py).

    bit_worth: error of the sampled pixels' planes that one bit must save. planes: that are filtered, from the
        first on. All numbers are zero where none is worth its bits.
    """
    numbers = np.zeros((CHANNELS, TERMS), np.int64)
    # Where a step's rounding error, step² / 12 a pixel, changes by as much as half a bit is worth (high-rate theory).
    step = COARSER * math.sqrt(12 * bit_worth / (2 * math.log(2) * found.pixels))
    e = min(FINEST, max(0, round(-math.log2(step))))
    units = 2.0 ** (SHIFTS - e)
    products = found.products * np.outer(units, units) / bit_worth + _RIDGE * np.eye(TERMS)
    targets = found.targets * units / bit_worth
    for plane in range(planes):
        own = np.r_[groups(plane)]
        search = _Search(products[plane][np.ix_(own, own)], targets[plane, own], _side_by_side(groups(plane)))
        numbers[plane, own] = search.best()
    return numbers, e


def _side_by_side(apart: Sequence[slice]) -> list[slice]:
    """The places of slices' elements where these follow one another."""
    ends = np.cumsum([part.stop - part.start for part in apart]).tolist()
    return [slice(*places) for places in pairwise([0, *ends])]


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
