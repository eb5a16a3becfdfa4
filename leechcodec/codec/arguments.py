"""Types of the public functions' arguments: a wrong one is a TypeError that names it, wherever it would have failed."""

import numbers
import os
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np

from leechcodec.errors import ConfigError


def _real(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real)


def is_whole(value: object) -> bool:
    """Whether it is an integer, of Python or numpy, and no bool."""
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


def _tokens(value: object) -> bool:
    from leechcodec.codec.token_coding import Tokens  # which needs models, which need this

    return isinstance(value, Tokens)


def _indices(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return True
    if not isinstance(value, Sequence):
        return False
    return all(isinstance(stage, np.ndarray) for stage in cast("Sequence[object]", value))


def _pair(value: object) -> bool:
    if not isinstance(value, Sequence):
        return False
    items = cast("Sequence[object]", value)
    return len(items) == 2 and all(map(is_whole, items))


_OPTIONAL: dict[str, tuple[Callable[[object], bool], str]] = {
    "model": (lambda value: isinstance(value, str | os.PathLike), "a name or a folder"),
    "device": (lambda value: isinstance(value, str), "a name"),
    "progress": (callable, "a function"),
    "measured": (callable, "a function"),
    "max_seconds": (_real, "a number"),
    "size": (_real, "a number of bytes"),
    "bpp": (_real, "a number"),
    "psnr": (_real, "a number"),
    "workers": (is_whole, "a whole number"),
    "image_size": (_pair, "width and height"),
    "keep_stages": (is_whole, "a whole number"),
    "mask": (lambda value: isinstance(value, np.ndarray), "an array of numpy"),
}
"""Name -> what it may be beside None, and that in words."""
_REQUIRED: dict[str, tuple[Callable[[object], bool], str]] = {
    "max_pixels": (_real, "a number"),
    "shrink": (is_whole, "a whole number"),
    "width": (is_whole, "a whole number"),
    "height": (is_whole, "a whole number"),
    "seed": (is_whole, "a whole number"),
    "temperature": (_real, "a number"),
    "top_p": (_real, "a number"),
    "tokens": (_tokens, "Tokens"),
    "indices": (_indices, "arrays of numpy"),
    "images": (lambda value: isinstance(value, Iterable), "an iterable of images"),
    "files": (lambda value: isinstance(value, Iterable), "an iterable of bytes"),
    "data": (lambda value: isinstance(value, bytes | bytearray | memoryview), "bytes"),
    "form": (lambda value: isinstance(value, str), "a name"),
}
_NAMES = {"image_size": "size"}


def check_arguments(**arguments: object) -> None:
    """Raise TypeError, naming it, for the first argument of a wrong type; ConfigError for a number that is none, or a
    whole one beyond 64 bits."""
    for name, value in arguments.items():
        if name in _OPTIONAL and value is None:
            continue
        fits, words = _OPTIONAL.get(name) or _REQUIRED[name]
        called = _NAMES.get(name, name)
        if not fits(value):
            raise TypeError(f"{called} must be {words}, not {type(value).__name__}")
        if _real(value) and value != value:
            raise ConfigError(f"{called} must be a number, got nan")
        if is_whole(value) and abs(cast(int, value)) >= 2**63:
            raise ConfigError(f"{called} is beyond 64 bits")
