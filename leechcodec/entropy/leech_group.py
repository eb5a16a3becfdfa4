"""A group of Leech tokens through the range coder in one compiled call: docs/ENTROPY.md §5, symbol after symbol.

Masses are computed when their symbol's turn comes, for the branch taken alone: of 759 octads where the class is
2, of 16 words where x and a are known. One function for encoder, decoder and bit counter.
"""

from typing import NamedTuple

import numpy as np

from leechcodec.entropy.jit import entry, inner
from leechcodec.entropy.leech_sums import (
    LANES,
    OCTADS,
    fill_lane,
    grow_signs,
    lane_space,
    mass_of,
    sum_class_2,
)
from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, TOTAL, integer_row
from leechcodec.entropy.range_coder import INVALID, MODE, READ, advance, find, quantile
from leechcodec.entropy.token_coder import GROUP
from leechcodec.lattice.golay import BLOCK_LENGTH, BLOCKS
from leechcodec.lattice.leech import DIM

RUN = 33
"""Octads whose shares are added up together, so that a decoder need not walk over all of them: 23 runs."""
SIGNS = 7
_CAP, _NO_CAP = np.int64(FIRST_SYMBOL_CAP), np.int64(TOTAL)
_CLASS_1, _CLASS_2, _CLASS_3 = np.arange(3)
_ONE, _TWO, _THREE, _FOUR = np.arange(1, 5)


class Space(NamedTuple):
    """Room for one group's computations: kernels allocate nothing."""

    mass: np.ndarray
    q: np.ndarray
    rows: np.ndarray
    parity: np.ndarray
    work: np.ndarray
    lanes: np.ndarray
    grown: np.ndarray
    octads: np.ndarray
    shares: np.ndarray
    runs: np.ndarray
    total: np.ndarray
    scale: np.ndarray
    largest: np.ndarray
    place: np.ndarray
    signs: np.ndarray


def group_space() -> Space:
    """Room for groups of up to 1,024 tokens."""
    indices, integers = np.empty((2, GROUP), dtype=np.int64), np.empty((2, LANES), dtype=np.int32)
    return Space(
        np.empty(DIM),
        np.empty(DIM, dtype=np.int64),
        *indices,
        np.empty((4, 16)),
        *lane_space(),
        np.empty((OCTADS, LANES)),
        np.empty((OCTADS, LANES), dtype=np.int32),
        np.empty((OCTADS // RUN, LANES), dtype=np.int32),
        *np.empty((2, LANES)),
        *integers,
        np.empty((GROUP, SIGNS, 2, 2)),
    )


@entry
def code_group(
    kernel: tuple,
    start: int,
    origin: bool,
    params: np.ndarray,
    sums: tuple,
    tables: tuple,
    space: Space,
    symbols: np.ndarray,
) -> int:
    """Code the symbols of up to 1,024 tokens.

    kernel: of a :class:`CompiledCoder`, with room for 9 symbols a token. start: the first token's number.
    origin: whether there is a fourth class. params: int64 (n, 24, 3). sums: of :func:`group_sums`. tables: the
    exponentials, the Golay words' bytes, the octads' bytes and supports. space: of :func:`group_space`. symbols: int32
    (n, 9) of leech_symbols.py, zeros for a decoder; what is coded is put there. Returns 0, INVALID or ENDED.
    """
    classes, firsts, pairs = sums
    table, words, octad_bytes, supports = tables
    status = _code_classes(kernel, start, origin, classes, space, symbols)
    if status == 0:
        status = _code_class_1(kernel, start, params, table, space, symbols)
    if status == 0:
        status = _code_class_2(kernel, start, params, table, octad_bytes, supports, space, symbols)
    if status == 0:
        status = _code_class_3(kernel, start, params, firsts, pairs, table, words, space, symbols)
    return status


@inner
def _code(
    kernel: tuple, token: int, mass: np.ndarray, q: np.ndarray, alphabet: int, cap: int, symbols: np.ndarray, at: int
) -> int:
    """Code the symbol symbols[at], whose masses are the first of `mass`. Returns 0, INVALID or ENDED."""
    q = q[:alphabet]
    integer_row(mass[:alphabet], cap, q)
    symbol, left = find(kernel, q, symbols[at])
    if symbol < 0:
        return symbol
    symbols[at] = symbol
    return advance(kernel, left, q[symbol], token)


@inner
def _rows_of(kind: int, symbols: np.ndarray, rows: np.ndarray) -> int:
    """How many of the group's tokens are of a class; rows <- which, in their order."""
    count = 0
    for row in range(len(symbols)):
        if symbols[row, 0] == kind:
            rows[count] = row
            count += 1
    return count


@inner
def _code_classes(
    kernel: tuple, start: int, origin: bool, classes: np.ndarray, space: Space, symbols: np.ndarray
) -> int:
    mass, q, alphabet = space.mass, space.q, 4 if origin else 3
    for row in range(len(symbols)):
        for k in range(3):
            mass[k] = classes[row, k]
        mass[3] = 1.0  # every score of the entry 0 is 0, so the origin's mass is 1
        status = _code(kernel, start + row, mass, q, alphabet, _CAP, symbols[row], _CLASS_1)
        if status < 0:
            return status
    return 0


# --- class 1 ---------------------------------------------------------------------------------------------------


@inner
def _code_class_1(
    kernel: tuple, start: int, params: np.ndarray, table: np.ndarray, space: Space, symbols: np.ndarray
) -> int:
    mass, q, rows = space.mass, space.q, space.rows[: _rows_of(_CLASS_1, symbols, space.rows)]
    for row in rows:
        later = _entry_mass(params[row], DIM - _ONE, table)
        for i in range(DIM - 2, -1, -1):
            t = _entry_mass(params[row], i, table)
            mass[i] = t * later
            later += t
        status = _code(kernel, start + row, mass, q, DIM - _ONE, _NO_CAP, symbols[row], _ONE)
        if status < 0:
            return status
    for first in range(DIM - 2):  # the alphabet of j is what lies after i; after the last but one, a single entry
        for row in rows:
            if symbols[row, 1] == first:
                for j in range(first + 1, DIM):
                    mass[j - first - 1] = _entry_mass(params[row], j, table)
                status = _code(kernel, start + row, mass, q, DIM - 1 - first, _NO_CAP, symbols[row], _TWO)
                if status < 0:
                    return status
    for column in range(3, 5):
        for row in rows:
            i = symbols[row, 1] if column == 3 else symbols[row, 1] + 1 + symbols[row, 2]
            a, b, d = params[row, i, 0], params[row, i, 1], params[row, i, 2]
            mass[0], mass[1] = mass_of(a, b, d, _FOUR, table), mass_of(a, b, d, -_FOUR, table)
            status = _code(kernel, start + row, mass, q, _TWO, _NO_CAP, symbols[row], column)
            if status < 0:
                return status
    return 0


@inner
def _entry_mass(params: np.ndarray, i: int, table: np.ndarray) -> float:
    a, b, d = params[i, 0], params[i, 1], params[i, 2]
    return mass_of(a, b, d, _FOUR, table) + mass_of(a, b, d, -_FOUR, table)


# --- class 2 ---------------------------------------------------------------------------------------------------


@inner
def _code_class_2(
    kernel: tuple,
    start: int,
    params: np.ndarray,
    table: np.ndarray,
    octad_bytes: np.ndarray,
    supports: np.ndarray,
    space: Space,
    symbols: np.ndarray,
) -> int:
    mass, q, rows = space.mass, space.q, space.rows[: _rows_of(_CLASS_2, symbols, space.rows)]
    signs, parity = space.signs, space.parity
    total, scale, largest, place = space.total, space.scale, space.largest, space.place
    for first in range(0, len(rows), LANES):
        here = rows[first : first + LANES]
        for lane in range(LANES):
            fill_lane(params[here[min(lane, len(here) - 1)]], table, _TWO, _TWO, space.lanes, lane)
        grow_signs(space.lanes, space.grown)
        sum_class_2(space.grown, octad_bytes, space.octads, total)
        for lane in range(LANES):
            scale[lane] = (TOTAL - OCTADS) / total[lane]
            largest[lane], place[lane] = -1, 0
        for run in range(OCTADS // RUN):
            for lane in range(LANES):
                space.runs[run, lane] = 0
            for k in range(run * RUN, run * RUN + RUN):
                _share(k, space.octads, scale, space.shares, space.runs, run, largest, place)
        for lane in range(len(here)):
            row = here[lane]
            status = _code_octad(
                kernel, start + row, space.shares, space.runs, np.int64(place[lane]), lane, symbols[row]
            )
            if status < 0:
                return status
            _sign_masses(params[row], supports[symbols[row, 1]], table, signs[first + lane])
    for n in range(len(rows)):
        parity[n] = 0
    for k in range(SIGNS):
        for n in range(len(rows)):
            mass[0], mass[1] = signs[n, k, parity[n], 0], signs[n, k, parity[n], 1]
            status = _code(kernel, start + rows[n], mass, q, _TWO, _NO_CAP, symbols[rows[n]], 2 + k)
            if status < 0:
                return status
            parity[n] ^= symbols[rows[n], 2 + k]
    return 0


@inner
def _share(
    k: int,
    octads: np.ndarray,
    scale: np.ndarray,
    shares: np.ndarray,
    runs: np.ndarray,
    run: int,
    largest: np.ndarray,
    place: np.ndarray,
) -> None:
    """The rule of integer_row for an octad of every lane: its floor, the run's sum, the first of the largest."""
    mass, target, sums = octads[k], shares[k], runs[run]
    for lane in range(LANES):
        share = np.int32(mass[lane] * scale[lane])
        target[lane] = share
        sums[lane] += share
        place[lane] = k if share > largest[lane] else place[lane]
        largest[lane] = max(share, largest[lane])


@inner
def _code_octad(
    kernel: tuple, token: int, shares: np.ndarray, runs: np.ndarray, largest: int, lane: int, symbols: np.ndarray
) -> int:
    """Code a lane's octad. Its q are 1 + shares, and what is left of 2^24 is added to the largest."""
    rest = TOTAL - OCTADS
    for run in range(OCTADS // RUN):
        rest -= runs[run, lane]
    reading = kernel[0][MODE] == READ
    goal = quantile(kernel) if reading else 0
    if goal >= TOTAL:
        return INVALID
    left, octad, symbol = 0, 0, np.int64(symbols[1])
    for run in range(OCTADS // RUN):
        step = RUN + runs[run, lane]
        if run * RUN <= largest < run * RUN + RUN:
            step += rest
        if (left + step > goal) if reading else (run * RUN + RUN > symbol):
            break
        left += step
        octad += RUN
    while True:
        q = 1 + shares[octad, lane] + (rest if octad == largest else 0)
        if (left + q > goal) if reading else (octad == symbol):
            break
        left += q
        octad += 1
    symbols[1] = octad
    return advance(kernel, left, q, token)


@inner
def _sign_masses(params: np.ndarray, support: np.ndarray, table: np.ndarray, signs: np.ndarray) -> None:
    """signs[k, h] <- the masses of plus and minus at sign k, after an even (h = 0) or odd number of minus signs."""
    even, odd = 1.0, 0.0
    for k in range(BLOCK_LENGTH - 1, -1, -1):
        a, b, d = params[support[k], 0], params[support[k], 1], params[support[k], 2]
        u, v = mass_of(a, b, d, _TWO, table), mass_of(a, b, d, -_TWO, table)
        if k < SIGNS:
            signs[k, 0, 0], signs[k, 0, 1] = u * even, v * odd
            signs[k, 1, 0], signs[k, 1, 1] = u * odd, v * even
        even, odd = even * u + odd * v, odd * u + even * v


# --- class 3 ---------------------------------------------------------------------------------------------------


@inner
def _code_class_3(
    kernel: tuple,
    start: int,
    params: np.ndarray,
    firsts: np.ndarray,
    pairs: np.ndarray,
    table: np.ndarray,
    words: np.ndarray,
    space: Space,
    symbols: np.ndarray,
) -> int:
    mass, q, rows = space.mass, space.q, space.rows[: _rows_of(_CLASS_3, symbols, space.rows)]
    for column in range(1, 5):
        for row in rows:
            x, a, b = symbols[row, 1], symbols[row, 2], symbols[row, 3]
            if column == 1:
                for k in range(16):
                    mass[k] = firsts[row // LANES, k, row % LANES]
            elif column == 2:
                for k in range(16):
                    mass[k] = pairs[row // LANES, 16 * x + k, row % LANES]
            elif column == 3:
                _last_word_masses(params[row], words[256 * x + 16 * a : 256 * x + 16 * a + 16], table, space.work, mass)
            else:
                _flip_masses(params[row], words[256 * x + 16 * a + b], table, mass)
            alphabet = 16 if column < 4 else DIM
            status = _code(kernel, start + row, mass, q, alphabet, _NO_CAP, symbols[row], column)
            if status < 0:
                return status
    return 0


@inner
def _last_word_masses(
    params: np.ndarray, words: np.ndarray, table: np.ndarray, work: np.ndarray, mass: np.ndarray
) -> None:
    """The masses of b = 0..15: what the three blocks of each word weigh together with one coordinate flipped."""
    p, q, y, w = work[0], work[1], work[2], work[3]
    for n in range(16):
        p[n], q[n] = 1.0, 0.0
    for block in range(BLOCKS):
        for n in range(16):
            y[n], w[n] = 1.0, 0.0
        for k in range(BLOCK_LENGTH):
            i = BLOCK_LENGTH * block + k
            c, b, d = params[i, 0], params[i, 1], params[i, 2]
            plus, flipped_plus = mass_of(c, b, d, _ONE, table), mass_of(c, b, d, -_THREE, table)
            minus, flipped_minus = mass_of(c, b, d, -_ONE, table), mass_of(c, b, d, _THREE, table)
            for n in range(16):
                bit = words[n, block] >> k & 1
                plain, flipped = minus if bit else plus, flipped_minus if bit else flipped_plus
                w[n] = w[n] * plain + y[n] * flipped
                y[n] *= plain
        for n in range(16):
            q[n] = q[n] * y[n] + p[n] * w[n]
            p[n] *= y[n]
    for n in range(16):
        mass[n] = q[n]


@inner
def _flip_masses(params: np.ndarray, word: np.ndarray, table: np.ndarray, mass: np.ndarray) -> None:
    """The masses of the flipped coordinate, relative to the word without one."""
    for i in range(DIM):
        sign = 1 - 2 * (word[i >> 3] >> (i & 7) & 1)
        a, b, d = params[i, 0], params[i, 1], params[i, 2]
        mass[i] = mass_of(a, b, d, -3 * sign, table) / mass_of(a, b, d, sign, table)
