"""Minimal vectors of the best lattices below 24 dimensions: D4, E8 and Barnes–Wall 16, alone and as products.

Conway and Sloane, *Sphere Packings, Lattices and Groups*, ch. 4 §7.2, §8.1 and §10. The largest known kissing
configurations of their dimensions (D4 and E8: proven). In integer form:

    D4     (±1, ±1, 0²)                                         24 = 6 · 4              squared norm 2
    E8     (±2, ±2, 0⁶); (±1⁸), an even number of minus signs   240 = 112 + 128         squared norm 8
    BW16   (±2, ±2, 0¹⁴); (±1⁸, 0⁸) on the 30 words of weight 8 of the Reed–Muller code RM(1, 4),
           an even number of minus signs                        4,320 = 480 + 30 · 128  squared norm 8

Neighbours meet at 60° in each. Rows are numbered in lexicographic order.
"""

from functools import cache
from itertools import combinations, product

import numpy as np

from leechcodec.errors import ConfigError
from leechcodec.quantizers.table import TableQuantizer

SHELLS = {"d4": 4, "e8": 8, "bw16": 16}
"""Dimensions."""
MAX_FACTORS = 16


class ShellSQ(TableQuantizer):
    """Nearest of a lattice's minimal vectors, in each of so many consecutive parts of z."""

    def __init__(self, lattice: str, factors: int = 1) -> None:
        if lattice not in SHELLS or not 1 <= factors <= MAX_FACTORS:
            raise ConfigError(f"no product of {factors} shells {lattice!r}: d4, e8 or bw16, at most {MAX_FACTORS}")
        vectors = shell(lattice)
        super().__init__(vectors, factors, stored=False)
        self.name = lattice if factors == 1 else f"{lattice}x{factors}"
        self.lattice = lattice
        self.norm_squared = factors * int(np.square(vectors[0].astype(int)).sum())

    @property
    def delta_min(self) -> float:
        """60° in one factor, whose share of the squared length is 1 / factors."""
        return self.factors**-0.5

    @property
    def covering_cosine(self) -> float | None:
        """Farthest from the vertices of the 24-cell and of Gosset's 4_21 are the centres of their cross-polytopes, at
        45°; of a product, those of one factor with nothing in the others. Not known to us for BW16."""
        return None if self.lattice == "bw16" else (2 * self.factors) ** -0.5


@cache
def shell(lattice: str) -> np.ndarray:
    """The minimal vectors in integer form, int8 (K, dim), read-only."""
    dim = SHELLS[lattice]
    size = 1 if lattice == "d4" else 2
    vectors = []
    for places in combinations(range(dim), 2):
        for signs in product((size, -size), repeat=2):
            vectors.append(np.zeros(dim, dtype=np.int8))
            vectors[-1][list(places)] = signs
    if lattice != "d4":
        words = np.ones((1, 8), dtype=np.int8) if lattice == "e8" else _affine_words()
        signs = np.array([s for s in product((1, -1), repeat=8) if np.prod(s) == 1], dtype=np.int8)
        for word in words:
            rows = np.zeros((len(signs), dim), dtype=np.int8)
            rows[:, np.flatnonzero(word)] = signs
            vectors.extend(rows)
    rows = np.unique(np.array(vectors), axis=0)
    rows.setflags(write=False)
    return rows


def _affine_words() -> np.ndarray:
    """The 30 words of weight 8 of RM(1, 4): the affine hyperplanes of F_2^4, 0 or 1 (30, 16)."""
    points = np.arange(16)[:, None] >> np.arange(4) & 1
    planes = [(points @ (normal >> np.arange(4) & 1)) % 2 for normal in range(1, 16)]
    return np.array([plane ^ side for plane in planes for side in (0, 1)])
