"""The head of a layer's chunk: its length, then its values in the DEFLATE format (RFC 1951). Imports no numpy."""

import struct
import zlib

from leechcodec.errors import CorruptError

_LENGTH = struct.Struct("<H")
_FIRST = struct.Struct("<HH")
STEP_UNIT = 1 / 1024
"""Of a step, in pixel levels per integer unit of the lattice."""


def pack_head(step: int, quality: int, values: bytes) -> bytes:
    """step: 1..65,535 in 1/1024 levels. quality: of the dial, in hundredths. values: what else a file states."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = deflate.compress(_FIRST.pack(step, quality) + values) + deflate.flush()
    return _LENGTH.pack(len(packed)) + packed


def unpack_head(data: bytes, count: int) -> tuple[int, int, bytes, bytes]:
    """Step, quality and values of a chunk, and the stream after its head. count: of values.

    Raises CorruptError for what is not the head of so many values, or a step of zero.
    """
    length = _LENGTH.unpack_from(data)[0] if len(data) >= _LENGTH.size else 0
    packed, inflate = data[_LENGTH.size : _LENGTH.size + length], zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        head = inflate.decompress(packed, _FIRST.size + count + 1)
    except zlib.error as error:
        raise CorruptError(f"the detail chunk's head does not inflate ({error})") from error
    if len(head) != _FIRST.size + count or not inflate.eof or inflate.unused_data:
        raise CorruptError(f"the detail chunk's head does not inflate to {_FIRST.size + count} bytes")
    step, quality = _FIRST.unpack_from(head)
    if not step:
        raise CorruptError("the detail chunk has a step of zero")
    return step, quality, head[_FIRST.size :], data[_LENGTH.size + length :]


def quality_of(data: bytes) -> int | None:
    """The quality that a chunk states, in hundredths, without a look at what follows; None where that is damaged."""
    first = _first(data)
    return first and first[1]


def step_of(data: bytes) -> float | None:
    """The step that a chunk states, in levels, read as :func:`quality_of` does."""
    first = _first(data)
    return first and first[0] * STEP_UNIT


def _first(data: bytes) -> tuple[int, int] | None:
    try:
        step, quality = _FIRST.unpack(
            zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(data[_LENGTH.size :], _FIRST.size)
        )
    except (zlib.error, struct.error):
        return None
    return step, quality
