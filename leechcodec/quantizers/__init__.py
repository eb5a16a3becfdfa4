"""Quantizers: one file a method, one interface (:class:`Quantizer`), one name each in a config.

| name | method |
|---|---|
| leech, leech-ball | the Leech lattice's 196,560 minimal vectors, without and with the origin |
| bsq-D, lfq-D | signs, on the sphere and not |
| fsq-LxLx… | L levels a coordinate |
| rpq-D-k, fibonacci-D-k | 2^k directions in dimension D, random and evenly spread |
| d4, e8, bw16, d4x3, … | minimal vectors of these lattices, and products |
| vq-D-k, simvq-D-k, lgq-D-k | 2^k learned codewords in dimension D |
| round-D | integers |

What needs torch loads on first use: :mod:`leechcodec.quantizers.code` does not.
"""

from typing import TYPE_CHECKING

from leechcodec.lazy import lazy_names

if TYPE_CHECKING:
    from leechcodec.quantizers.base import Quantizer
    from leechcodec.quantizers.bsq import BSQ
    from leechcodec.quantizers.directions import RPQ, FibonacciSQ
    from leechcodec.quantizers.fsq import FSQ
    from leechcodec.quantizers.leech import LeechBallSQ, LeechSQ
    from leechcodec.quantizers.lfq import LFQ
    from leechcodec.quantizers.lgq import LGQ
    from leechcodec.quantizers.methods import make_quantizer
    from leechcodec.quantizers.rounding import Rounding
    from leechcodec.quantizers.shells import ShellSQ
    from leechcodec.quantizers.simvq import SimVQ
    from leechcodec.quantizers.vq import VQ

__all__ = [
    "BSQ",
    "FSQ",
    "LFQ",
    "LGQ",
    "RPQ",
    "VQ",
    "FibonacciSQ",
    "LeechBallSQ",
    "LeechSQ",
    "Quantizer",
    "Rounding",
    "ShellSQ",
    "SimVQ",
    "make_quantizer",
]
_LAZY = {
    "BSQ": "bsq",
    "FSQ": "fsq",
    "LFQ": "lfq",
    "LGQ": "lgq",
    "RPQ": "directions",
    "VQ": "vq",
    "FibonacciSQ": "directions",
    "LeechBallSQ": "leech",
    "LeechSQ": "leech",
    "Quantizer": "base",
    "Rounding": "rounding",
    "ShellSQ": "shells",
    "SimVQ": "simvq",
    "make_quantizer": "methods",
}
__getattr__ = lazy_names(__name__, {name: f"{__name__}.{module}" for name, module in _LAZY.items()})
