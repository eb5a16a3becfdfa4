"""Normal equations of the post-filter's weights: of squared error, and of the structure that luma lacks.

    decoded, original ─▶ every nth row ─┬─▶ terms t, what is missing m ──────▶ Σ t · t, Σ t · m
                                        └─▶ means and variances of squares ──▶ the same of structure, with weights

Squared error alone likes textures that are fainter than the original's. So 1 - s counts beside it, where s compares the
variances and the covariance of original x and decoded picture y in squares of 9 x 9 pixels:

    s = (2 cov(x, y) + c) / (var x + var y + c)        contrast and structure of SSIM

(Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004.) Its slope at a
pixel is that of a squared error of weight 1 / (var x + var y + c) towards y' with s · (y' - mean y) = x - mean x.
"""

from dataclasses import dataclass

import numpy as np

from leechcodec.detail.transform import CHANNELS
from leechcodec.postfilter.terms import BOXES, MARGIN, TERMS, around, box_mean, planes_of, terms

SAMPLED = 1 << 17
"""Pixels that the equations are made of, about: rows from top to bottom. As many in a few strips fit these alone, and
lose half of the gain at low rates."""
STRUCTURE = 0.35
"""How much luma's structure counts, the squared error of its patterns being 1, when both change by the same share."""
_AT_ONCE = 1 << 15
"""Pixels whose terms are in memory together, where a row has no more."""
_CONSTANT = 0.06**2
"""c, of planes whose range is 2."""
_REACH = np.arange(-MARGIN, MARGIN + 1)


@dataclass(frozen=True)
class Equations:
    """Normal equations of the terms' weights, sums over sampled pixels.

    products: float64 (3, 52, 52), of two terms, for each plane that is filtered. targets: float64 (3, 52), of a term
    and what a plane lacks. pixels: how many. Planes are those of terms.py: a pixel's squared error in levels is 3 ·
    127.5² times the sum of theirs. Structure is brought to the size of squared error.
    """

    products: np.ndarray
    targets: np.ndarray
    pixels: int

    def saved(self, weights: np.ndarray) -> float:
        """Error of the sampled pixels' planes that weights (3, 52) take away."""
        return float(sum(w @ (2 * t - p @ w) for p, t, w in zip(self.products, self.targets, weights, strict=True)))


def equations(original: np.ndarray, decoded: np.ndarray) -> Equations:
    """Of pictures, uint8 (H, W, 3), all their rows or every so many."""
    height, width, _ = decoded.shape
    rows = np.arange(0, height, spacing(height, width))
    products, targets = np.zeros((2, TERMS, TERMS)), np.zeros((1 + CHANNELS, TERMS))
    error = lost = 0.0
    for own in np.array_split(rows, -(-len(rows) * width // _AT_ONCE)):
        near, wanted = _near(decoded, own), _near(original, own)
        found = np.stack([term.reshape(-1) for term in terms(near)])
        missing = (wanted[MARGIN] - near[MARGIN])[:, :, MARGIN:-MARGIN].reshape(CHANNELS, -1)
        similarity, weight, towards, patterns = (part.reshape(-1) for part in _structure(near, wanted))
        products[0] += found @ found.T
        products[1] += (found * (weight * similarity.clip(0))) @ found.T
        targets[:CHANNELS] += missing @ found.T
        targets[CHANNELS] += found @ (weight * towards)
        error += float(np.square(patterns).sum())
        lost += float((1 - similarity).sum())
    counts = STRUCTURE * error / max(lost, 1e-9)
    targets[0] += counts * targets[CHANNELS]
    each = np.stack([products[0] + counts * products[1], products[0], products[0]])
    return Equations(each, targets[:CHANNELS], len(rows) * width)


def spacing(height: int, width: int) -> int:
    """Of the rows that the equations are made of: odd, since networks draw four rows at a time, each in its own way."""
    return max(1, round(height * width / SAMPLED)) | 1


def _near(levels: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Planes of those rows, and of the rows 4 above to 4 below them: float32 (3, n, W + 8) each."""
    needed = np.unique(rows[:, None] + _REACH)
    planes = planes_of(around(levels, needed))
    return [planes[:, np.searchsorted(needed, rows + step)] for step in _REACH]


def _structure(near: list[np.ndarray], wanted: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Of luma at every pixel, float32 (n, W) each: s, the weight of structure, (x - mean x) - s · (y - mean y), and the
    same with s = 1: what a flat square's cast has no part in."""
    pairs = [(own[0], other[0]) for own, other in zip(near, wanted, strict=True)]
    moments = [np.stack([y, x, y * y, x * x, x * y]) for y, x in pairs]
    y, x, yy, xx, xy = (box_mean(moments, moment, BOXES[-1]) for moment in range(5))
    weight = 1 / ((yy - y * y).clip(0) + (xx - x * x).clip(0) + np.float32(_CONSTANT))
    similarity = (2 * (xy - x * y) + np.float32(_CONSTANT)) * weight
    own, other = (plane[:, MARGIN:-MARGIN] - mean for plane, mean in zip(pairs[MARGIN], (y, x), strict=True))
    return similarity, weight, other - similarity * own, other - own
