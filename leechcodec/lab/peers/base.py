"""A codec as the laboratory sees it: settings, encode, decode, versions, and why it is not available."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from PIL import Image

from leechcodec.lab.errors import PeerError

COMPRESSAI = "compressai-"
"""Keys of the CompressAI zoo's models begin so: compressai-bmshj2018-hyperprior."""
EFFORT = "leech-effort"
"""Keys of this codec at an effort above 1 begin so: leech-effort5."""
PAIR = {"leech-twin": "Λ24-SQ", "bsq-twin": "BSQ"}
"""The two models that were trained alike to be compared, and their quantizers."""
BSQ = "bsq-twin"
"""What ``bsq`` means where no other model is given."""


@dataclass(frozen=True)
class Setting:
    """One point of a codec's range. label: a file name, such as q40. value: what the codec's dial is set to."""

    label: str
    value: float


@dataclass(frozen=True)
class PeerOptions:
    """What some adapters need beside their key.

    model: name or folder of the model of ``leech``. bsq_model: of ``bsq``, bsq-twin by default. download: whether
    weights of CompressAI models may be fetched. compressai_weights: a folder that has them, in place of torch's own.
    """

    model: str | None = None
    bsq_model: str | None = None
    download: bool = True
    compressai_weights: str | None = None


@dataclass(frozen=True)
class Peer(ABC):
    """A codec as the laboratory sees it. Encoding and decoding are what is timed; prepare() is not."""

    options: PeerOptions = field(default_factory=PeerOptions)
    key: ClassVar[str]
    """Names the results file; letters, digits and dashes."""
    name: ClassVar[str]
    """As shown in figures."""
    description: ClassVar[str]
    extension: ClassVar[str]
    """Of its files, with the dot."""
    unit: ClassVar[str] = "q"
    """Letter before the dial's value in a label."""
    values: ClassVar[tuple[float, ...]]
    """The dial's positions measured by default, from the smallest files to the largest."""
    limits: ClassVar[tuple[float, float]] = (0, 100)
    whole: ClassVar[bool] = True
    """Whether the dial has nothing between two whole numbers."""

    def settings(self) -> tuple[Setting, ...]:
        """The settings measured by default."""
        return tuple(self.setting(value) for value in self.values)

    def setting(self, value: float) -> Setting:
        """The setting of a position of the dial. Raises PeerError where the dial does not reach it."""
        if not self.limits[0] <= value <= self.limits[1]:
            raise PeerError(f"{self.key}: {value:g} is not within {self.limits[0]:g}..{self.limits[1]:g}")
        if self.whole and value % 1:
            raise PeerError(f"{self.key}: its dial has whole numbers alone, not {value:g}")
        return Setting(f"{self.unit}{value:g}", float(value))

    def available(self) -> str | None:
        """None, or in a few words why the codec cannot be used here."""
        return None

    def prepare(self) -> None:  # noqa: B027  # most codecs have nothing to load
        """Load models and compile, once a process, before anything is timed."""

    @abstractmethod
    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        """The file of an RGB image."""

    @abstractmethod
    def decode(self, data: bytes) -> Image.Image:
        """The RGB image of a file. Raises LqError or the library's own errors for damaged files."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of what codes: library name -> version."""

    def model(self) -> dict | None:
        """For learned codecs what the weights are, as JSON; None for others."""
        return None
