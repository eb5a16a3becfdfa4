"""The one description of a model: a frozen dataclass, saved as config.json beside the weights."""

import json
import numbers
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from leechcodec.errors import ConfigError
from leechcodec.field_types import check_types

MAX_PASSES = 9
"""Of a stage: the first pass of nine has every sixteenth row and column."""
MAX_BLOCKS = 64
"""Residual blocks in a row."""
MAX_KNOTS = 1024
STRIDES = (64, 32, 16, 8, 4)
"""The scales, coarse to fine; every per-scale tuple of a config follows this order."""
ALIGNMENT = STRIDES[0]
"""Images are padded to multiples of the coarsest stride."""
MIN_QUALITY, MAX_QUALITY = 1, 100
"""The ends of the dial ..."""
QUALITY_UNIT = 100
"""... of which a file's header holds hundredths."""
Number = TypeVar("Number", bound=Any)
"""float or a floating-point Tensor."""


def check_quality(quality: float) -> None:
    """Raises ConfigError for a value that the dial does not have."""
    if not isinstance(quality, numbers.Real) or not MIN_QUALITY <= quality <= MAX_QUALITY:
        raise ConfigError(f"quality must be a number between {MIN_QUALITY} and {MAX_QUALITY}, got {quality!r}")


def hundredths(quality: float) -> int:
    """A quality as a file's header holds it: an integer, 100..10,000."""
    return round(float(quality) * QUALITY_UNIT)  # numpy's own numbers may overflow


def header_quality(quality: float) -> float:
    """A quality rounded to what a file's header can hold."""
    return hundredths(quality) / QUALITY_UNIT


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes a model's shape and its token layout.

    Per-scale tuples run over strides 64, 32, 16, 8, 4. Quality is the dial q in 1..100; the rate-distortion
    trade-off it stands for is lmbda(q) = lmbda_min · (lmbda_max / lmbda_min)^((q - 1) / 99), in the field's
    convention: loss = lmbda · 255² · MSE + bits per pixel, MSE on values 0..1.
    """

    quantizer: str = "leech"
    stages: tuple[int, ...] = (1, 1, 3, 8, 0)
    """Token stages at each scale."""
    passes: tuple[int, ...] = (1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1)
    """In how many passes the prior codes a stage (networks/passes.py), one entry a stage, coarse to fine."""
    gates: bool = False
    """Whether the prior may repeat the tokens beside one, in every pass but a stage's first (networks/prior.py)."""
    min_quality: tuple[float, ...] = (1, 1, 1, 1, 1, 1, 24, 36, 46, 59, 67, 78, 87)
    """The dial's value from which a stage is sent, one entry per stage, coarse to fine."""
    ramp: float = 0.0
    """Over so many qualities from there the share of its positions that are sent rises to all (layout.py); 0: at
    once. Stages that every quality has are always whole."""
    channels: tuple[int, ...] = (128, 160, 160, 128, 64)
    """Channels of the transforms at each scale."""
    analysis_blocks: tuple[int, ...] = (1, 1, 2, 2, 1)
    synthesis_blocks: tuple[tuple[int, ...], ...] = ((1,), (1,), (1, 1, 1), (0, 1, 1, 0, 0, 0, 0, 1), (2,))
    """Residual blocks after each token stage of a scale; one entry where a scale has no stage."""
    shortcuts: bool = False
    """Whether the transforms have linear shortcuts past the deep path (networks/shortcuts.py)."""
    prior_channels: tuple[int, ...] = (96, 96, 96, 64, 64)
    quality_knots: int = 8
    """Knots of the piecewise linear tables that condition the networks on the quality dial."""
    lmbda_min: float = 0.0003
    lmbda_max: float = 0.06

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("stages", 0), ("channels", 1), ("analysis_blocks", 0), ("prior_channels", 1)):
            value = getattr(self, name)
            if len(value) != len(STRIDES) or min(value) < least:
                wanted = f"{len(STRIDES)} integers, {least} or more (strides {STRIDES})"
                raise ConfigError(f"{name} needs {wanted}, got {value}")
        blocks = self.synthesis_blocks
        if [len(counts) for counts in blocks] != [max(n, 1) for n in self.stages]:
            raise ConfigError(f"synthesis_blocks needs one number per token stage, scale by scale, got {blocks}")
        for name, counts in (("synthesis_blocks", sum(blocks, ())), ("analysis_blocks", self.analysis_blocks)):
            if not 0 <= min(counts) <= max(counts) <= MAX_BLOCKS:
                raise ConfigError(f"{name} needs integers from 0 to {MAX_BLOCKS}, got {getattr(self, name)}")
        if len(self.min_quality) != sum(self.stages):
            raise ConfigError(
                f"min_quality needs one entry per stage ({sum(self.stages)}), got {len(self.min_quality)}"
            )
        if not self.min_quality or self.min_quality[0] > 1:
            raise ConfigError("a file of every quality needs its first token stage: min_quality must start at 1")
        if list(self.min_quality) != sorted(self.min_quality):
            raise ConfigError("min_quality must not fall from a coarser stage to a finer one")
        if len(self.passes) != sum(self.stages) or not all(1 <= n <= MAX_PASSES for n in self.passes):
            raise ConfigError(
                f"passes needs one number, 1 to {MAX_PASSES}, per stage ({sum(self.stages)}), got {self.passes}"
            )
        if not 0 <= self.ramp < 99:
            raise ConfigError(f"ramp must be a number of qualities, 0 to 99, got {self.ramp!r}")
        if not 0 < self.lmbda_min < self.lmbda_max:
            raise ConfigError(f"need 0 < lmbda_min < lmbda_max, got {self.lmbda_min} and {self.lmbda_max}")
        if not 2 <= self.quality_knots <= MAX_KNOTS:
            raise ConfigError(f"quality_knots must be from 2 to {MAX_KNOTS}, got {self.quality_knots}")

    @property
    def stage_scales(self) -> tuple[int, ...]:
        """The scale index 0..4 of every stage, coarse to fine."""
        return tuple(scale for scale, count in enumerate(self.stages) for _ in range(count))

    def stages_sent(self, quality: float) -> int:
        """How many stages a file of this quality holds, whole or in part."""
        place, whole = hundredths(quality), not self.ramp
        return sum(place >= hundredths(q) if q <= 1 or whole else place > hundredths(q) for q in self.min_quality)

    def lmbda(self, quality: Number) -> Number:
        """The trade-off of a quality 1..100, a number or a tensor of any shape."""
        return self.lmbda_min * (self.lmbda_max / self.lmbda_min) ** (
            (quality - MIN_QUALITY) / (MAX_QUALITY - MIN_QUALITY)
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: object) -> "ModelConfig":
        """Raises ConfigError for what is no dict, a key that does not exist or a value that does not fit."""
        if not isinstance(values, dict):
            raise ConfigError(f"a model's config is an object, not {values!r}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"unknown model config key {unknown[0]!r} (known: {', '.join(sorted(known))})")
        frozen: dict[str, Any] = {key: _frozen(value) for key, value in values.items()}
        return cls(**frozen)

    @classmethod
    def load(cls, path: Path) -> "ModelConfig":
        try:
            values = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        return cls.from_dict(values)


def _frozen(value: object) -> object:
    """Lists of a JSON or TOML file as the tuples of a frozen config."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
