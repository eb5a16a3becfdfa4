"""The post-filter's payload: whole numbers, group by group, in exponential Golomb codes.

    e: 4 bits ‖ for each plane, for each of its groups: 3 bits, 0 for all zero or 1 + k ‖ the group's codes of order k

A number n is coded as u = 2 |n|, less 1 where n is positive. The code of order k is v = u + 2^k in binary, with one 0
before it for each of its bits beyond the first k + 1. Highest bits first. Clipped pairs come after all others, and zero
bytes at the end are left out.
"""

from typing import Any

import numpy as np

from leechcodec.detail.transform import CHANNELS
from leechcodec.errors import CorruptError
from leechcodec.postfilter.terms import CLIPPED, SHIFTS, TERMS, groups

FINEST = 15
"""Largest e."""
ORDERS = 7
"""k is below."""
LARGEST = 2**17 - 1
"""Of the numbers, with either sign."""
_E_BITS, _ORDER_BITS = 4, 3
_ORDER = [(plane, group) for plane in range(CHANNELS) for group in groups(plane)[:-1]] + list(enumerate(CLIPPED))
"""Of the groups in a payload."""
_LONGEST = 19
"""Bits of the largest v."""
_TOO_LARGE = "the post-filter's chunk holds a number that is too large"


def weights_of(numbers: np.ndarray, e: int) -> np.ndarray:
    """Whole numbers (3, 52) as weights of the terms: float64, numbers · 2^(shift - e)."""
    return numbers * 2.0 ** (SHIFTS - e)


def bits_of(numbers: np.ndarray, order: int | np.ndarray) -> np.ndarray:
    """Lengths of the codes of whole numbers, int64, of their shape. order: for all, or for each of the last axis."""
    return 2 * np.frexp(_value(numbers, order))[1].astype(np.int64) - 1 - order


def best_order(numbers: np.ndarray) -> tuple[int, int]:
    """The order with the shortest codes of a group, and their length in bits."""
    lengths = [int(bits_of(numbers, order).sum()) for order in range(ORDERS)]
    return lengths.index(min(lengths)), min(lengths)


def pack(numbers: np.ndarray, e: int) -> bytes:
    """The payload. numbers: whole, (3, 52), within ±131,071, zero where a plane has no such term. e: 0..15."""
    bits = [f"{e:0{_E_BITS}b}"]
    for plane, group in _ORDER:
        own = numbers[plane, group]
        if not own.any():
            bits.append("0" * _ORDER_BITS)
            continue
        order = best_order(own)[0]
        bits.append(f"{1 + order:0{_ORDER_BITS}b}")
        for number in own.tolist():
            code = f"{_value(number, order):b}"
            bits.append("0" * (len(code) - 1 - order) + code)
    joined = "".join(bits)
    joined += "0" * (-len(joined) % 8)
    return int(joined, 2).to_bytes(len(joined) // 8, "big").rstrip(b"\0")


def unpack(payload: bytes) -> tuple[np.ndarray, int]:
    """The inverse of :func:`pack`. Raises CorruptError for what it does not give."""
    bits, numbers = _Bits(payload), np.zeros((CHANNELS, TERMS), np.int64)
    e = bits.take(_E_BITS)
    for plane, group in _ORDER:
        order = bits.take(_ORDER_BITS) - 1
        if order >= 0:
            numbers[plane, group] = [_number(bits, order) for _ in range(group.start, group.stop)]
    bits.end()
    return numbers, e


def _value(number: Any, order: Any) -> Any:
    """v of a number, or of an array's."""
    return 2 * abs(number) - (number > 0) + 2**order


def _number(bits: "_Bits", order: int) -> int:
    zeros = bits.zeros(_LONGEST - 1 - order)
    value = bits.take(1 + order + zeros) - (1 << order)
    number = (value + 1) // 2 if value % 2 else -(value // 2)
    if abs(number) > LARGEST:
        raise CorruptError(_TOO_LARGE)
    return number


class _Bits:
    """Of a payload, from the first on, and zeros without end after them."""

    def __init__(self, payload: bytes) -> None:
        self._bits, self._place = "".join(f"{byte:08b}" for byte in payload), 0

    def take(self, count: int) -> int:
        found = self._bits[self._place : self._place + count].ljust(count, "0")
        self._place += count
        return int(found, 2) if found else 0

    def zeros(self, most: int) -> int:
        """How many come before the next 1, which is not taken."""
        found = self._bits.find("1", self._place) - self._place
        if not 0 <= found <= most:
            raise CorruptError(_TOO_LARGE)
        self._place += found
        return found

    def end(self) -> None:
        if len(self._bits) >= self._place + 8 or "1" in self._bits[self._place :]:
            raise CorruptError("the post-filter's chunk goes on after its last number")
