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


def forward(residual: np.ndarray) -> np.ndarray:
    """Coefficients of a residual: (H, W, 3), any sides, the last row and column repeated -> float64 (3, 64, h, w)."""
    height, width = residual.shape[:2]
    padded = np.pad(residual, ((0, -height % SIDE), (0, -width % SIDE), (0, 0)), mode="edge")
    rows, columns = block_grid(height, width)
    blocks = (padded @ COLOUR.T).reshape(rows, SIDE, columns, SIDE, CHANNELS)
    found = np.einsum("ui,vj,ricjk->kuvrc", DCT, DCT, blocks, optimize=True)
    return np.ascontiguousarray(found.reshape(CHANNELS, BANDS, rows, columns))


def inverse(coefficients: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The residual of coefficients (3, 64, h, w), cut to (height, width): float64 (height, width, 3)."""
    rows, columns = coefficients.shape[2:]
    bands = coefficients.reshape(CHANNELS, SIDE, SIDE, rows, columns)
    blocks = np.einsum("ui,vj,kuvrc->ricjk", DCT, DCT, bands, optimize=True)
    return (blocks.reshape(rows * SIDE, columns * SIDE, CHANNELS) @ COLOUR)[: size[0], : size[1]]
