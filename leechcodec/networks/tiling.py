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

from collections.abc import Callable

import torch
from torch import Tensor

TILE_POSITIONS = 1 << 16
"""Positions of the coarser of the two maps in a tile, about. Smaller maps are never cut."""


def tiled(
    function: Callable[[Tensor, slice], Tensor],
    x: Tensor,
    *,
    halo: int = 0,
    down: int = 1,
    up: int = 1,
    in_place: bool = False,
) -> Tensor:
    """function(x, all rows), computed tile by tile where x is large and no gradient is asked for.

    function: takes a window of x and the slice of x's rows that it is. It returns the window's map, ``down`` times
        coarser or ``up`` times finer.
    x: (B, C, h, w).
    halo: how many of x's rows a row of the result may look at on either side, a multiple of down.
    in_place: the result takes x's place, where both have the same shape and type.
    """
    height, width = x.shape[2:]
    rows = max(1, TILE_POSITIONS * down // width) * down
    if height <= rows or torch.is_grad_enabled():
        return function(x, slice(0, height))
    result = x if in_place else None
    above = x[:, :, :0]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(0, top - halo), min(height, bottom + halo)
        window = torch.cat([above, x[:, :, top:last]], 2) if in_place and halo else x[:, :, first:last]
        if in_place and halo:  # the next tile's halo, before it is overwritten
            above = window[:, :, max(0, bottom - halo) - first : bottom - first]
        part = function(window, slice(first, last))
        if result is None:
            result = part.new_empty(*part.shape[:2], height // down * up, part.shape[3])
        inner = slice((top - first) // down * up, (bottom - first) // down * up)
        result[:, :, top // down * up : bottom // down * up] = part[:, :, inner]
    return result
