"""SSIMULACRA2's error maps of one scale and their gradient, plane by plane on a processor (ssimulacra2.py).

    y, y², (y - x)² ─▶ window ─▶ structure lost, edges added, edges lost ─▶ means, 4-norms ─▶ weighted sum
                                                                                                  │
              gradient by y ◀── the window's adjoint ◀── by means and variances ◀─────────────────┘

In torch's operators each map goes to memory and back some forty times. Here a plane stays in the cache, and the way
back is computed on the way forward, since what would be kept for it is as large.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from leechcodec import compiled
from leechcodec.networks.gaussian import WINDOW, weights
from leechcodec.threads import in_parts

_OPTIONS: dict[str, Any] = {"fastmath": {"contract", "reassoc", "nsz"}}
entry, inner = compiled.entry(**_OPTIONS), compiled.inner(**_OPTIONS)
HALF = WINDOW // 2
FLOOR = 1e-28
"""Under the fourth root, far below what float32 leaves of an error map that is not 0: its slope has an end."""
_PLANES = 4
"""Of room: for y's means and variances, those of the difference, and what the window is put over."""


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances in the window at every position: float32 (B, C, h, w), h of 5 and more -> the same, twice."""
    planes, window = _planes(images), weights(images).numpy()
    mean, variance = np.empty_like(planes), np.empty_like(planes)

    def fill(part: slice) -> None:
        _moments(planes[part], window, *_room(planes), mean[part], variance[part])

    in_parts(fill, len(planes))
    return torch.from_numpy(mean).view(images.shape), torch.from_numpy(variance).view(images.shape)


def errors(
    y: Tensor, x: Tensor, mean: Tensor, variance: Tensor, of_norms: Tensor, c2: float, wanted: bool
) -> tuple[Tensor, Tensor]:
    """Weighted errors of images y against images x.

    y, x: float32 (B, C, h, w), on the processor.
    mean, variance: of x (:func:`moments`).
    of_norms: weights (C, 2, 3): of the means, then of the 4-norms, of structure lost, edges added, edges lost.
    c2: SSIM's constant.
    wanted: whether gradients are.
    Returns float32 (B,), and their gradients by y, like y, or empty where none are wanted.
    """
    planes, own = tuple(_planes(images) for images in (x, mean, variance)), _planes(y)
    channels, window, of_channels = y.shape[1], weights(y).numpy(), of_norms.double().contiguous().numpy()
    values, gradient = np.empty(len(own)), np.empty(own.shape if wanted else (0, *own.shape[1:]), np.float32)

    def fill(part: slice) -> None:
        original, first = tuple(plane[part] for plane in planes), part.start % channels
        room = _room(own)
        _errors(original, own[part], of_channels, first, c2, wanted, window, *room, values[part], gradient[part])

    in_parts(fill, len(own))
    by_image = torch.from_numpy(values).view(-1, channels).sum(1).float()
    return by_image, torch.from_numpy(gradient).view(y.shape if wanted else gradient.shape)


def _planes(images: Tensor) -> np.ndarray:
    return images.detach().contiguous().flatten(0, 1).numpy()


def _room(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For planes, and for a row with its margins, which stay zero."""
    return np.empty((_PLANES, *planes.shape[1:]), np.float32), np.zeros(planes.shape[2] + 2 * HALF, np.float32)


@entry
def _moments(planes, window, room, row, mean, variance):
    for n in range(len(planes)):
        _put_moments(planes[n], window, row, room[0], mean[n], variance[n])


@entry
def _errors(original, y, of_channels, channel, c2, wanted, window, room, row, values, gradient):
    x, mean, variance = original
    own, space, c2 = (room[0], room[1], room[2]), room[3], np.float32(c2)
    pixels = y.shape[1] * y.shape[2]
    for n in range(len(y)):
        _put_moments(y[n], window, row, space, own[0], own[1])
        _put_squared_difference(x[n], y[n], space)
        _smooth(space, window, row, own[2])
        plane, of_norms = (x[n], mean[n], variance[n]), of_channels[(channel + n) % len(of_channels)]
        sums = _sums(plane, y[n], own, c2)
        values[n] = 0
        for k in range(3):
            fourth = sums[3 + k] / pixels + FLOOR
            values[n] += of_norms[0, k] * sums[k] / pixels + of_norms[1, k] * (fourth**0.25 - FLOOR**0.25)
        if wanted:
            lost, added = _slopes(of_norms, sums, 0, pixels), _slopes(of_norms, sums, 1, pixels)
            gone = _slopes(of_norms, sums, 2, pixels)
            _turn(plane, y[n], own, c2, (lost, added, gone), gradient[n])
            _add_back(x[n], y[n], own, window, row, space, gradient[n])


@inner
def _slopes(of_norms, sums, k, pixels):
    """Of the weighted sum by an error e of map k: first + second · e³."""
    fourth = sums[3 + k] / pixels + FLOOR
    return np.float32(of_norms[0, k] / pixels), np.float32(of_norms[1, k] / pixels * fourth**-0.75)


@inner
def _put_moments(image, window, row, space, mean, variance):
    """Means and variances in the window at every position."""
    _smooth(image, window, row, mean)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            space[i, j] = image[i, j] * image[i, j]
    _smooth(space, window, row, variance)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            variance[i, j] -= mean[i, j] * mean[i, j]


@inner
def _put_squared_difference(a, b, target):
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            target[i, j] = (a[i, j] - b[i, j]) * (a[i, j] - b[i, j])


@inner
def _smooth(image, window, row, target):
    """The window at every position. Beyond the border there is the image's mirror image above and below, else zero."""
    height, width = image.shape
    for i in range(height):
        inside = row[HALF : HALF + width]
        inside[:] = 0
        for k in range(WINDOW):
            at = i + k - HALF
            at = -1 - at if at < 0 else at
            at = 2 * height - 1 - at if at >= height else at
            _add_row(inside, image[at], window[k])
        _along(row, window, target[i])


@inner
def _adjoint(slopes, window, row, space):
    """The adjoint of :func:`_smooth`: slopes by its result -> slopes by its image, in space."""
    height, width = slopes.shape
    for i in range(height):
        inside = row[HALF : HALF + width]
        inside[:] = 0
        _add_column(slopes, i, window, inside)
        if i < HALF:
            _add_column(slopes, -1 - i, window, inside)
        if i >= height - HALF:
            _add_column(slopes, 2 * height - 1 - i, window, inside)
        _along(row, window, space[i])


@inner
def _add_column(image, centre, window, row):
    """What the window has around a row that may lie outside, zero there."""
    for k in range(max(0, HALF - centre), min(WINDOW, len(image) + HALF - centre)):
        _add_row(row, image[centre + k - HALF], window[k])


@inner
def _add_row(row, other, factor):
    for j in range(len(row)):
        row[j] += factor * other[j]


@inner
def _along(row, window, target):
    """The window along a row with its margins."""
    target[:] = 0
    for k in range(WINDOW):
        _add_row(target, row[k : k + len(target)], window[k])


@inner
def _structure(mean, variance, own_mean, own_variance, difference, c2):
    """Structure lost, and what its slopes are made of: how far means differ, squared; SSIM's contrast part, less 1."""
    luminance = (mean - own_mean) * (mean - own_mean)
    contrast = (difference - luminance) / (variance + own_variance + c2)
    return contrast + luminance - contrast * luminance, luminance, contrast


@inner
def _edges(x, mean, y, own_mean):
    """Edges added, or less than 0 where they are lost."""
    return (1 + abs(y - own_mean)) / (1 + abs(x - mean)) - 1


@inner
def _sums(plane, y, own, c2):
    """Of the three error maps, then of their fourth powers."""
    x, mean, variance = plane
    own_mean, own_variance, difference = own
    zero = np.float32(0)
    lost, added, gone, lost4, added4, gone4 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(y.shape[0]):
        a, b, c, a4, b4, c4 = zero, zero, zero, zero, zero, zero
        for j in range(y.shape[1]):
            structure, _, _ = _structure(
                mean[i, j], variance[i, j], own_mean[i, j], own_variance[i, j], difference[i, j], c2
            )
            edges = _edges(x[i, j], mean[i, j], y[i, j], own_mean[i, j])
            structure, more, less = max(structure, zero), max(edges, zero), max(-edges, zero)
            a += structure
            b += more
            c += less
            a4 += (structure * structure) * (structure * structure)
            b4 += (more * more) * (more * more)
            c4 += (less * less) * (less * less)
        lost, added, gone, lost4, added4, gone4 = lost + a, added + b, gone + c, lost4 + a4, added4 + b4, gone4 + c4
    return lost, added, gone, lost4, added4, gone4


@inner
def _turn(plane, y, own, c2, slopes, gradient):
    """The slopes by y's means, by the window's mean of y² and by that of (y - x)², in their places; gradient: the part
    that comes from y itself."""
    x, mean, variance = plane
    own_mean, own_variance, difference = own
    lost, added, gone = slopes
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            structure, luminance, contrast = _structure(
                mean[i, j], variance[i, j], own_mean[i, j], own_variance[i, j], difference[i, j], c2
            )
            edges = _edges(x[i, j], mean[i, j], y[i, j], own_mean[i, j])
            by_structure = lost[0] + lost[1] * structure * structure * structure if structure > zero else zero
            by_edges = added[0] + added[1] * edges * edges * edges if edges > zero else zero
            by_edges = -(gone[0] - gone[1] * edges * edges * edges) if edges < zero else by_edges
            by_edges = by_edges / (one + abs(x[i, j] - mean[i, j]))
            by_edges = by_edges if y[i, j] > own_mean[i, j] else -by_edges
            by_difference = by_structure * (one - luminance) / (variance[i, j] + own_variance[i, j] + c2)
            by_variance = -by_difference * contrast
            by_luminance = by_structure * (one - contrast) - by_difference
            by_mean = two * (own_mean[i, j] - mean[i, j]) * by_luminance - two * own_mean[i, j] * by_variance
            gradient[i, j] = by_edges
            own_mean[i, j] = by_mean - by_edges
            own_variance[i, j] = by_variance
            difference[i, j] = by_difference


@inner
def _add_back(x, y, slopes, window, row, space, gradient):
    """The gradient with what comes through y's window: slopes as :func:`_turn` leaves them."""
    two = np.float32(2)
    for part in range(3):
        _adjoint(slopes[part], window, row, space)
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                through = space[i, j]
                if part == 1:
                    through *= two * y[i, j]
                elif part == 2:
                    through *= two * (y[i, j] - x[i, j])
                gradient[i, j] += through
