"""Memoryless sources of unit power, with Shannon's bound: what rate_limits.py measures codes on."""

import math
from abc import ABC, abstractmethod
from functools import cache

import numpy as np
import torch

ROOT_2 = math.sqrt(2)


class Source(ABC):
    """A symmetric density of unit variance."""

    name: str

    @abstractmethod
    def draw(self, tokens: int, dim: int, seed: int) -> np.ndarray:
        """float64 (tokens, dim), scaled to unit power."""

    @abstractmethod
    def above(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability and first moment of what lies above thresholds t >= 0, which may be infinite."""

    @abstractmethod
    def bound(self, bits: float) -> float:
        """The distortion-rate function D(R) for squared error."""


class Gaussian(Source):
    """D(R) = 2^(-2R) (Shannon 1959)."""

    name = "Gaussian"

    def draw(self, tokens: int, dim: int, seed: int) -> np.ndarray:
        return _unit_power(np.random.default_rng(seed).standard_normal((tokens, dim)))

    def above(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = torch.erfc(torch.from_numpy(t / ROOT_2)).numpy() / 2
        return probability, np.exp(-np.square(t) / 2) / math.sqrt(2 * math.pi)

    def bound(self, bits: float) -> float:
        return 2.0 ** (-2 * bits)


class Laplacian(Source):
    """Density exp(-√2·|y|) / √2. D(R) by Blahut's iteration (1972) on a grid; from 1.25 bits on Shannon's lower bound
    2^(2h - 2R) / (2πe), h the differential entropy, which is then within 0.01 dB of it."""

    name = "Laplacian"

    def draw(self, tokens: int, dim: int, seed: int) -> np.ndarray:
        return _unit_power(np.random.default_rng(seed).laplace(size=(tokens, dim)))

    def above(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = np.exp(-ROOT_2 * t) / 2
        return probability, np.where(probability > 0, probability * (np.minimum(t, 1e3) + 1 / ROOT_2), 0.0)

    def bound(self, bits: float) -> float:
        if bits >= 1.25:
            return self.lower_bound(bits)
        rates, decibels = _laplacian_curve()
        return 10 ** (float(np.interp(bits, rates, decibels)) / 10)

    @staticmethod
    def lower_bound(bits: float) -> float:
        """Shannon's lower bound on D(R)."""
        return 2.0 ** (2 * math.log2(ROOT_2 * math.e) - 2 * bits) / (2 * math.pi * math.e)


SOURCES = (Gaussian(), Laplacian())


def _unit_power(y: np.ndarray) -> np.ndarray:
    return y / np.sqrt(np.square(y).mean())


@cache
def _laplacian_curve() -> tuple[np.ndarray, np.ndarray]:
    """Rates in bits, ascending from 0 to 1.3, and 10 log10 D(R).

    Blahut's iteration, on absolute values: the best reconstruction is symmetric, so -y is folded onto y.
    """
    grid = np.linspace(0, 11, 221)
    p = np.exp(-ROOT_2 * grid) * np.where(grid == 0, 0.5, 1.0)
    p /= p.sum()
    p_power = p @ np.square(grid)
    q, found = np.full(len(grid), 1 / len(grid)), [(0.0, 0.0)]
    near, far = np.square(grid[:, None] - grid), np.square(grid[:, None] + grid)
    for slope in np.geomspace(3.5, 0.38, 44):
        kernel = (np.exp(-slope * near) + np.exp(-slope * far)) / 2
        weighted = (near * np.exp(-slope * near) + far * np.exp(-slope * far)) / 2
        for _ in range(1500):
            q = q * (kernel.T @ (p / (kernel @ q)))
        inner = kernel @ q
        distortion = (p / inner) @ (weighted @ q)
        rate = (-slope * distortion - p @ np.log(inner)) / math.log(2)
        found.append((rate, 10 * math.log10(distortion / p_power)))
    rates, decibels = np.array(sorted(found)).T
    return rates, decibels
