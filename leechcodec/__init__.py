"""leechcodec: a neural image codec on spherical Leech lattice tokens.

    import leechcodec
    data = leechcodec.compress(image, quality=60)     # PIL image -> bytes of a .lq file
    image = leechcodec.decompress(data)               # and back

Heavy modules load on first use: importing the package imports neither torch nor numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leechcodec.errors import (
    ConfigError,
    CorruptError,
    ImageError,
    LqError,
    ModelError,
    NotLqError,
    TargetError,
    TooLargeError,
    TruncatedError,
    UnknownModelError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from leechcodec.codec import compress, compress_to, decompress, decompress_partial, detokenize, tokenize
    from leechcodec.many import compress_many, decompress_many
    from leechcodec.sampling import sample
    from leechcodec.token_coding import Tokens

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "CorruptError",
    "ImageError",
    "LqError",
    "ModelError",
    "NotLqError",
    "TargetError",
    "Tokens",
    "TooLargeError",
    "TruncatedError",
    "UnknownModelError",
    "UnsupportedVersionError",
    "__version__",
    "compress",
    "compress_many",
    "compress_to",
    "decompress",
    "decompress_many",
    "decompress_partial",
    "detokenize",
    "sample",
    "tokenize",
]
_LAZY = {
    "Tokens": "leechcodec.token_coding",
    "compress": "leechcodec.codec",
    "compress_many": "leechcodec.many",
    "compress_to": "leechcodec.codec",
    "decompress": "leechcodec.codec",
    "decompress_many": "leechcodec.many",
    "decompress_partial": "leechcodec.codec",
    "detokenize": "leechcodec.codec",
    "sample": "leechcodec.sampling",
    "tokenize": "leechcodec.codec",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
