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
    TokensError,
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
    from leechcodec.token_files import (
        deserialize_tokens,
        indices_to_tokens,
        serialize_tokens,
        tokens_to_indices,
        vocabulary,
    )

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
    "TokensError",
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
    "deserialize_tokens",
    "detokenize",
    "indices_to_tokens",
    "sample",
    "serialize_tokens",
    "tokenize",
    "tokens_to_indices",
    "vocabulary",
]
_LAZY = {
    "Tokens": "leechcodec.token_coding",
    "compress": "leechcodec.codec",
    "compress_many": "leechcodec.many",
    "compress_to": "leechcodec.codec",
    "decompress": "leechcodec.codec",
    "decompress_many": "leechcodec.many",
    "decompress_partial": "leechcodec.codec",
    "deserialize_tokens": "leechcodec.token_files",
    "detokenize": "leechcodec.codec",
    "indices_to_tokens": "leechcodec.token_files",
    "sample": "leechcodec.sampling",
    "serialize_tokens": "leechcodec.token_files",
    "tokenize": "leechcodec.codec",
    "tokens_to_indices": "leechcodec.token_files",
    "vocabulary": "leechcodec.token_files",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
