"""How far a decoded picture is from its original, for the search for a target. The laboratory has more metrics."""

import numpy as np

PSNR_CAP = 100.0
"""dB. Identical images have no finite PSNR, and a mean over images needs one."""


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 arrays of one shape, at most PSNR_CAP."""
    return decibels(squared_error(a, b) / a.size)


def squared_error(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of the squared differences of two uint8 arrays, exactly."""
    return float(np.square(np.subtract(a, b, dtype=np.int16), dtype=np.int32).sum(dtype=np.int64))


def decibels(error: float) -> float:
    """The PSNR of a mean squared error."""
    return PSNR_CAP if error == 0 else min(PSNR_CAP, float(10 * np.log10(255**2 / error)))
