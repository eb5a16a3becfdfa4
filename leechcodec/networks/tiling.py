"""Large maps tile by tile: what convolutions give, in a fraction of the memory.

     map (1, C, h, w)            window                        result
    ┌────────────────┐
    │                │      ┌─ halo ─────────┐
    ├────────────────┤      ├────────────────┤            ├────────────────┤
    │ a tile of rows │ ───▶ │                │ function ─▶│ the same rows  │
    ├────────────────┤      ├────────────────┤            ├────────────────┤
    │                │      └─ halo ─────────┘
    └────────────────┘

A tile is a run of whole rows. The halo is as deep as a result's row looks up and down, so every row is computed from
the very inputs it would have had without tiles. Tiles depend on the map's size alone.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Map = TypeVar("Map", bound=Any)
"""A tensor or an array, (B, C, h, w)."""

TILE_POSITIONS = 1 << 16
"""Positions of the coarser of the two maps in a tile, about. Smaller maps are never cut."""


def tiled(
    function: Callable[[Map, slice], Map],
    x: Map,
    *,
    halo: int = 0,
    down: int = 1,
    up: int = 1,
    in_place: bool = False,
) -> Map:
    """function(x, all rows), computed tile by tile where x is large and no gradient is asked for; of torch or numpy.

    function: takes a window of x and the slice of x's rows that it is. It returns the window's map, ``down`` times
        coarser or ``up`` times finer.
    x: (B, C, h, w), a tensor or an array.
    halo: how many of x's rows a row of the result may look at on either side, a multiple of down.
    in_place: the result takes x's place, where both have the same shape and type.
    """
    height, width = x.shape[2:]
    rows = max(1, TILE_POSITIONS * down // width) * down
    if height <= rows or _wants_gradient(x):
        return function(x, slice(0, height))
    result = x if in_place else None
    above = x[:, :, :0]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(0, top - halo), min(height, bottom + halo)
        window = _joined(above, x[:, :, top:last]) if in_place and halo else x[:, :, first:last]
        if in_place and halo:  # the next tile's halo, before it is overwritten
            above = window[:, :, max(0, bottom - halo) - first : bottom - first]
        part = function(window, slice(first, last))
        if result is None:
            result = _empty_like(part, (*part.shape[:2], height // down * up, part.shape[3]))
        inner = slice((top - first) // down * up, (bottom - first) // down * up)
        result[:, :, top // down * up : bottom // down * up] = part[:, :, inner]
    return result


def _wants_gradient(x: Any) -> bool:
    return not isinstance(x, np.ndarray) and sys.modules["torch"].is_grad_enabled()


def _joined(above: Any, below: Any) -> Any:
    """One below the other, in rows: always a copy."""
    if isinstance(below, np.ndarray):
        return np.concatenate([above, below], 2)
    return sys.modules["torch"].cat([above, below], 2)


def _empty_like(part: Any, shape: tuple[int, ...]) -> Any:
    return np.empty(shape, part.dtype) if isinstance(part, np.ndarray) else part.new_empty(*shape)
