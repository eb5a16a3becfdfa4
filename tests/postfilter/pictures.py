"""Pictures for the post-filter's tests, and what a filter makes of them."""

import numpy as np

from leechcodec.postfilter.terms import MARGIN, around, filtered, levels_of, planes_of
from tests.pictures import gradient


def picture(height=64, width=96, seed=0):
    smooth = np.asarray(gradient(width, height, seed)).astype(float)
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 1))
    return (smooth * 0.6 + 50 + noise).round().clip(0, 255).astype(np.uint8)


def of_filter(decoded, weights):
    return levels_of(planes_after(decoded, weights))


def planes_after(decoded, weights):
    return filtered(planes_of(around(decoded, np.arange(-MARGIN, len(decoded) + MARGIN))), weights)


def squared(a, b):
    return float(np.square(planes_of(a) - planes_of(b)).sum())
