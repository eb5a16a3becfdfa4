"""Unstructured spherical codes of 2^k directions: random (RPQ) and spread evenly (a Fibonacci lattice).

A direction is stored as an integer vector of length about 127, so its error is about 10^-4 of its squared length.
"""

from functools import cache

import numpy as np

from leechcodec.errors import ConfigError
from leechcodec.quantizers.base import INITIAL_RADIUS
from leechcodec.quantizers.table import TableQuantizer, check_list

LENGTH = 127
"""Of a codeword in integer units, before its entries are rounded."""
SEED = 0


class DirectionsSQ(TableQuantizer):
    """Nearest of a list of directions."""

    def __init__(self, name: str, directions: np.ndarray) -> None:
        codebook = np.rint(LENGTH * directions).astype(np.int8)
        if len(np.unique(codebook, axis=0)) < len(codebook):
            raise ConfigError(f"{name}: two of the directions are the same integer vector")
        super().__init__(codebook)
        self.name = name
        self.norm_squared = LENGTH**2
        self.max_entry = LENGTH

    @property
    def initial_spread(self) -> float:
        """Whatever z's length: a usual one, not the 26 a coordinate of the integer vectors."""
        return INITIAL_RADIUS


class RPQ(DirectionsSQ):
    """Random projection quantization: 2^k normalised vectors from a seeded normal distribution.

    Chiu et al., "Self-supervised Learning with Random-projection Quantizer for Speech Recognition", arXiv 2202.01855;
    as a baseline in Zhao et al., arXiv 2512.14697. The directions are stored with a model.
    """

    def __init__(self, dim: int, bits: int) -> None:
        check_list("RPQ", dim, bits, least=2)
        super().__init__(f"rpq-{dim}-{bits}", random_directions(dim, bits))


class FibonacciSQ(DirectionsSQ):
    """A spherical Fibonacci lattice in any dimension; of dimension 3 the usual one.

    Zhao et al., arXiv 2512.14697, compare with such a lattice. Their formula was not available to us; this is the
    generalisation by equal-area angles of a Kronecker sequence (Roberts, "The Unreasonable Effectiveness of
    Quasirandom Sequences", 2018).
    """

    def __init__(self, dim: int, bits: int) -> None:
        check_list("a Fibonacci lattice", dim, bits, least=2)
        super().__init__(f"fibonacci-{dim}-{bits}", fibonacci_directions(dim, bits))


@cache
def random_directions(dim: int, bits: int) -> np.ndarray:
    """Uniform directions, float64 (2^bits, dim), read-only. RandomState, because its stream is fixed for ever."""
    points = np.random.RandomState(SEED).standard_normal((1 << bits, dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points.setflags(write=False)
    return points


@cache
def fibonacci_directions(dim: int, bits: int) -> np.ndarray:
    """A point set of low discrepancy on the cube, carried to the sphere with equal area: float64 (2^bits, dim).

    Point i of n is ((i + 1/2) / n, {i·α_1}, {i·α_2}, …), α_j = g^-j, where g > 1 solves g^(dim - 1) = g + 1: in
    dimension 3 the golden ratio. The coordinates are shares of the sphere: of the first polar angle, whose density is
    sin^(dim - 2), then of the next angle, and so on to the last, which goes around uniformly.
    """
    count = 1 << bits
    i = np.arange(count)
    if dim == 2:
        shares = ((i + 0.5) / count)[:, None]
    else:
        g = 2.0
        for _ in range(100):  # a contraction
            g = (1 + g) ** (1 / (dim - 1))
        sequence = [i * g**-j % 1 for j in range(1, dim - 1)]
        shares = np.stack([(i + 0.5) / count, *sequence], axis=1)
    points, radius = np.empty((count, dim)), np.ones(count)
    for k in range(dim - 2):
        angle = _polar_angle(shares[:, k], dim - 2 - k)
        points[:, k] = radius * np.cos(angle)
        radius = radius * np.sin(angle)
    around = 2 * np.pi * shares[:, -1]
    points[:, -2], points[:, -1] = radius * np.cos(around), radius * np.sin(around)
    points.setflags(write=False)
    return points


def _polar_angle(share: np.ndarray, power: int) -> np.ndarray:
    """The angle, 0..π, below which that share of the integral of sin^power lies, by bisection."""
    low, high = np.zeros_like(share), np.full_like(share, np.pi)
    whole = _integral(np.array([np.pi]), power)
    for _ in range(48):
        middle = (low + high) / 2
        below = _integral(middle, power) < share * whole
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _integral(x: np.ndarray, power: int) -> np.ndarray:
    """∫ sin^power from 0 to x, by its reduction formula."""
    if power < 2:
        return x if power == 0 else 1 - np.cos(x)
    sine, total = np.sin(x), _integral(x, power % 2)
    for m in range(power % 2 + 2, power + 1, 2):
        total = (m - 1) / m * total - np.cos(x) * sine ** (m - 1) / m
    return total
