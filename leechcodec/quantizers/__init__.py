"""Quantizers of unit vectors: one file a method, one interface (:class:`Quantizer`)."""

from leechcodec.errors import ConfigError
from leechcodec.quantizers.base import Quantizer
from leechcodec.quantizers.bsq import BSQ
from leechcodec.quantizers.leech import LeechBallSQ, LeechSQ

__all__ = ["BSQ", "LeechBallSQ", "LeechSQ", "Quantizer", "make_quantizer"]


def make_quantizer(name: str) -> Quantizer:
    """The quantizer of a config's name: "leech", "leech-ball", or "bsq-D" for any dimension D >= 1.

    Raises ConfigError for any other name.
    """
    if name == "leech":
        return LeechSQ()
    if name == "leech-ball":
        return LeechBallSQ()
    method, _, dim = name.partition("-")
    if method == "bsq" and dim.isdecimal() and int(dim) >= 1:
        return BSQ(int(dim))
    raise ConfigError(f"unknown quantizer {name!r}: expected 'leech', 'leech-ball' or 'bsq-D' with a dimension D >= 1")
