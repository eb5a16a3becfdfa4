"""Residual pixels to coefficients and back: an orthonormal colour transform, then the 8 x 8 DCT of every block.

residual (H, W, 3) ─▶ colour ─▶ blocks ─▶ DCT-II ─▶ coefficients (3, 64, rows, columns) ─▶ ... ─▶ residual

Both are orthonormal, so squared errors of coefficients are squared errors of pixels. Only pixels depend on these
floats: tokens and probabilities see integers alone.
"""

import numpy as np

SIDE = 8
BANDS = SIDE * SIDE
CHANNELS = 3
COLOUR = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3.0], [2.0], [6.0]])
"""Rows: luma, orange against blue, green against magenta; those of YCoCg, made orthonormal."""
_FREQUENCY, _PLACE = np.mgrid[:SIDE, :SIDE]
DCT = np.sqrt((2 - (_FREQUENCY == 0)) / SIDE) * np.cos(np.pi * _FREQUENCY * (2 * _PLACE + 1) / (2 * SIDE))


def block_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of blocks that cover a picture."""
    return -(-height // SIDE), -(-width // SIDE)


def in_blocks(picture: np.ndarray) -> np.ndarray:
    """(H, W, …), any sides, the last row and column repeated -> (rows, 8, columns, 8, …)."""
    height, width, *rest = picture.shape
    rows, columns = block_grid(height, width)
    padding = ((0, -height % SIDE), (0, -width % SIDE), *((0, 0) for _ in rest))
    return np.pad(picture, padding, mode="edge").reshape(rows, SIDE, columns, SIDE, *rest)


def forward(residual: np.ndarray) -> np.ndarray:
    """Coefficients of a residual: (H, W, 3), any sides, the last row and column repeated -> float64 (3, 64, h, w)."""
    found = np.einsum("ui,vj,ricjk->kuvrc", DCT, DCT, in_blocks(residual @ COLOUR.T), optimize=True)
    return np.ascontiguousarray(found.reshape(CHANNELS, BANDS, *found.shape[3:]))


def inverse(coefficients: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The residual of coefficients (3, 64, h, w), cut to (height, width): float64 (height, width, 3)."""
    rows, columns = coefficients.shape[2:]
    bands = coefficients.reshape(CHANNELS, SIDE, SIDE, rows, columns)
    blocks = np.einsum("ui,vj,kuvrc->ricjk", DCT, DCT, bands, optimize=True)
    return (blocks.reshape(rows * SIDE, columns * SIDE, CHANNELS) @ COLOUR)[: size[0], : size[1]]
