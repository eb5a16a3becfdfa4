"""The prior in exact integers: the same probabilities on every machine, so that every file decodes everywhere.

      weights ─▶ canonical integers ─▶ packed layers ─▶ IntegerView ─▶ kernels, in 32 bits
                     │
                     └─▶ SHA-256: the token model's id

Maps are int16, weights int16, sums int32. Every partial sum is below 2^31, so every machine, thread count and order of
summation gives the same integers. The bound is checked from the weights when a model is loaded. Parameters are computed
for as many positions as are coded at a time. docs/FORMAT.md is the specification, integer_prior_reference.py a second
view that computes the same in plain tensors.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from leechcodec.networks import integer_prior_kernels as kernels
from leechcodec.networks.integer_prior_kernels import ACTIVATION_BITS
from leechcodec.networks.integer_prior_weights import SCORE_SHIFT, IntegerWeights
from leechcodec.networks.passes import neighbour_offsets
from leechcodec.networks.prior_loop import AGREEMENT, Steps
from leechcodec.threads import threads

LEAST_ROWS = 16
"""Of a map that a thread is worth starting for."""
REACH = 2
"""Rows that a residual block of the prior looks at on either side: two 3 x 3 convolutions."""

Neighbours = tuple[np.ndarray, np.ndarray]
"""The codes so far, int8 (h, w, dim), and where the neighbours are, int64 (4, 2)."""


class IntegerView(Steps):
    """The prior in exact integers, for coding one image. Maps are int16 (1, channels, h, w), channels last in memory;
    steps work in place.

    Activations are in units of 2^-8, parameters in units of 1/64 nat.

    weights: the canonical integers.
    quality: the header's quality, 100..10,000.
    """

    def __init__(self, weights: IntegerWeights, quality: int) -> None:
        self.weights = weights
        self.quality = quality

    def constant(self, name: str, height: int, width: int) -> np.ndarray:
        return _as_map(np.tile(self.weights.constant(name), (height, width, 1)))

    def upsample(self, name: str, h: np.ndarray) -> np.ndarray:
        x = _as_array(h)
        layers = [self.weights.layer(name, first=corner, step=4) for corner in range(4)]
        result = np.empty((2 * x.shape[0], 2 * x.shape[1], layers[0].outputs), dtype=np.int16)
        for corner, layer in enumerate(layers):  # every fourth channel belongs to one corner of the pixel shuffle
            kernels.project(x, layer, result[corner >> 1 :: 2, corner & 1 :: 2])
        return _as_map(result)

    def at_quality(self, name: str, h: np.ndarray) -> np.ndarray:
        kernels.add_row(_as_array(h), self.weights.quality_bias(name, self.quality))
        return h

    def neighbours(self, codes: np.ndarray, passes: int, number: int) -> Neighbours:
        return _as_array(np.asarray(codes, dtype=np.int8)), np.array(neighbour_offsets(passes, number), dtype=np.int64)

    def params(self, name: str, h: np.ndarray, around: Neighbours | None = None) -> "IntegerParams":
        return IntegerParams(self.weights, name, _as_array(h), around)

    def add_tokens(self, name: str, h: np.ndarray, codes: np.ndarray, shift: int) -> np.ndarray:
        layers = [self.weights.layer(f"{name}.{part}") for part in ("embed", "conv1", "conv2")]
        rows, given = _as_array(h), _as_array(np.asarray(codes, dtype=np.int8))

        def add(part: np.ndarray, tokens: np.ndarray) -> None:
            kernels.add_tokens(part, tokens, 1 << ACTIVATION_BITS - shift, *layers)

        parts = max(1, min(threads(), len(rows) // LEAST_ROWS))
        if parts == 1:
            add(rows, given)
        else:
            _side_by_side(add, rows, given, parts)
        return h


class IntegerParams:
    """A pass's parameters in units of 1/64 nat, computed where they are asked for."""

    def __init__(self, weights: IntegerWeights, name: str, h: np.ndarray, around: Neighbours | None) -> None:
        self.h = h
        self.head = weights.layer(f"{name}.head", SCORE_SHIFT)
        self.gate = self.head if around is None else weights.layer(f"{name}.gate", SCORE_SHIFT)
        self.around = _NO_NEIGHBOURS if around is None else around

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Of these positions, int64 (n,) in rows: int64 (n, num_params)."""
        unit = (1 << ACTIVATION_BITS) // AGREEMENT
        return kernels.params_at(self.h, positions, self.head, self.gate, *self.around, unit)

    def all(self) -> np.ndarray:
        """Of every position: int64 (1, num_params, h, w)."""
        height, width = self.h.shape[:2]
        return self.at(np.arange(height * width)).T.reshape(1, -1, height, width)


def _side_by_side(
    add: Callable[[np.ndarray, np.ndarray], None], rows: np.ndarray, given: np.ndarray, parts: int
) -> None:
    """Do to a map what a function does to it, in parts of its rows, a thread each.

    Where two parts meet, the rows that look across come out wrong. They are computed once more, from copies of a few
    rows around.
    """
    bounds = np.linspace(0, len(rows), parts + 1).astype(int).tolist()
    own = [slice(top, bottom) for top, bottom in itertools.pairwise(bounds)]
    around = [slice(bound - 2 * REACH, bound + 2 * REACH) for bound in bounds[1:-1]]
    seams = [rows[part].copy() for part in around]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(add, [*(rows[part] for part in own), *seams], [given[part] for part in (*own, *around)]))
    for bound, seam in zip(bounds[1:-1], seams):
        rows[bound - REACH : bound + REACH] = seam[REACH:-REACH]


_NO_NEIGHBOURS = np.zeros((1, 1, 1), dtype=np.int8), np.zeros((0, 2), dtype=np.int64)


def _as_array(x: np.ndarray) -> np.ndarray:
    """(1, channels, h, w) as an array (h, w, channels): the same memory where it lies so."""
    return np.ascontiguousarray(np.asarray(x).transpose(0, 2, 3, 1)[0])


def _as_map(x: np.ndarray) -> np.ndarray:
    return x[None].transpose(0, 3, 1, 2)
