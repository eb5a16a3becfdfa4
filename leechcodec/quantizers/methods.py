"""The quantizer of a config's name. The table of names is in the package's own text."""

import re
from collections.abc import Callable

from leechcodec.errors import ConfigError
from leechcodec.quantizers.base import Quantizer
from leechcodec.quantizers.bsq import BSQ
from leechcodec.quantizers.directions import RPQ, FibonacciSQ
from leechcodec.quantizers.fsq import FSQ
from leechcodec.quantizers.leech import LeechBallSQ, LeechSQ
from leechcodec.quantizers.lfq import LFQ
from leechcodec.quantizers.lgq import LGQ
from leechcodec.quantizers.rounding import Rounding
from leechcodec.quantizers.shells import ShellSQ
from leechcodec.quantizers.simvq import SimVQ
from leechcodec.quantizers.vq import VQ

_NUMBER = "(0|[1-9][0-9]{0,3})"
_FORMS: tuple[tuple[str, Callable[..., Quantizer]], ...] = (
    ("leech", LeechSQ),
    ("leech-ball", LeechBallSQ),
    (f"bsq-{_NUMBER}", BSQ),
    (f"lfq-{_NUMBER}", LFQ),
    (f"round-{_NUMBER}", Rounding),
    (f"rpq-{_NUMBER}-{_NUMBER}", RPQ),
    (f"fibonacci-{_NUMBER}-{_NUMBER}", FibonacciSQ),
    (f"vq-{_NUMBER}-{_NUMBER}", VQ),
    (f"simvq-{_NUMBER}-{_NUMBER}", SimVQ),
    (f"lgq-{_NUMBER}-{_NUMBER}", LGQ),
)


def make_quantizer(name: str) -> Quantizer:
    """The quantizer of a config's name, as in the table of :mod:`leechcodec.quantizers`.

    A learned one, and RPQ, start from torch's and their own random state. Raises ConfigError for any other name, or for
    numbers that the method does not take.
    """
    for form, method in _FORMS:
        if found := re.fullmatch(form, name):
            return method(*map(int, found.groups()))
    if found := re.fullmatch(r"fsq-((?:0|[1-9][0-9]{0,2})(?:x(?:0|[1-9][0-9]{0,2}))*)", name):
        return FSQ([int(levels) for levels in found[1].split("x")])
    if found := re.fullmatch(f"(d4|e8|bw16)(?:x{_NUMBER})?", name):
        return ShellSQ(found[1], int(found[2] or 1))
    raise ConfigError(
        f"unknown quantizer {name!r}: expected leech, leech-ball, bsq-D, lfq-D, fsq-LxLx…, rpq-D-k, fibonacci-D-k, d4, "
        f"e8, bw16 or a product of them such as d4x3, vq-D-k, simvq-D-k, lgq-D-k or round-D"
    )
