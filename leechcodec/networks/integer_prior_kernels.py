"""The integer prior's kernels: products of small integers, several positions and channels at a time.

      6 positions x 16 channels of sums in registers:      sums[p, o] += x[p, 2k] · w[2k, o] + x[p, 2k+1] · w[2k+1, o]

Maps are int16 with channels last, so the three positions of a row that a 3 x 3 convolution sees are one run of memory.
A product of pairs is written as LLVM's vectors (pair_products.py). A step walks down the rows and keeps four of them in
the cache: nothing is padded, copied or cut into tiles. integer_prior_reference.py is the same in plain torch.

Kernels allocate nothing: the functions before them give them room.
"""

from typing import Any, NamedTuple

import numpy as np

from leechcodec.compiled import entry, inner, numba_object
from leechcodec.entropy.pmf import SCORE_UNIT
from leechcodec.quantizers.code import MAX_ACTIVATION

POSITIONS = 6
LANES = 16
ACTIVATION_BITS = 8
"""Activations are multiples of 2^-8 within ±64 ..."""
LIMIT = MAX_ACTIVATION << ACTIVATION_BITS
"""... as integers within ±2^14."""
MAX_GATE = MAX_ACTIVATION * SCORE_UNIT
"""64 nats, in scores' units."""
CHUNK = 96
"""Positions whose parameters are computed at a time."""
_entry, _inner = entry(), inner()


class Layer(NamedTuple):
    """A convolution as the kernels take it, from :func:`packed`.

    weights: int16 (blocks, rows, pairs, LANES, 2), flat. start: int32 (blocks · LANES,), bias and half a unit.
    shift: int32 (blocks · LANES,). rows: of the kernel, 1 or 3. pairs: of inputs in a row. outputs: channels.
    """

    weights: np.ndarray
    start: np.ndarray
    shift: np.ndarray
    rows: int
    pairs: int
    outputs: int


def packed(weight: np.ndarray, bias: np.ndarray, shift: np.ndarray) -> Layer:
    """A layer: int16 (out, in, k, k), int32 (out,), int (out,), bits that its sums are shifted by."""
    outputs, _, rows, _ = weight.shape
    blocks = -(-outputs // LANES)
    by_row = weight.transpose(2, 3, 1, 0).reshape(rows, -1, outputs)
    pairs = -(-by_row.shape[1] // 2)
    room = np.zeros((rows, 2 * pairs, blocks * LANES), dtype=np.int16)
    room[:, : by_row.shape[1], :outputs] = by_row
    weights = room.reshape(rows, pairs, 2, blocks, LANES).transpose(3, 0, 1, 4, 2)
    start, shifts = np.zeros((2, blocks * LANES), dtype=np.int32)
    start[:outputs] = bias + (1 << shift.astype(np.int64) >> 1)
    shifts[:outputs] = shift
    return Layer(np.ascontiguousarray(weights).ravel(), start, shifts, rows, pairs, outputs)


def _product() -> Any:
    from leechcodec.networks import pair_products

    return pair_products.multiply


def _multiply_plain(sums: np.ndarray, x: np.ndarray, first: int, step: int, weights: np.ndarray, at: int, pairs: int):
    """The same where the compiler is switched off."""
    w = weights[at : at + pairs * 2 * LANES].reshape(pairs, LANES, 2).transpose(0, 2, 1).reshape(-1, LANES)
    for p in range(POSITIONS):
        seen = x[first + p * step :][: 2 * pairs].astype(np.int32)
        sums[p * LANES : (p + 1) * LANES] += seen @ w.astype(np.int32)


_multiply = numba_object(_product, _multiply_plain, "leechcodec.networks.pair_products")


@_inner
def _apply(
    layer: Layer, x: np.ndarray, row: int, pitch: int, step: int, count: int, sums: np.ndarray, result: np.ndarray
) -> None:
    """result[p · outputs + o] <- the layer at the first positions of a row, rounded, int32.

    x: int16, positions step apart. A layer of 3 rows sees those from row - 1 of a ring of four, pitch apart. Up to
    POSITIONS - 1 positions beyond the last are read. sums: int32 (POSITIONS · LANES,), scratch.
    """
    size = layer.pairs * 2 * LANES
    for block in range(len(layer.start) // LANES):
        channel = block * LANES
        for left in range(0, count, POSITIONS):
            for p in range(POSITIONS):
                for o in range(LANES):
                    sums[p * LANES + o] = layer.start[channel + o]
            for tap in range(layer.rows):
                first = ((row + tap - 1) & 3) * pitch + left * step
                at = (block * layer.rows + tap) * size
                _multiply(sums, x, first, step, layer.weights, at, layer.pairs)  # pyright: ignore[reportCallIssue]
            for p in range(min(POSITIONS, count - left)):
                place = (left + p) * layer.outputs + channel
                for o in range(min(LANES, layer.outputs - channel)):
                    result[place + o] = sums[p * LANES + o] >> (layer.shift[channel + o] & 31)


@_inner
def _limited(x: int) -> np.int32:
    return np.int32(min(max(x, -LIMIT), LIMIT))


@_inner
def _activated(x: int) -> np.int16:
    return np.int16(max(x, x >> 3))


@_entry
def add_row(h: np.ndarray, row: np.ndarray) -> None:
    """h <- h + row, limited. h: int16 (h, w, channels). row: int32 (channels,), within ±2^15."""
    for y in range(h.shape[0]):
        for x in range(h.shape[1]):
            for c in range(h.shape[2]):
                h[y, x, c] = _limited(np.int32(h[y, x, c]) + row[c])


def project(h: np.ndarray, layer: Layer, result: np.ndarray) -> None:
    """A 1 x 1 convolution, limited: int16 (h, w, in) -> int16 (h, w, outputs), of any strides."""
    _, width, channels = h.shape
    x = np.zeros(_room(width) * channels, dtype=np.int16)
    _project(h, layer, x, _sums(), np.empty(width * layer.outputs, dtype=np.int32), result)


def _sums() -> np.ndarray:
    return np.empty(POSITIONS * LANES, dtype=np.int32)


@_entry
def _project(
    h: np.ndarray, layer: Layer, x: np.ndarray, sums: np.ndarray, found: np.ndarray, result: np.ndarray
) -> None:
    height, width, channels = h.shape
    for y in range(height):
        for left in range(width):
            for c in range(channels):
                x[left * channels + c] = h[y, left, c]
        _apply(layer, x, 0, 0, channels, width, sums, found)
        for left in range(width):
            for o in range(layer.outputs):
                result[y, left, o] = _limited(found[left * layer.outputs + o])


def add_tokens(h: np.ndarray, codes: np.ndarray, scale: int, embed: Layer, conv1: Layer, conv2: Layer) -> None:
    """Add the tokens of a pass to the map, then a residual block, in place.

    h: int16 (h, w, channels). codes: int8 (h, w, dim), zeros where there is no token. scale: of their entries.
    """
    _, width, channels = h.shape
    rows = np.zeros((2, 4 * _room(width + 2) * channels), dtype=np.int16)
    few = np.zeros(_room(width) * codes.shape[2], dtype=np.int16)
    found = np.empty(width * channels, dtype=np.int32)
    places = np.empty(width, dtype=np.int64)
    _add_tokens(h, codes, scale, embed, conv1, conv2, rows[0], rows[1], few, places, _sums(), found)


@_entry
def _add_tokens(
    h: np.ndarray,
    codes: np.ndarray,
    scale: int,
    embed: Layer,
    conv1: Layer,
    conv2: Layer,
    activated: np.ndarray,
    hidden: np.ndarray,
    few: np.ndarray,
    places: np.ndarray,
    sums: np.ndarray,
    found: np.ndarray,
) -> None:
    """activated, hidden: rings of four rows, zeros at first. few, places, sums, found: scratch."""
    height, width, channels = h.shape
    pitch = len(activated) // 4
    for bottom in range(height + 2):  # rows bottom of the activated map, bottom - 1 of the hidden one, bottom - 2 of h
        at = (bottom & 3) * pitch + channels
        if bottom < height:
            _embed(h[bottom], codes[bottom], scale, embed, few, places, sums, found)
            for x in range(width):
                for c in range(channels):
                    activated[at + x * channels + c] = _activated(h[bottom, x, c])
        else:
            activated[at : at + width * channels] = 0
        row = bottom - 1
        at = (row & 3) * pitch + channels
        if 0 <= row < height:
            _apply(conv1, activated, row, pitch, channels, width, sums, found)
            for n in range(width * channels):
                hidden[at + n] = _activated(_limited(found[n]))
        elif row == height:
            hidden[at : at + width * channels] = 0
        row = bottom - 2
        if row >= 0:
            _apply(conv2, hidden, row, pitch, channels, width, sums, found)
            for x in range(width):
                for c in range(channels):
                    h[row, x, c] = _limited(np.int32(h[row, x, c]) + _limited(found[x * channels + c]))


def _room(width: int) -> int:
    """Positions that a row's buffer needs: what _apply reads, whole tiles, and one for a last pair."""
    return -(-width // POSITIONS) * POSITIONS + 3


@_inner
def _embed(
    h: np.ndarray,
    codes: np.ndarray,
    scale: int,
    layer: Layer,
    few: np.ndarray,
    places: np.ndarray,
    sums: np.ndarray,
    found: np.ndarray,
) -> None:
    """Add the embedding of a row's tokens to the map. A code of zeros adds nothing."""
    width, dim = codes.shape
    count = 0
    for x in range(width):
        if codes[x].any():
            for i in range(dim):
                few[count * dim + i] = np.int64(codes[x, i]) * scale
            places[count] = x
            count += 1
    _apply(layer, few, 0, 0, dim, count, sums, found)
    for p in range(count):
        x = places[p]
        for c in range(layer.outputs):
            h[x, c] = _limited(np.int32(h[x, c]) + _limited(found[p * layer.outputs + c]))


def params_at(
    h: np.ndarray, positions: np.ndarray, head: Layer, gate: Layer, known: np.ndarray, offsets: np.ndarray, unit: int
) -> np.ndarray:
    """A pass's parameters at some positions: int64 (n, head.outputs).

    h: int16 (h, w, channels). positions: int64 (n,), counted in rows. gate: used where offsets has rows. known: int8
    (h, w, dim), the codes so far. offsets: int64 (4, 2), rows down and columns right to the neighbours, or (0, 2).
    unit: of an inner product of codes, as an activation.
    """
    params = np.empty((len(positions), head.outputs), dtype=np.int64)
    seen = np.zeros(_room(CHUNK) * (h.shape[2] + 2), dtype=np.int16)
    found, opened = np.empty(CHUNK * head.outputs, dtype=np.int32), np.zeros(CHUNK * 4, dtype=np.int32)
    around = np.zeros((4, known.shape[2]), dtype=np.int32)
    _params_at(h, positions, head, gate, known, offsets, unit, seen, _sums(), found, opened, around, params)
    return params


@_entry
def _params_at(
    h: np.ndarray,
    positions: np.ndarray,
    head: Layer,
    gate: Layer,
    known: np.ndarray,
    offsets: np.ndarray,
    unit: int,
    seen: np.ndarray,
    sums: np.ndarray,
    found: np.ndarray,
    opened: np.ndarray,
    around: np.ndarray,
    params: np.ndarray,
) -> None:
    """seen, opened, around: scratch, zeros at first. sums, found: scratch."""
    width, channels = h.shape[1:]
    gates, dim, inputs, outputs = len(offsets), known.shape[2], channels + 2, head.outputs
    for begin in range(0, len(positions), CHUNK):
        count = min(CHUNK, len(positions) - begin)
        for p in range(count):
            y, x = positions[begin + p] // width, positions[begin + p] % width
            for c in range(channels):
                seen[p * inputs + c] = _activated(h[y, x, c])
            if gates:
                _gather(known, y, x, offsets, around)
                for pair in range(2):
                    product = 0
                    for i in range(dim):
                        product += around[2 * pair, i] * around[2 * pair + 1, i]
                    seen[p * inputs + channels + pair] = _limited(product * unit)
        _apply(head, seen, 0, 0, inputs, count, sums, found)
        if gates:
            _apply(gate, seen, 0, 0, inputs, count, sums, opened)
        for p in range(count):
            for o in range(outputs):
                params[begin + p, o] = found[p * outputs + o]
            if gates:
                _gather(known, positions[begin + p] // width, positions[begin + p] % width, offsets, around)
                for k in range(gates):
                    g = min(max(opened[p * 4 + k], 0), MAX_GATE)
                    for i in range(dim):
                        params[begin + p, i * (outputs // dim)] += g * around[k, i]


@_inner
def _gather(known: np.ndarray, y: int, x: int, offsets: np.ndarray, around: np.ndarray) -> None:
    """around <- the neighbours' codes, zeros outside the map."""
    for k in range(len(offsets)):
        down, right = y + offsets[k, 0], x + offsets[k, 1]
        inside = 0 <= down < known.shape[0] and 0 <= right < known.shape[1]
        for i in range(known.shape[2]):
            around[k, i] = known[down, right, i] if inside else 0
