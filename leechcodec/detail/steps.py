"""How coarse a coefficient's step is, against the file's: finer where an error shows.

Errors of fine patterns are seen less than those of coarse ones, and errors in a busy block less than in a smooth one.
Both follow from what a decoder has already: a coefficient's frequency, and the picture that the tokens decode to.
Over a picture's blocks, and over a block's frequencies, the mean square is 1: where all steps are fine the squared
error is that of equal steps.
"""

import numpy as np

from leechcodec.detail.strips import strips
from leechcodec.detail.transform import BANDS, SIDE, in_blocks

SLOPE = 1 / 16
"""For each half wave of frequency a step is coarser by so much of the one at frequency 0."""
EXPONENT = 1 / 16
"""Of a block's variance. This and the slope save 12 % at equal SSIMULACRA2 and cost 4 % at equal PSNR
(``python -m tools.tune_detail steps``, docs/experiments.md)."""
FLOOR = 9.0
"""Added to a variance, in squared levels."""


def relative_steps(blocks: np.ndarray) -> np.ndarray:
    """Multiples of the file's step, float64 (64, rows, columns). blocks: of :func:`of_blocks`, or some of its rows."""
    return of_frequencies()[:, None, None] * blocks


def of_frequencies() -> np.ndarray:
    """(64,)."""
    down, across = np.divmod(np.arange(BANDS), SIDE)
    return _normalised(1 + SLOPE * np.hypot(down, across))


def of_blocks(decoded: np.ndarray) -> np.ndarray:
    """float64 (rows, columns): by the variance of luma in a block, half of it from the four beside it.

    decoded: uint8 (H, W, 3), the picture below the layer, all of it.
    """
    variance = np.concatenate([_variance(decoded[rows]) for rows in strips(*decoded.shape[:2])])
    around = np.pad(variance, 1, mode="edge")
    beside = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    return _normalised(((4 * variance + beside) / 8 + FLOOR) ** EXPONENT)


def _variance(decoded: np.ndarray) -> np.ndarray:
    """Of luma in every block."""
    luma = decoded.sum(axis=2, dtype=np.float64) / np.sqrt(3)
    return in_blocks(luma).var(axis=(1, 3))


def _normalised(steps: np.ndarray) -> np.ndarray:
    """Of mean square 1."""
    return steps / np.sqrt(np.square(steps).mean())
