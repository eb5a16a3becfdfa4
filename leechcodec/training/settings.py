"""Training settings: the [training] table of a config file, beside its [model] table."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.field_types import check_types
from leechcodec.training.data import check_scales
from leechcodec.training.precision import check_precision

_WEIGHTS = (
    "entropy_weight", "commitment", "contest", "similarity", "ssimulacra2", "mae", "lpips", "adversarial",
    "adversarial_start", "z_loss", "vf_weight", "dion_rank", "muon_lr", "adam_lr", "weight_decay", "loss_exponent",
    "checkpoint_minutes", "activation_penalty", "score_penalty",
    "prior_rates",
)  # fmt: skip
"""Numbers that are never negative."""
_UP_TO_ONE = (
    "large_share", "large_from", "decay", "decay_to", "graphics", "picture_exponent", "masking", "rate_start",
    "validation_share",
)  # fmt: skip
"""Shares of a whole."""
_SHARES = "similarity, ssimulacra2, mae and lpips"


def check_ranges(config: object, *, shares: Sequence[str] = (), numbers: Sequence[str] = ()) -> None:
    """Raises ConfigError for shares that are not within 0..1, and for numbers that are negative or none."""
    for name in shares:
        if not 0 <= getattr(config, name) <= 1:
            raise ConfigError(f"{name} is a share, 0 to 1, got {getattr(config, name)!r}")
    for name in numbers:
        if not 0 <= getattr(config, name) < math.inf:
            raise ConfigError(f"{name} must be a number, 0 or more, got {getattr(config, name)!r}")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Loss of an image: weight · share · (lmbda · D + bpp + (commitment · Σ |z - c|² / |c|² + contest · Σ δ) / pixels),
    δ the expected change of runner_up_loss.py, weight = (lmbda / lmbda_mid)^-α and share = (0.5 / (weight · (lmbda ·
    255² · MSE + bpp)))^β without gradient, D weighed by masking; of a batch their mean, plus entropy_weight · the
    quantizer's entropy penalty, plus its codebook loss (of VQ, SimVQ and LGQ), plus z_loss · mean (log Z)², plus
    activation_penalty · Σ (|h| - 32)² / pixels of the prior's activations beyond 32, plus score_penalty · Σ p² /
    pixels of the parameters p of all tokens, plus vf_weight · the loss of
    alignment.py. D = (1 - similarity - ssimulacra2 - mae - lpips) · 255² · MSE + similarity · 1300 · (1 - MS-SSIM) +
    ssimulacra2 · 8 · SSIMULACRA2's distance + mae · 3000 · MAE + lpips · 330 · LPIPS - adversarial · 330 ·
    discriminator(x̂), errors of values 0..1.
    """

    steps: int = 10_000
    batch: int = 16
    crop: int = 128
    large_crop: int = 0
    """Side of the large crops; 0: none. Crops of 128 have 2 x 2 positions at stride 64: networks that saw nothing else
    do not know the inside of a picture (docs/experiments.md)."""
    large_batch: int = 2
    large_share: float = 0.5
    """Share of the steps that are about large crops ..."""
    large_from: float = 0.67
    """... up to this share of the run; from there all are."""
    scales: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest scale at which a photograph is shown (data.py)."""
    graphics: float = 0.0
    """Share of the crops that are drawn: text, interfaces, charts, flat colours (graphics.py)."""
    choices: int = 1
    """Windows drawn for each crop, of which the busiest is taken (data.py)."""
    seed: int = 1
    optimizer: str = "muon"
    """Of the matrices: "muon", or "dion" (dion.py)."""
    dion_rank: float = 1.0
    """Rank of Dion's updates as a share of a matrix's smaller side."""
    muon_lr: float = 2e-3
    """Of the matrices, whichever optimizer they have: the size of an update is the same."""
    adam_lr: float = 1e-3
    prior_rates: float = 1.0
    """The prior's learning rates as a share of the others'."""
    prior_adam: bool = False
    """Whether the prior's matrices go to AdamW, too, without weight decay. Steps of Muon have one size for all
    matrices: every pass's branch grows loud, and 26 of them in a row, without a norm, carry small differences to the
    limit (docs/experiments.md)."""
    weight_decay: float = 0.1
    warmup: int = 100
    decay: float = 0.4
    """Share of the steps at the end over which both rates fall linearly ..."""
    decay_to: float = 0.05
    """... to this share of their peak."""
    rate_tokens: int = 1024
    """Tokens a stage pass that enter the rate term."""
    rate_start: float = 0.05
    """The rate's weight at the first step ..."""
    rate_warmup: int = 1000
    """... from which it rises linearly to 1: tokens must learn to be useful before they learn to be cheap."""
    loss_exponent: float = 0.5
    """α: how much the high rates' larger losses are weighed down."""
    picture_exponent: float = 0.0
    """β: how much a picture's own loss is weighed down. Smooth pictures have a tenth of a usual loss, text has ten
    times as much; with 1 all count alike, as they do in a mean of decibels."""
    masking: float = 0.0
    """All distortion of a picture weighs (usual / own squared error)^masking as much, contests apart. Busy pictures
    hide errors that smooth ones show; one trade-off for all gives the smooth ones fewer bits than other codecs'
    dials do."""
    entropy_weight: float = 0.0
    """Of the quantizer's own entropy penalty in nats: BSQ and LFQ (0.1 in their recipes), LGQ (0.005); others have
    none."""
    commitment: float = 0.0
    """Bits for a z one codeword's length away from its code. Straight-through gradients are taken at the code, not at
    z: they miss the loss's curvature between the two, and this is that curvature (docs/experiments.md)."""
    contest: float = 0.0
    """Weight of the runner-up loss (runner_up_loss.py), a token against its nearest other code; 0: no time spent."""
    similarity: float = 0.0
    """Share of the distortion given to MS-SSIM in place of the squared error (ms_ssim.py)."""
    ssimulacra2: float = 0.0
    """Share of the distortion given to SSIMULACRA2's distance (ssimulacra2.py)."""
    mae: float = 0.0
    """Share of the distortion given to the mean absolute error."""
    lpips: float = 0.0
    """Share of the distortion given to LPIPS."""
    adversarial: float = 0.0
    """Weight of a discriminator's verdict in the distortion, in units of LPIPS (discriminator.py)."""
    adversarial_start: int = 500
    """The discriminator learns alone up to this step."""
    z_loss: float = 0.0
    """Weight of the mean square of the prior's log Z in nats, over the rate term's tokens (docs/experiments.md)."""
    activation_penalty: float = 0.0
    """Weight of the squares of the prior's activations beyond 32, half the coder's limit, a pixel. Where they come to
    the limit the prior breaks (docs/experiments.md)."""
    score_penalty: float = 0.0
    """Weight of the squares of the parameters that the prior gives a token, a pixel. What is nearly certain has next
    to no gradient; without it scores grow until an unlikely token costs 150 bits (docs/experiments.md)."""
    vf_weight: float = 0.0
    """Weight of the alignment of z with a frozen vision network (alignment.py)."""
    dial: tuple[float, float] = (1.0, 100.0)
    """The qualities that a batch is spread over; twice the same for a model of a single rate."""
    ema: float = 0.998
    precision: str = "auto"
    """Of the networks and of Muon: "bf16", "float32", or "auto", whichever is faster here (precision.py)."""
    spike_factor: float = 2.0
    """A step whose squared error and rate are that many times their running mean is skipped."""
    validation_share: float = 0.02
    validation_every: int = 1000
    checkpoint_minutes: float = 3.0
    exclude: tuple[str, ...] = ()
    """File names never trained on."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.steps < 1 or self.batch < 1 or self.crop < 64 or self.crop % 64:
            raise ConfigError("training needs steps >= 1, batch >= 1 and a crop that is a multiple of 64")
        if self.rate_tokens < 1 or self.validation_every < 1 or self.choices < 1:
            raise ConfigError("training needs rate_tokens >= 1, validation_every >= 1 and choices >= 1")
        if self.warmup < 0 or self.rate_warmup < 0 or self.seed < 0:
            raise ConfigError("warmup, rate_warmup and seed are whole numbers, 0 or more")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema must be from 0 to less than 1, got {self.ema!r}")
        if not self.spike_factor > 1:
            raise ConfigError(f"spike_factor must be above 1, got {self.spike_factor!r}")
        if self.large_crop < 0 or self.large_crop % 64 or self.large_batch < 1:
            raise ConfigError("training needs a large_crop that is a multiple of 64, or 0, and large_batch >= 1")
        check_ranges(self, shares=_UP_TO_ONE, numbers=_WEIGHTS)
        check_scales(self.scales)
        check_precision(self.precision)
        if self.optimizer not in ("muon", "dion"):
            raise ConfigError(f"optimizer must be 'muon' or 'dion', got {self.optimizer!r}")
        if not 0 < self.dion_rank <= 1:
            raise ConfigError(f"dion_rank is a share, above 0 and up to 1, got {self.dion_rank}")
        if self.squared_share < 0:
            raise ConfigError(f"{_SHARES} are shares, at most 1 in all, not {1 - self.squared_share:g}")
        if self.contest and not self.squared_share:
            raise ConfigError(f"contest compares squared errors: {_SHARES} must leave them a share")
        if len(self.dial) != 2 or not 1 <= self.dial[0] <= self.dial[1] <= 100:
            raise ConfigError(f"dial must be two qualities in 1..100, the lower one first, got {self.dial}")

    @property
    def squared_share(self) -> float:
        """The squared error's share of the distortion."""
        others = self.similarity + self.ssimulacra2 + self.mae + self.lpips
        return round(1 - others, 12)  # 1 - 0.9 - 0.1 is not 0

    def rate_weight(self, step: int) -> float:
        """Weight of the rate term at a step."""
        return self.rate_start + (1 - self.rate_start) * min(1.0, step / max(1, self.rate_warmup))

    def rate_factor(self, step: int, done: float | None = None) -> float:
        """Learning rate at a step as a share of its peak: linear warm-up, plateau, linear decay.

        done: share of the run that is done; of the steps where not given.
        """
        remaining = 1 - (step / self.steps if done is None else done)
        decayed = self.decay_to + (1 - self.decay_to) * remaining / max(self.decay, 1 / self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup), max(self.decay_to, decayed))

    def shape(self, done: float, draw: float) -> tuple[int, int]:
        """Number and side of a step's crops.

        done: share of the run that is done. draw: a uniform number, 0..1, of this step.
        """
        if self.large_crop and (done >= self.large_from or draw < self.large_share):
            return self.large_batch, self.large_crop
        return self.batch, self.crop


def read_tables(path: Path) -> dict:
    """The tables of a TOML file. Raises ConfigError where it cannot be read, or has a value outside of them."""
    try:
        tables = tomllib.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if outside := [name for name, table in tables.items() if not isinstance(table, dict)]:
        raise ConfigError(f"{path}: {outside[0]} is no table: write [{outside[0]}]")
    return tables


def load_settings(path: Path) -> tuple[ModelConfig, TrainingConfig]:
    """Read a TOML file with tables [model] and [training]. Raises ConfigError for anything it does not know."""
    tables = read_tables(path)
    if unknown := sorted(set(tables) - {"model", "training"}):
        raise ConfigError(f"{path}: unknown table [{unknown[0]}] (known: [model], [training])")
    values = tables.get("training", {})
    known = {field.name for field in fields(TrainingConfig)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"{path}: unknown training key {unknown[0]!r} (known: {', '.join(sorted(known))})")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return ModelConfig.from_dict(tables.get("model", {})), TrainingConfig(**values)
