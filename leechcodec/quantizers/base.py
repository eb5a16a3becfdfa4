"""What the transforms, the prior, the coder and the trainer know of a quantizer, and nothing more."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

SCORE_UNIT = 64
"""The integer prior's parameters are in units of 1/64 nat."""
MAX_SCORE = 25.0
"""Scores f_i(v) are clamped to ±25 nats in training and in coding alike."""


class Quantizer(ABC):
    """Quantization of directions in R^dim to a fixed code of integer vectors of one norm.

    A code c is an integer vector of squared norm ``norm_squared``; c / sqrt(norm_squared) lies on the unit sphere.
    The probability of a code is separable: p(c) = exp(sum_i f_i(c_i)) / Z with one score function f_i a
    coordinate, each given by ``params_per_coordinate`` numbers that the prior predicts.
    """

    name: ClassVar[str]
    dim: int
    norm_squared: int
    params_per_coordinate: int
    bits: float
    """log2 of the codebook's size: the cost of a token in bits without a prior."""

    @property
    def num_params(self) -> int:
        """Prior outputs a token."""
        return self.dim * self.params_per_coordinate

    @abstractmethod
    def nearest(self, z: Tensor) -> Tensor:
        """Nearest codes of directions: float32 (N, dim), rows non-zero and finite -> int8 (N, dim)."""

    @abstractmethod
    def runner_up(self, z: Tensor, codes: Tensor) -> Tensor:
        """Nearest codes other than given ones: float32 (N, dim), int8 (N, dim) -> int8 (N, dim)."""

    @abstractmethod
    def score(self, params: Tensor, codes: Tensor) -> Tensor:
        """sum_i f_i(c_i) in nats, differentiable in both: (N, dim, P), (N, dim) float -> (N,)."""

    @abstractmethod
    def log_partition(self, params: Tensor) -> Tensor:
        """log Z in nats over the whole codebook, differentiable: (N, dim, P) -> (N,)."""

    @abstractmethod
    def code_tokens(self, coder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        """Drive an entropy coder over N tokens, in either direction, with exact integer probabilities.

        params: int64 (N, dim, P) in units of 1/64 nat. codes: int8 (N, dim), or None to decode.
        Returns the codes written or read, int8 (N, dim).
        """

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize with a straight-through gradient.

        z: float (..., dim), any length (a zero or non-finite row stands for the direction (1, ..., 1)).
        Returns (codes int8 (..., dim), codes as float32 (..., dim) whose gradient is that of
        sqrt(norm_squared) * z / |z|).
        """
        u = self.project(z)
        codes = self.nearest(u.detach().reshape(-1, self.dim)).reshape(u.shape)
        return codes, u + (codes - u).detach()

    def project(self, z: Tensor) -> Tensor:
        """What a vector is compared with the codes as, sqrt(norm_squared) * z / |z|: float (..., dim), same shape."""
        z = z.float()
        norm = z.norm(dim=-1, keepdim=True)
        usable = (norm > 1e-12) & (norm < 1e18)
        z = torch.where(usable, z, torch.ones_like(z))
        return z * (self.norm_squared**0.5 / torch.where(usable, norm, norm.new_tensor(self.dim**0.5)))

    def entropy_loss(self, z: Tensor) -> Tensor:
        """A penalty that keeps the code in use, where the method has one: (N, dim) -> scalar in nats, zero here."""
        return z.new_zeros(())

    def bits_of(self, params: Tensor, codes: Tensor) -> Tensor:
        """-log2 p(c), differentiable: params (N, dim, P), codes float (N, dim) -> (N,) bits."""
        with torch.autocast(params.device.type, enabled=False):
            return (self.log_partition(params.float()) - self.score(params.float(), codes)) * 1.4426950408889634
