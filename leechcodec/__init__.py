"""leechcodec: a neural image codec on spherical Leech lattice tokens.

    import leechcodec
    data = leechcodec.compress(image, quality=60)     # PIL image -> bytes of a .lq file
    image = leechcodec.decompress(data)               # and back

Heavy modules load on first use: importing the package imports neither torch nor numpy.
"""

from typing import TYPE_CHECKING

import leechcodec.concurrency  # noqa: F401 (which process it was, whatever forks later)
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
from leechcodec.lazy import lazy_names

if TYPE_CHECKING:
    from leechcodec.codec.api import compress, compress_to, decompress, decompress_partial, detokenize, tokenize
    from leechcodec.codec.batch import compress_many, decompress_many
    from leechcodec.codec.sampling import sample
    from leechcodec.codec.token_coding import Tokens
    from leechcodec.codec.token_files import (
        deserialize_tokens,
        indices_to_tokens,
        serialize_tokens,
        tokens_to_indices,
        vocabulary,
    )
    from leechcodec.networks.devices import use_device
    from leechcodec.networks.runtime import use_runtime

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
    "use_device",
    "use_runtime",
    "vocabulary",
]
_LAZY = {
    "Tokens": "leechcodec.codec.token_coding",
    "compress": "leechcodec.codec.api",
    "compress_many": "leechcodec.codec.batch",
    "compress_to": "leechcodec.codec.api",
    "decompress": "leechcodec.codec.api",
    "decompress_many": "leechcodec.codec.batch",
    "decompress_partial": "leechcodec.codec.api",
    "deserialize_tokens": "leechcodec.codec.token_files",
    "detokenize": "leechcodec.codec.api",
    "indices_to_tokens": "leechcodec.codec.token_files",
    "sample": "leechcodec.codec.sampling",
    "serialize_tokens": "leechcodec.codec.token_files",
    "tokenize": "leechcodec.codec.api",
    "tokens_to_indices": "leechcodec.codec.token_files",
    "use_device": "leechcodec.networks.devices",
    "use_runtime": "leechcodec.networks.runtime",
    "vocabulary": "leechcodec.codec.token_files",
}
__getattr__ = lazy_names(__name__, _LAZY)
