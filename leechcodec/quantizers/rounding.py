"""Rounding to integers with a discretised Gaussian: the reference point of transform coding.

Ballé et al., "Variational Image Compression with a Scale Hyperprior", arXiv 1802.01436; Minnen et al., "Joint
Autoregressive and Hierarchical Priors", arXiv 1809.02736 (CompressAI); Duan et al., "QARV", arXiv 2302.08899.

The Gaussian has a mean and a scale from the prior, so what is coded is the integer around the prior's mean. The grid
itself is not shifted by that mean, as CompressAI shifts it (ŷ = round(y - μ) + μ): the decoder of pixels never sees the
prior here, and z is made from the decoder's state, so the networks can subtract what they expect. The gradient is
straight-through for the rate too, where CompressAI adds uniform noise.
"""

import numpy as np
import torch
from torch import Tensor

from leechcodec.quantizers.base import INITIAL_RADIUS, SCORE_UNIT, check_dim
from leechcodec.quantizers.grid import GridQuantizer

LIMIT = 127
"""Entries beyond ±127 are clipped: codes are int8."""


class Rounding(GridQuantizer):
    """Codes are the integer vectors within ±127.

    Two prior parameters (a, d) a coordinate: f(v) = a·x + (d - 1)·x²/2, x = v/2. That is a Gaussian at the integers,
    of variance 4 / (1 - d) and mean 2a / (1 - d): of standard deviation 2 where the prior says nothing.
    """

    params_per_coordinate = 2
    delta_min = None

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
        return torch.nan_to_num(z.float(), 0.0, 0.0, 0.0)

    def expand(self, params: Tensor) -> Tensor:
        a, d = params.unbind(-1)
        return torch.stack([a, torch.zeros_like(a), d - 1], -1)

    def integer_params(self, params: np.ndarray) -> np.ndarray:
        a, d = params[..., 0], params[..., 1]
        return np.stack([a, np.zeros_like(a), d - SCORE_UNIT], axis=-1)
