"""The way of a photograph: pixels, tokens, bytes, and back. What users call is in :mod:`leechcodec.codec.api`."""

from importlib import import_module
from typing import Any

_PUBLIC = {"compress", "compress_to", "decompress", "decompress_partial", "detokenize", "tokenize"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module("leechcodec.codec.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
