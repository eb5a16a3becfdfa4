"""The order in which the prior codes the positions of a stage: few passes, each all at once.

    0 4 2 4 0        five passes: 0, then 1 in the middle of four 0s, then 2 between 0s and 1s,
    4 3 4 3 4        then 3 in the middle of all of these, then 4 between all
    2 4 1 4 2
    4 3 4 3 4
    0 4 2 4 0

Every pass but the first is a quincunx: each of its positions has four neighbours that were coded before it, beside it
or across its corners, at the same distance. A pass holds half of all positions up to it. Two passes are the two halves
of a checkerboard (He et al., "Checkerboard context model for efficient learned image compression", CVPR 2021).
"""

from typing import Any

import numpy as np


def pass_mask(height: int, width: int, passes: int, number: int) -> np.ndarray | None:
    """The positions of a pass: bool (height, width), None for all of them."""
    return mask_at(np.arange(height)[:, None], np.arange(width)[None, :], passes, number)


def mask_at(rows: Any, columns: Any, passes: int, number: int) -> Any:
    """:func:`pass_mask` of rows (h, 1) and columns (1, w), both integers, as arrays or as tensors of any device."""
    if passes == 1:
        return None
    mask = _quincunx(rows, columns, passes, number) if number else (rows + columns) >= 0
    for later in range(number + 1, passes):
        mask = mask & ~_quincunx(rows, columns, passes, later)
    return mask


def pass_size(height: int, width: int, passes: int, number: int) -> int:
    """How many positions a pass has."""
    if passes == 1:
        return height * width
    if number == passes - 1:
        return height * width // 2
    if passes == 2:
        return (height * width + 1) // 2
    if number == passes - 2:
        return (height // 2) * (width // 2)
    return pass_size((height + 1) // 2, (width + 1) // 2, passes - 2, number)


def _quincunx(rows: Any, columns: Any, passes: int, number: int) -> Any:
    """The positions of a pass, 1 or later, and some that later ones have."""
    level, corners = divmod(passes - 1 - number, 2)
    return ((rows >> level) + (0 if corners else columns >> level)) % 2 == 1


def neighbour_offsets(passes: int, number: int) -> list[tuple[int, int]]:
    """Rows down and columns right to each of a position's four neighbours, opposite ones next to each other.

    number: of the pass, 1 or more.
    """
    level, corners = divmod(passes - 1 - number, 2)
    far = 1 << level
    return (
        [(-far, -far), (far, far), (-far, far), (far, -far)] if corners else [(-far, 0), (far, 0), (0, -far), (0, far)]
    )
