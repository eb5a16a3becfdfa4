"""Large maps as streams of rows: each layer keeps the few rows that it looks back at, so that no map is ever whole.

      rows ──▶ windows ──▶ conv 3 × 3 ──▶ windows ──▶ conv 3 × 3 ──▶ ( + ) ──▶ rows             a residual block
        │      keep two                   keep two                     ▲
        └───────────────── wait until the convolutions come ───────────┘

A part is a run of whole rows of a map, (1, C, n, w). A stream gives the parts of a map from top to bottom; each is an
iterator around another. The last one of a chain pulls: nothing is computed before it is asked for, and nothing twice.
Streams hold no part longer than they need it, which generators, whose variables live on, would.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

Parts = Iterator[np.ndarray]


def each(function: Callable[[np.ndarray, slice], np.ndarray], parts: Parts) -> Parts:
    """function(part, rows) of every part. rows: the slice of the map's rows that it is."""
    return _Each(function, parts)


class _Each(Parts):
    def __init__(self, function: Callable[[np.ndarray, slice], np.ndarray], parts: Parts) -> None:
        self._function, self._parts, self._row = function, parts, 0

    def __next__(self) -> np.ndarray:
        part, first = next(self._parts), self._row
        self._row += part.shape[2]
        return self._function(part, slice(first, self._row))


class Reader(Parts):
    """A stream's parts, as they come or so many rows at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._rest = parts, None

    def __next__(self) -> np.ndarray:
        part, self._rest = self._rest, None
        return next(self._parts) if part is None else part

    def take(self, rows: int) -> np.ndarray:
        """The next so many rows. Raises ValueError where there are fewer."""
        found: list[np.ndarray] = []
        while sum(part.shape[2] for part in found) < rows:
            part = next(self, None)
            if part is None:  # a StopIteration would end the stream around this one in silence
                raise ValueError(f"the stream ends before {rows} rows")
            found.append(part)
        part = found[0] if len(found) == 1 else np.concatenate(found, 2)
        if part.shape[2] > rows:
            rest = part[:, :, rows:]
            self._rest = rest.copy() if 2 * rest.shape[2] <= part.shape[2] else rest  # a view would hold the whole
        return part[:, :, :rows]


def branches(parts: Parts, count: int) -> list[Reader]:
    """A stream for several readers. A part waits until the last of them has it."""
    waiting: list[deque[np.ndarray]] = [deque() for _ in range(count)]
    return [Reader(_Branch(parts, own, waiting)) for own in waiting]


class _Branch(Parts):
    def __init__(self, parts: Parts, own: deque[np.ndarray], waiting: list[deque[np.ndarray]]) -> None:
        self._parts, self._own, self._waiting = parts, own, waiting

    def __next__(self) -> np.ndarray:
        if not self._own:
            part = next(self._parts)
            for queue in self._waiting:
                queue.append(part)
        return self._own.popleft()


def windows(parts: Parts, height: int, *, repeat: bool = False) -> Parts:
    """Parts with a row more above and below, (1, C, n + 2, w), of which a 3 x 3 convolution without padding gives n.

    height: of the map. Above its first row and below its last are zeros, or that row again (repeat).
    """
    return _Windows(parts, height, repeat)


class _Windows(Parts):
    def __init__(self, parts: Parts, height: int, repeat: bool) -> None:
        self._parts, self._height, self._repeat = parts, height, repeat
        self._seen, self._above = 0, None

    def __next__(self) -> np.ndarray:
        found: list[np.ndarray] = [] if self._above is None else [self._above]
        while sum(part.shape[2] for part in found) < 3:
            part = next(self._parts)
            if not self._seen:
                found.append(self._outside(part[:, :, :1]))
            found.append(part)
            self._seen += part.shape[2]
            if self._seen == self._height:
                found.append(self._outside(part[:, :, -1:]))
        window = np.concatenate(found, 2)
        self._above = window[:, :, -2:].copy()  # a view would hold the whole
        return window

    def _outside(self, row: np.ndarray) -> np.ndarray:
        return row if self._repeat else np.zeros_like(row)


def in_multiples(parts: Parts, of: int) -> Parts:
    """The same rows in parts whose heights are multiples of a number; the map's is one."""
    return _Multiples(parts, of)


class _Multiples(Parts):
    def __init__(self, parts: Parts, of: int) -> None:
        self._parts, self._of, self._rest = parts, of, None

    def __next__(self) -> np.ndarray:
        found: list[np.ndarray] = [] if self._rest is None else [self._rest]
        while (rows := sum(part.shape[2] for part in found)) < self._of:
            found.append(next(self._parts))
        part = found[0] if len(found) == 1 else np.concatenate(found, 2)
        whole = rows // self._of * self._of
        self._rest = part[:, :, whole:].copy() if whole < rows else None
        return part[:, :, :whole]


def in_pieces(parts: Parts, rows: int) -> Parts:
    """The same rows in parts of at most so many."""
    return (part[:, :, piece] for part in parts for piece in cut(rows, part.shape[2]))


def cut(rows: int, height: int) -> Iterable[slice]:
    """A map's rows, so many at a time."""
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))
