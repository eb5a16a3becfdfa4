"""What the transforms, the prior, the coder, the trainer and the laboratory know of a quantizer, and nothing more.

    z ── project ──▶ u ── nearest ──▶ codes ── codes_to_vectors ──▶ codewords, as the literature scales them
                                      │  ▲ └── codes_to_indices ──▶ 0 .. size - 1, and back
                                      ▼  │
                                 code_tokens ◀── integer parameters of the prior

A code is an integer vector, int8 (dim,), for every method alike: the prior is fed these integers, files hold them, and
the synthesis transform is given them times one constant. What a method has of its own is which integer vectors there
are, which one is taken for z, and how one is written as symbols.
"""

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from leechcodec.entropy.pmf import SCORE_LIMIT, SCORE_UNIT
from leechcodec.errors import ConfigError, ModelError, QuantizerError
from leechcodec.quantizers.code import TokenCode, check_codes, check_countable, check_numbers

MAX_SCORE = SCORE_LIMIT / SCORE_UNIT
"""Scores f_i(v) of Λ24-SQ and BSQ are clamped to ±25 nats in training and in coding alike."""
INITIAL_RADIUS = 1.2
"""Root mean square length of z before training, in units of the codewords' length."""
LARGEST = 1e15
"""Of a vector's entries: from there on float32 has no length of it."""
RADIUS = 2.0
"""Of the ball that z is clipped to where its length matters and codewords are near 1, as a root mean square."""


class Quantizer(nn.Module, TokenCode):
    """Quantization of vectors in R^dim to a code of integer vectors.

    The probability of a code is separable: p(c) = exp(sum_i f_i(c_i)) / Z with one score function f_i a coordinate,
    each given by ``params_per_coordinate`` numbers that the prior predicts. Unless a method says otherwise these are
    (a, b, d), in nats, and

        f(v) = a·x + b·|x| + d·x²/2,    x = v / 2^code_shift.
    """

    spherical: bool = True
    """Whether only z's direction matters."""
    learned: bool = False
    """Whether training moves the codewords."""

    @property
    def initial_spread(self) -> float:
        """Standard deviation of z's coordinates to start training from."""
        return INITIAL_RADIUS * (self.norm_squared / self.dim) ** 0.5

    # --- geometry ---------------------------------------------------------------------------------------------

    @property
    def unit(self) -> float | Tensor:
        """A codeword is its code divided by this: a number, or one per coordinate (dim,). Here on the unit sphere."""
        return self.norm_squared**0.5

    @property
    def centre(self) -> float | Tensor:
        """Mean of the codewords: a number, or one per coordinate (dim,). Zero, but for an even number of levels."""
        return 0.0

    @property
    @abstractmethod
    def delta_min(self) -> float | None:
        """The smallest Euclidean distance between two codewords, at the scale at which their root mean square length
        is 1 (on the unit sphere, for a spherical code). None where it says nothing, of a code that is not meant to be
        used evenly. Always exact."""

    @property
    def covering_cosine(self) -> float | None:
        """The smallest cosine between any direction and its nearest codeword, where it is known."""
        return None

    def codes_to_vectors(self, codes: Tensor) -> Tensor:
        """Codewords: int8 (..., dim) -> float32 (..., dim). Raises QuantizerError for another dimension, or entries
        out of range; whether a code is one of the codebook is :meth:`codes_to_indices`' to say."""
        self.check_codes(codes)
        return codes.float() / torch.as_tensor(self.unit, device=codes.device)

    def vectors_to_codes(self, vectors: Tensor) -> Tensor:
        """Codes of codewords, the inverse of :meth:`codes_to_vectors`: float (..., dim) -> int8 (..., dim). Of other
        vectors the nearest; of spherical codes zero stands for (1, ..., 1). Raises QuantizerError for another dimension
        and for what is not finite or beyond :data:`LARGEST`."""
        self.check_vectors(vectors)
        if (vectors.abs() > LARGEST).any():
            raise QuantizerError(f"{self.name} was given a vector beyond {LARGEST:g}")
        scaled = (vectors.float() * torch.as_tensor(self.unit, device=vectors.device)).reshape(-1, self.dim)
        return self.nearest(self.project(scaled) if self.spherical else scaled).reshape(vectors.shape)

    @abstractmethod
    def codes_to_indices(self, codes: Tensor) -> Tensor:
        """Numbers 0 .. size - 1 of codes: int8 (..., dim) -> int64 (...). Raises QuantizerError for what is no code,
        and where numbers of 64 bits are too small."""

    @abstractmethod
    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """The inverse of :meth:`codes_to_indices`: int64 (...) -> int8 (..., dim). Raises QuantizerError for a number
        out of range."""

    def check_indices(self, indices: Tensor) -> None:
        """Raises QuantizerError for a number out of range, or where numbers of 64 bits are too small."""
        check_numbers(self, indices.cpu().numpy())

    def check_countable(self) -> None:
        check_countable(self)

    def check_codes(self, codes: Tensor) -> None:
        """Raises QuantizerError for what cannot be codes: of another dimension, or with entries out of range."""
        check_codes(self, codes.detach().cpu().numpy())

    def numbers_of(self, codes: np.ndarray) -> np.ndarray:
        return self.codes_to_indices(torch.from_numpy(np.array(codes))).numpy()  # views may run backwards

    def codes_of(self, numbers: np.ndarray) -> np.ndarray:
        return self.indices_to_codes(torch.from_numpy(np.array(numbers))).to("cpu", torch.int8).contiguous().numpy()

    def check_vectors(self, z: Tensor) -> None:
        """Raises QuantizerError for vectors of another dimension, or such that are not finite."""
        if z.ndim == 0 or z.shape[-1] != self.dim:
            raise QuantizerError(f"{self.name} quantizes {self.dim} dimensions, got shape {tuple(z.shape)}")
        if not z.isfinite().all():
            raise QuantizerError(f"{self.name} was given a vector that is not finite")

    # --- quantization -----------------------------------------------------------------------------------------

    def project(self, z: Tensor) -> Tensor:
        """What a vector is compared with the codes as: float (..., dim), same shape, in integer units.

        Here sqrt(norm_squared) * z / |z|; a zero or non-finite row stands for the direction (1, ..., 1).
        """
        z = z.float()
        norm = z.norm(dim=-1, keepdim=True)
        usable = (norm > 1e-12) & (norm < 1e18)
        z = torch.where(usable, z, torch.ones_like(z))
        return z * (self.norm_squared**0.5 / torch.where(usable, norm, self.dim**0.5))

    @abstractmethod
    def nearest(self, u: Tensor) -> Tensor:
        """Nearest codes: float32 (N, dim) as :meth:`project` gives them -> int8 (N, dim)."""

    @abstractmethod
    def runner_up(self, u: Tensor, codes: Tensor) -> Tensor:
        """Nearest codes other than given ones: float32 (N, dim), int8 (N, dim) -> int8 (N, dim)."""

    def quantize(self, z: Tensor, *, check: bool = True) -> tuple[Tensor, Tensor]:
        """Quantize with a straight-through gradient.

        z: float (..., dim). Returns (codes int8 (..., dim), the same as float32 (..., dim) whose gradient is that of
        project(z)). Codes stay where they are: given as z, a spherical code comes back as itself. (A bounded one, FSQ's
        or rounding's, is bent by its tanh once more; its :meth:`nearest` leaves codes alone.)

        Raises QuantizerError for z of another dimension or not finite. check: networks do without, which for an
        accelerator would be a wait; a row that is not finite is then given a fixed code.
        """
        if check:
            self.check_vectors(z)
        return self.quantize_projected(self.project(z))

    def quantize_projected(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`quantize` of what :meth:`project` gives: float32 (..., dim)."""
        codes = self.nearest(u.detach().reshape(-1, self.dim)).reshape(u.shape)
        return codes, straight_through(codes, u)

    # --- training ---------------------------------------------------------------------------------------------

    def entropy_loss(self, z: Tensor) -> Tensor:
        """A penalty that keeps the code in use, where the method has one: (N, dim) -> scalar, zero here.

        The trainer weighs it by ``entropy_weight``, which is zero unless a config says otherwise.
        """
        return z.new_zeros(())

    def codebook_loss(self, z: Tensor) -> Tensor:
        """What the method itself minimises beside the codec's loss, where it has codewords or distances to learn:
        (N, dim) -> scalar, mean square a coordinate, zero here. Always part of the loss."""
        return z.new_zeros(())

    def after_step(self, fraction: float) -> None:
        """Called after every step of the optimizers with the share of the run that is done, 0..1: averages that move,
        temperatures that fall."""

    def skip_step(self) -> None:
        """Called in place of :meth:`after_step` where a step was not taken: what was gathered for it is dropped."""

    def refresh(self) -> None:
        """Called when parameters were written from outside: what is derived from them is derived anew."""

    def frozen(self) -> dict[str, np.ndarray]:
        """Integer tensors that fix the codes beside the name, for a released model's file and id; none here."""
        return {}

    def load_frozen(self, tensors: dict[str, np.ndarray]) -> None:
        """Take what :meth:`frozen` gave. Raises ModelError where it is not that."""
        if tensors:
            raise ModelError(f"{self.name} has no tensor {min(tensors)}")

    # --- probability ------------------------------------------------------------------------------------------

    def expand(self, params: Tensor) -> Tensor:
        """(a, b, d) from the prior's numbers: (N, dim, P) -> (N, dim, 3)."""
        return params

    def features(self, codes: Tensor) -> Tensor:
        """(x, |x|, x²/2), x = v / 2^code_shift: (..., dim) -> float (..., dim, 3)."""
        x = codes * 0.5**self.code_shift
        return torch.stack([x, x.abs(), x.square() / 2], -1)

    def score(self, params: Tensor, codes: Tensor) -> Tensor:
        """sum_i f_i(c_i) in nats, differentiable in both: (N, dim, P), (N, dim) float -> (N,)."""
        return (self.expand(params.float()) * self.features(codes)).sum((-2, -1))

    @abstractmethod
    def log_partition(self, params: Tensor) -> Tensor:
        """log Z in nats over the whole codebook, differentiable: (N, dim, P) -> (N,)."""

    def bits_of(self, params: Tensor, codes: Tensor) -> Tensor:
        """-log2 p(c), differentiable: params (N, dim, P), codes float (N, dim) -> (N,) bits."""
        return self.bits_and_log_partition(params, codes)[0]

    def bits_and_log_partition(self, params: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`bits_of`, and log Z in nats that it took: (N,) each."""
        with full_precision(params):
            log_z = self.log_partition(params.float())
            return (log_z - self.score(params.float(), codes)) * 1.4426950408889634, log_z


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """A context without autocast: in bf16 the nearest of thousands of codewords is another one."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def straight_through(codes: Tensor, u: Tensor) -> Tensor:
    """The codes as float32, to the last bit, with the gradient of u: same shapes."""
    return codes.float() + (u - u.detach())  # u + (codes - u).detach() is rounded, and often falls short of a code


def clipped(z: Tensor, radius: float) -> Tensor:
    """Vectors brought into a ball, finite: float (..., dim), same shape."""
    z = torch.nan_to_num(z.float(), 0.0, 0.0, 0.0)
    return z * (radius / z.norm(dim=-1, keepdim=True).clamp(min=radius))


def check_dim(name: str, dim: int, least: int = 1) -> None:
    """Raises ConfigError for a dimension too small."""
    if dim < least:
        raise ConfigError(f"{name} needs a dimension of at least {least}, got {dim}")
