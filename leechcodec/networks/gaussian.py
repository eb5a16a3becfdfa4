"""The Gaussian window of structural similarity, 11 positions wide with a deviation of 1.5, as products of matrices."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
PART = 64
"""Positions of a side that are filtered by one matrix."""


def smooth(image: Tensor) -> Tensor:
    """The Gaussian window at every position where it fits: (B, C, h, w) -> (B, C, h - 10, w - 10).

    As products of matrices, of long sides part by part: a depthwise convolution takes three times as long on a CPU, and
    so does one matrix for the whole of a long side.
    """
    height, width = (side - WINDOW + 1 for side in image.shape[2:])
    if max(height, width) <= PART:
        return _matrix(height, image) @ image @ _matrix(width, image).T
    matrix = _matrix(PART, image)
    own, after = matrix[:, :PART].contiguous(), matrix[:, PART:].contiguous()
    image = F.pad(image, (0, -image.shape[3] % PART, 0, -image.shape[2] % PART))
    parts = image.unflatten(2, (-1, PART))
    image = own @ parts + after @ _next(parts, 2)[:, :, :, : WINDOW - 1]
    image = image.flatten(2, 3)[:, :, :height]
    parts = image.unflatten(3, (-1, PART))
    image = _product(parts, own) + _product(_next(parts, 3)[..., : WINDOW - 1], after)
    return image.flatten(3)[..., :width]


def weights(like: Tensor) -> Tensor:
    """Of the window's positions, (WINDOW,), a sum of 1; in the type and on the device of another tensor."""
    offsets = torch.arange(WINDOW, device=like.device, dtype=like.dtype) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    return window / window.sum()


def _product(parts: Tensor, matrix: Tensor) -> Tensor:
    """parts @ matrix.T as one product of matrices: torch makes thousands of small ones of parts that are a view."""
    return (parts.reshape(-1, parts.shape[-1]) @ matrix.T).view(*parts.shape[:-1], -1)


def _next(parts: Tensor, axis: int) -> Tensor:
    """In every part's place the one after it; the last has none, and nothing of the result that depends on it stays."""
    return torch.cat([parts.narrow(axis, 1, parts.shape[axis] - 1), parts.narrow(axis, 0, 1)], axis)


def _matrix(count: int, like: Tensor) -> Tensor:
    """The window at so many positions in a row: (count, count + 10)."""
    window = weights(like)
    matrix = like.new_zeros(count, count + WINDOW - 1)
    for k in range(WINDOW):
        matrix.diagonal(k).copy_(window[k].expand(count))
    return matrix
