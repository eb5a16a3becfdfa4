"""The loop over the stages and passes of the prior, whatever it computes in (prior.py): torch or integers in numpy."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.networks.passes import pass_mask

NEIGHBOURS = 4
AGREEMENTS = 2
"""Pairs of opposite neighbours."""
AGREEMENT = 32
"""The inner product of a codeword of the Leech shell with itself."""
CodePass = Callable[[int, Any, Any], Any]
"""code_pass(stage, mask, params): codes one pass of a stage.

stage: its number, coarse to fine.
mask: bool (h, w), an array or a tensor, the positions of the pass, or None for all of them.
params: as the view gives them, of every position.
Returns the codes there (B, dim, h, w), zero elsewhere, or None to end where the remaining stages are not sent.
"""


class Steps(ABC):
    """What the loop over stages asks for. Maps are (B, channels, h, w)."""

    @abstractmethod
    def constant(self, name: str, height: int, width: int) -> Any: ...

    @abstractmethod
    def upsample(self, name: str, h: Any) -> Any:
        """The map of the next scale."""

    @abstractmethod
    def at_quality(self, name: str, h: Any) -> Any:
        """The map with a pass's quality bias."""

    @abstractmethod
    def neighbours(self, codes: Any, passes: int, number: int) -> Any:
        """What :meth:`params` takes as the codes around every position."""

    @abstractmethod
    def params(self, name: str, h: Any, around: Any = None) -> Any:
        """A pass's parameters. around: of :meth:`neighbours`, if the pass has gates."""

    @abstractmethod
    def add_tokens(self, name: str, h: Any, codes: Any, shift: int) -> Any:
        """The map with the tokens of a pass. Looks two positions around each."""

    def mask(self, height: int, width: int, passes: int, number: int) -> Any:
        """The positions of a pass: bool (height, width), None for all of them."""
        return pass_mask(height, width, passes, number)


def run_stages(
    config: ModelConfig,
    code_shift: int,
    view: Steps,
    size: tuple[int, int],
    code_pass: CodePass,
    images: Sequence[int] | None = None,
) -> None:
    """Run a view over all stages, pass by pass: parameters out, codes in.

    code_shift: of the quantizer. size: (height, width) of the image in pixels, multiples of 64.
    code_pass: is given each pass's parameters and returns its codes.
    images: how many of a batch's first images are sent each stage, never more than the one before. The loop goes on
        with those alone and ends where there are none. None: all.
    """
    height, width = size
    h = view.constant("constant", height // STRIDES[0], width // STRIDES[0])
    stage = 0
    for scale, count in enumerate(config.stages[: max(config.stage_scales) + 1]):
        if scale:
            h = view.upsample(f"up.{scale - 1}", h)
        grid = height // STRIDES[scale], width // STRIDES[scale]
        for _ in range(count):
            if images is not None:
                if not images[stage]:
                    return
                h = h if images[stage] == len(h) else h[: images[stage]]
            known = None
            for number in range(config.passes[stage]):
                name, passes = f"stages.{stage}.{number}", config.passes[stage]
                h = view.at_quality(f"{name}.quality", h)
                around = view.neighbours(known, passes, number) if has_gate(config, number) else None
                codes = code_pass(stage, view.mask(*grid, passes, number), view.params(name, h, around))
                if codes is None:
                    return
                if config.gates:
                    known = codes if known is None else known + codes
                h = view.add_tokens(name, h, codes, code_shift)
            stage += 1


def has_gate(config: ModelConfig, number: int) -> bool:
    """Whether a pass has gates: all but a stage's first, where the config wants them."""
    return config.gates and number > 0
