"""leechcodec: a neural image codec on spherical Leech lattice tokens.

    import leechcodec
    data = leechcodec.compress(image, quality=60)     # PIL image -> bytes of a .lq file
    image = leechcodec.decompress(data)               # and back

Heavy modules load on first use: importing the package imports neither torch nor numpy.
"""

from importlib import import_module

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

__version__ = "0.1.0"
_LAZY = dict.fromkeys(
    ("Tokens", "compress", "compress_to", "decompress", "decompress_partial", "detokenize", "tokenize"),
    "leechcodec.codec",
)
__all__ = [
    "ConfigError",
    "CorruptError",
    "ImageError",
    "LqError",
    "ModelError",
    "NotLqError",
    "TargetError",
    "TooLargeError",
    "TruncatedError",
    "UnknownModelError",
    "UnsupportedVersionError",
    "__version__",
    *_LAZY,
]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
