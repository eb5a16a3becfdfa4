"""How a file keeps a network's weights: nothing of 16 bits lost in 12 to 14, or matrices in levels of 6 to 10 bits.

    weights of 16 bits ───────────────────────┐
    rows of a matrix ─▶ units, whole levels ──┴─▶ words of 16 bits ─▶ high bytes, low bytes ─▶ Huffman codes

The high byte of a word, sign and exponent of a float16, says little; the low one is nearly noise. So the bytes are kept
apart, those of all tensors together, by RFC 1951. What is small, or has 32 bits, is kept as it is.

A matrix in levels has a unit for each row, a share of the row's root mean square. Floating-point matrices have float16
units, those of integers int16 units: a prior of integers stays one (networks/integer_prior.py).
"""

import json
import math
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from leechcodec.threads import threads

SMALL = 4096
"""Values that are kept as they are."""
DTYPES = ("float16", "float32", "int16")
"""Of tensors that are stored otherwise; float32 in levels alone."""
TENSORS = "tensors"
"""The metadata's entry: [dtype, shape] by name. A file without it keeps all as it is."""
ABOUT = "about"
"""The one entry of a model's file, with all others in it: safetensors writes several in any order."""
PLANES = {"high": 8, "low": 0}
"""Bits that a word is moved by, to have the byte of a plane lowest."""
BLOCK = 2**21
"""Words that are packed by themselves: several threads read a file."""
_LARGEST = 2**15 - 1
_MOST = 1032
"""No byte of RFC 1951 says more bytes than that: a file that claims more is damaged, and needs no memory for them."""


def stored(
    tensors: Mapping[str, np.ndarray], units: Mapping[str, float] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What a file holds in place of tensors, and its metadata's entry.

    units: how many of them a row's root mean square has, by the part of the model that a name begins with. Matrices of
        these parts are kept in levels, which loses what is finer; None: nothing is lost.
    """
    kept: dict[str, np.ndarray] = {}
    about: dict[str, tuple[str, tuple[int, ...]]] = {}
    words: list[np.ndarray] = []
    for name, value in sorted(tensors.items()):
        finer = None if units is None or value.ndim < 2 else units.get(name.partition(".")[0])
        if value.size < SMALL or value.dtype.name not in DTYPES or (finer is None and value.itemsize > 2):
            kept[name] = value
            continue
        about[name] = (value.dtype.name, value.shape)
        if finer is not None:
            kept[f"units.{name}"], value = _levels(value, finer)
        words.append(_zigzag(value) if value.dtype == np.int16 else value.view(np.uint16).reshape(-1))
    whole = np.concatenate([np.zeros(0, np.uint16), *words])
    for number, start in enumerate(range(0, len(whole), BLOCK)):
        for plane, shift in PLANES.items():
            kept[f"{plane}.{number}"] = _deflated((whole[start : start + BLOCK] >> shift).astype(np.uint8))
    return kept, {TENSORS: json.dumps(about)}


def restored(kept: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The inverse of :func:`stored`; tensors of a file that keeps all as it is are returned so.

    Raises ValueError where what is there does not fit together.
    """
    rest, about = dict(kept), _about(metadata.get(TENSORS, "{}"))
    if not about:
        return rest
    words = _joined(rest, sum(math.prod(shape) for _, shape in about.values()))
    found: dict[str, np.ndarray] = {}
    for name, (dtype, shape) in sorted(about.items()):
        own, words = words[: math.prod(shape)].reshape(shape), words[math.prod(shape) :]
        if name in rest:
            raise ValueError(f"{name} is there twice")
        units = rest.pop(f"units.{name}", None)
        if units is not None:
            found[name] = _product(name, _unzigzag(own), units, dtype)
        elif dtype == "float32":
            raise ValueError(f"{name} has no units")
        else:
            found[name] = _unzigzag(own) if dtype == "int16" else own.view(np.float16)
    return found | rest


def write_weights(path: Path, kept: dict[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """A safetensors file of what :func:`stored` gives, the same bytes every time. metadata: its own, and more."""
    save_file(kept, path, {ABOUT: json.dumps(dict(metadata), sort_keys=True)})
    path.chmod(0o644)  # the writer makes it private to its user


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of such a file.

    Raises OSError, ValueError and SafetensorError for one that is missing or damaged, and what safetensors raises for
    types of numbers that numpy has not.
    """
    return restored(load_file(path), read_about(path))


def read_about(path: Path) -> dict[str, str]:
    """A file's metadata, without its tensors. Raises OSError, ValueError and SafetensorError for one that is missing or
    damaged."""
    with cast(Any, safe_open)(path, "np") as opened:
        written = cast("dict[str, str] | None", opened.metadata()) or {}
    about = cast(object, json.loads(written.get(ABOUT, "{}")))
    if not isinstance(about, dict):
        raise ValueError("what is said of the tensors is no object")
    return {name: str(value) for name, value in cast("dict[str, object]", about).items()}


def _levels(value: np.ndarray, finer: float) -> tuple[np.ndarray, np.ndarray]:
    """A matrix's units (rows,), and its levels, int16."""
    rows = value.reshape(len(value), -1).astype(np.float32)
    sizes = np.maximum(np.sqrt(np.square(rows).mean(1)) / finer, np.abs(rows).max(1) / _LARGEST)
    if value.dtype == np.int16:
        units = np.ceil(sizes).clip(min=1).astype(np.int16)
    else:
        units = sizes.clip(min=2.0**-24).astype(np.float16)
    levels = np.rint(rows / units.astype(np.float32)[:, None]).clip(-_LARGEST, _LARGEST)
    return units, levels.astype(np.int16)


def _product(name: str, levels: np.ndarray, units: np.ndarray, dtype: str) -> np.ndarray:
    """What levels stand for, of a dtype."""
    if units.shape != levels.shape[:1] or units.dtype != (np.int16 if dtype == "int16" else np.float16):
        raise ValueError(f"{name} needs a unit for each row")
    rows, units = levels.reshape(len(levels), -1), units[:, None]
    if dtype == "int16":
        whole = rows.astype(np.int64) * units
        if np.abs(whole).max(initial=0) > _LARGEST:
            raise ValueError(f"{name} has weights beyond 16 bits")
        return whole.astype(np.int16).reshape(levels.shape)
    with np.errstate(over="ignore"):  # as float16 files may, a damaged one may hold infinite weights
        return (rows.astype(np.float32) * units.astype(np.float32)).astype(dtype).reshape(levels.shape)


def _zigzag(values: np.ndarray) -> np.ndarray:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...: int16 -> uint16, flat."""
    return ((values << 1) ^ (values >> 15)).view(np.uint16).reshape(-1)


def _unzigzag(words: np.ndarray) -> np.ndarray:
    """The inverse, of any shape."""
    return ((words >> 1) ^ (0 - (words & 1))).view(np.int16)


def _deflated(values: np.ndarray) -> np.ndarray:
    """The shorter of a Huffman code alone and one of repetitions."""

    def deflated(strategy: int) -> bytes:
        deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, strategy=strategy)
        return deflate.compress(values.tobytes()) + deflate.flush()

    found = min((deflated(strategy) for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)), key=len)
    return np.frombuffer(found, dtype=np.uint8)


def _joined(rest: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The words of all tensors, uint16 (count,), whose planes are taken out of the rest."""
    blocks = -(-count // BLOCK)
    if blocks > len(rest):  # a damaged file may claim any number
        raise ValueError("bytes of tensors are missing")
    names = [f"{plane}.{number}" for number in range(blocks) for plane in PLANES]
    planes = [rest.pop(name, np.zeros(0, np.uint8)) for name in names]
    sizes = [min(BLOCK, count - start) for start in range(0, count, BLOCK) for _ in PLANES]
    with ThreadPoolExecutor(min(threads(), len(planes))) as pool:
        high_and_low = list(pool.map(_inflated, planes, sizes))
    return np.concatenate(
        [(high.astype(np.uint16) << 8) | low for high, low in zip(high_and_low[0::2], high_and_low[1::2], strict=True)]
    )


def _about(written: str) -> dict[str, tuple[str, list[int]]]:
    """Dtype and shape by name. Raises ValueError for what is none."""
    about = cast(object, json.loads(written))
    if not isinstance(about, dict):
        raise ValueError("no tensors are named")
    found: dict[str, tuple[str, list[int]]] = {}
    for name, entry in cast("dict[str, object]", about).items():
        pair = cast("list[object]", entry) if isinstance(entry, list) else []
        if len(pair) != 2 or pair[0] not in DTYPES or not _is_shape(pair[1]):
            raise ValueError(f"{name} has no type and shape")
        found[name] = (cast(str, pair[0]), cast("list[int]", pair[1]))
    return found


def _is_shape(shape: object) -> bool:
    if not isinstance(shape, list) or not shape:
        return False
    return all(type(side) is int and 0 < side < 2**31 for side in cast("list[object]", shape))


def _inflated(packed: np.ndarray, count: int) -> np.ndarray:
    """So many bytes, uint8. Raises ValueError where there are fewer or more."""
    if packed.dtype != np.uint8 or packed.ndim != 1 or count > _MOST * packed.size:
        raise ValueError("the tensors' bytes are missing")
    inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        found = inflate.decompress(packed.tobytes(), count + 1)
    except zlib.error as error:
        raise ValueError(f"damaged bytes of tensors ({error})") from None
    if len(found) != count:
        raise ValueError(f"{len(found)} bytes of tensors in place of {count}")
    return np.frombuffer(found, dtype=np.uint8)
