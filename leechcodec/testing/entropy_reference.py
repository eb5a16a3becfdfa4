"""docs/ENTROPY.md a second time, in plain Python and numpy, straight from its sentences and without speed.

Arrays run over tokens in their first dimension; numpy's elementwise + · / on doubles are single IEEE operations.
"""

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np

from leechcodec.lattice.golay import golay_words, octad_supports, octad_words

TOTAL, CAP = 1 << 24, (1 << 24) - (1 << 16)


@cache
def exponential(k: int) -> float:
    with localcontext() as context:
        context.prec = 60
        return float((Decimal(k) / 64).exp())


def coordinate_masses(params: np.ndarray) -> np.ndarray:
    """§2: (N, 24, 3) -> (N, 24, 9)."""
    a, b, d = (params[:, :, k, None].astype(np.int64) for k in range(3))
    v = np.arange(-4, 5)
    scores = np.clip((4 * a * v + 4 * b * np.abs(v) + d * v * v + 4) // 8, -1600, 1600)
    return np.array([exponential(k) for k in scores.ravel().tolist()]).reshape(scores.shape)


def integer_pmf(masses: list[float], cap: int = TOTAL) -> list[int]:
    """§3."""
    total = masses[0]
    for mass in masses[1:]:
        total = total + mass
    ratio = (TOTAL - len(masses)) / total
    q = [1 + math.floor(mass * ratio) for mass in masses]
    remainder = TOTAL - sum(q)
    assert remainder >= 0
    largest = q.index(max(q))
    q[largest] += remainder
    if q[largest] > cap:
        excess, q[largest] = q[largest] - cap, cap
        others = [0 if k == largest else value for k, value in enumerate(q)]
        q[others.index(max(others))] += excess
    return q


def times_2(x: tuple, y: tuple) -> tuple:
    return x[0] * y[0] + x[1] * y[1], x[1] * y[0] + x[0] * y[1]


def times_3(x: tuple, y: tuple) -> tuple:
    return x[0] * y[0], x[1] * y[0] + x[0] * y[1]


def sequential(terms: list) -> np.ndarray:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class Reference:
    """§4 for N tokens: the masses of every symbol."""

    def __init__(self, params: np.ndarray) -> None:
        self.e = coordinate_masses(params)
        self.one = (np.ones(len(self.e)), np.zeros(len(self.e)))
        self.t = self.e[:, :, 8] + self.e[:, :, 0]
        later, self.first = self.t[:, 23], {}
        for i in range(22, -1, -1):
            self.first[i] = self.t[:, i] * later
            later = later + self.t[:, i]
        self.octads = [self._octad(word) for word in golay_words()[octad_words()]]
        self._blocks: dict = {}
        self.pairs = [[self._pair(x, a) for a in range(16)] for x in range(16)]
        self.x = [sequential(row) for row in self.pairs]
        self.classes = [
            sequential([self.first[i] for i in range(22, -1, -1)]),
            sequential(self.octads),
            sequential(self.x),
        ]

    def _octad(self, word: np.ndarray) -> np.ndarray:
        blocks = []
        for block in range(3):
            pair = self.one
            for i in range(8 * block, 8 * block + 8):
                if word[i]:
                    pair = times_2(pair, (self.e[:, i, 6], self.e[:, i, 2]))
            blocks.append(pair)
        x, y, z = blocks
        even, odd = x[0] * y[0] + x[1] * y[1], x[0] * y[1] + x[1] * y[0]
        return even * z[0] + odd * z[1]

    def _block(self, word: int, block: int) -> tuple:
        bits = golay_words()[word, 8 * block : 8 * block + 8]
        key = block, bits.tobytes()
        if key not in self._blocks:
            pair = self.one
            for i, bit in enumerate(bits, start=8 * block):
                pair = times_3(pair, (self.e[:, i, 3 if bit else 5], self.e[:, i, 7 if bit else 1]))
            self._blocks[key] = pair
        return self._blocks[key]

    def _pair(self, x: int, a: int) -> np.ndarray:
        words = [256 * x + 16 * a + b for b in range(16)]
        ys, zs = [self._block(word, 1) for word in words], [self._block(word, 2) for word in words]
        none = sequential([y[0] * z[0] for y, z in zip(ys, zs)])
        some = sequential([y[1] * z[0] + y[0] * z[1] for y, z in zip(ys, zs)])
        first = self._block(words[0], 0)
        return first[0] * some + first[1] * none

    def b(self, x: int, a: int) -> list[np.ndarray]:
        words = [256 * x + 16 * a + b for b in range(16)]
        return [times_3(times_3(self._block(word, 0), self._block(word, 1)), self._block(word, 2))[1] for word in words]

    def flip(self, word: int) -> list[np.ndarray]:
        bits = golay_words()[word]
        plus, minus = self.e[:, :, 1] / self.e[:, :, 5], self.e[:, :, 7] / self.e[:, :, 3]
        return [(minus if bits[i] else plus)[:, i] for i in range(24)]

    def sign(self, octad: int, k: int, parity: int) -> list[np.ndarray]:
        support = octad_supports()[octad]
        rest = self.one
        for later in range(7, k, -1):
            rest = times_2(rest, (self.e[:, support[later], 6], self.e[:, support[later], 2]))
        u, v = self.e[:, support[k], 6], self.e[:, support[k], 2]
        return [u * rest[parity], v * rest[1 - parity]]

    def symbols(self, codes: np.ndarray) -> list[list[tuple[tuple, int, list[int]]]]:
        """§4, §5: for each token its symbols as (sorting key within the group, symbol, pmf)."""
        return [self._symbols(row, code.tolist()) for row, code in enumerate(codes)]

    def _symbols(self, row: int, code: list[int]) -> list[tuple[tuple, int, list[int]]]:
        support = [i for i, v in enumerate(code) if v]
        kind = {2: 1, 8: 2, 24: 3}[len(support)]
        chain: list[tuple[tuple, int, list]] = []
        if kind == 1:
            i, j = support
            t = list(self.t.T)
            chain.append((("1i",), i, [self.first[k] for k in range(23)]))
            if i < 22:
                chain.append((("1j", i), j - i - 1, t[i + 1 :]))
            for name, k in (("1s", i), ("1t", j)):
                chain.append(((name,), int(code[k] < 0), [self.e[:, k, 8], self.e[:, k, 0]]))
        elif kind == 2:
            octad = next(k for k, s in enumerate(octad_supports().tolist()) if s == support)
            chain.append((("2o",), octad, self.octads))
            parity = 0
            for k in range(7):
                minus = int(code[support[k]] < 0)
                chain.append((("2s", k), minus, self.sign(octad, k, parity)))
                parity ^= minus
        else:
            flip = next(i for i, v in enumerate(code) if abs(v) == 3)
            bits = [(v < 0) ^ (i == flip) for i, v in enumerate(code)]
            word = next(m for m, w in enumerate(golay_words()) if w.tolist() == bits)
            x, a, b = word >> 8, word >> 4 & 15, word & 15
            chain.append((("3a",), x, self.x))
            chain.append((("3b",), a, self.pairs[x]))
            chain.append((("3c",), b, self.b(x, a)))
            chain.append((("3d",), flip, self.flip(word)))
        pmf = integer_pmf([float(m[row]) for m in self.classes], CAP)
        return [(("",), kind - 1, pmf)] + [(key, s, integer_pmf([float(m[row]) for m in ms])) for key, s, ms in chain]


def stream(symbols: list[tuple[int, list[int]]]) -> bytes:
    """§1: (symbol, pmf) in order -> bytes."""
    low, width, n = 0, 2**64 - 1, 0
    for s, q in symbols:
        scale = width >> 24
        low, width = low + scale * sum(q[:s]), scale * q[s]
        if width < 2**32:
            low, width, n = low << 32, width << 32, n + 1
    if not symbols:
        return b""
    p = (low + 2**32 - 1) >> 32
    words = [p >> 32 * k & 0xFFFFFFFF for k in range(n, -1, -1)]
    if (low + width) >> 32 == p:
        words.append(0)
    return b"".join(word.to_bytes(4, "little") for word in words)


def leech_stream(params: np.ndarray, codes: np.ndarray, group: int = 1024) -> bytes:
    """The whole of docs/ENTROPY.md for one call."""
    ordered = []
    for start in range(0, len(codes), group):
        chains = Reference(params[start : start + group]).symbols(codes[start : start + group])
        flat = [(key, row, s, q) for row, chain in enumerate(chains) for key, s, q in chain]
        ordered += [(s, q) for key, row, s, q in sorted(flat, key=lambda item: item[:2])]
    return stream(ordered)
