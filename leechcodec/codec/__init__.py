"""The way of a photograph: pixels, tokens, bytes, and back. What users call is in :mod:`leechcodec.codec.api`."""

from leechcodec.lazy import lazy_names

_PUBLIC = ("compress", "compress_to", "decompress", "decompress_partial", "detokenize", "tokenize")
__getattr__ = lazy_names(__name__, dict.fromkeys(_PUBLIC, "leechcodec.codec.api"))
