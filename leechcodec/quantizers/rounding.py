"""Rounding to integers with a discretised Gaussian: the reference point of transform coding.

Ballé et al., "Variational Image Compression with a Scale Hyperprior", arXiv 1802.01436; Minnen et al., "Joint
Autoregressive and Hierarchical Priors", arXiv 1809.02736 (CompressAI); Duan et al., "QARV", arXiv 2302.08899.

CompressAI codes round(y - μ) and gives its decoder round(y - μ) + μ, μ and the scale from the prior. Here z is what the
decoder's state does not say yet: the encoder sees that state and the synthesis transform adds to it, so subtracting and
adding a mean is what the transforms around the quantizer do, and the prior gives the scale of what is left. A mean of
the prior beside the fixed grid was tried and is a trap: the straight-through gradient of the rate pulls z to the mean,
and where that lies between two integers it keeps z on the boundary, a coin toss a coordinate that costs one bit.

The gradient is straight-through for the rate too, where CompressAI adds uniform noise.
"""

import numpy as np
import torch
from torch import Tensor

from leechcodec.entropy.pmf import SCORE_UNIT
from leechcodec.quantizers.base import INITIAL_RADIUS, check_dim
from leechcodec.quantizers.grid import GridQuantizer

LIMIT = 15
"""z is brought into ±15 by 15 · tanh(z / 15). Unbounded, it runs away within fifty steps of training: what a stage adds
grows with the state, the next question with what was added."""


class Rounding(GridQuantizer):
    """Codes are the integer vectors within ±15.

    One prior parameter d a coordinate: f(v) = (d - 1)·v²/2. That is a Gaussian at the integers, of variance 1 / (1 - d)
    and mean zero: a standard one where the prior says nothing.
    """

    params_per_coordinate = 1
    delta_min = None  # pyright: ignore[reportAssignmentType]  (a constant in place of the property)

    def __init__(self, dim: int) -> None:
        check_dim("rounding", dim)
        super().__init__([-LIMIT] * dim, [LIMIT] * dim)
        self.name = f"round-{dim}"
        self.norm_squared = dim  # nominal: what the synthesis transform is given is the integers themselves

    @property
    def unit(self) -> float:
        return 1.0

    @property
    def initial_spread(self) -> float:
        return INITIAL_RADIUS

    def project(self, z: Tensor) -> Tensor:
        return LIMIT * torch.tanh(torch.nan_to_num(z.float(), 0.0, 0.0, 0.0) / LIMIT)

    def expand(self, params: Tensor) -> Tensor:
        zero = torch.zeros_like(params[..., 0])
        return torch.stack([zero, zero, params[..., 0] - 1], -1)

    def integer_params(self, params: np.ndarray) -> np.ndarray:
        zero = np.zeros_like(params[..., 0])
        return np.stack([zero, zero, params[..., 0] - SCORE_UNIT], axis=-1)
