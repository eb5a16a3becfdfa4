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

LIMIT = 15
"""z is brought into ±15 by 15 · tanh(z / 15). Unbounded, it runs away within fifty steps of training: what a stage adds
grows with the state, the next question with what was added."""


class Rounding(GridQuantizer):
    """Codes are the integer vectors within ±15.

    Two prior parameters (a, d) a coordinate: f(v) = a·v + (d - 1)·v²/2. That is a Gaussian at the integers, of
    variance 1 / (1 - d) and mean a / (1 - d): a standard one where the prior says nothing.
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
        return LIMIT * torch.tanh(torch.nan_to_num(z.float(), 0.0, 0.0, 0.0) / LIMIT)

    def expand(self, params: Tensor) -> Tensor:
        a, d = params.unbind(-1)
        return torch.stack([a, torch.zeros_like(a), d - 1], -1)

    def integer_params(self, params: np.ndarray) -> np.ndarray:
        a, d = params[..., 0], params[..., 1]
        return np.stack([a, np.zeros_like(a), d - SCORE_UNIT], axis=-1)
