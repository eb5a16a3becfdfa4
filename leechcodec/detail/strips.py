"""The layer of a large picture: strips of rows, each coded by itself, so that memory does not grow with the picture.

    in one piece   head length ‖ head ‖ stream
    in strips      head length + 2^15 ‖ head ‖ stream length ‖ stream, one after another, from the top

Strips share the file's step and the picture's relative steps; what they state beside it fits each of them.
"""

import struct
from collections.abc import Sequence

from leechcodec.detail.transform import SIDE
from leechcodec.errors import CorruptError, TooLargeError

STRIP_PIXELS = 1 << 22
"""Of a strip at most, where eight rows have no more. Its coefficients are in memory together, 150 bytes a pixel."""
WHOLE_PIXELS = 1 << 24
"""Of a layer in one piece that is read: before there were strips, encoders wrote such layers."""
IN_STRIPS = 1 << 15
"""Added to the length of a head, which is far below it."""
_HEAD, _STREAM = struct.Struct("<H"), struct.Struct("<I")


def strips(height: int, width: int) -> list[slice]:
    """The rows of each strip of a picture, from the top; all but the last are whole blocks."""
    rows = SIDE * max(1, STRIP_PIXELS // (SIDE * width))
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def join(parts: Sequence[bytes]) -> bytes:
    """A chunk's payload. parts: what each strip is coded as, at least one."""
    return parts[0] if len(parts) == 1 else b"".join(map(_marked, parts))


def split(payload: bytes, height: int, width: int) -> list[tuple[slice, bytes]]:
    """The rows of each part of a picture, and what it is coded as.

    Raises CorruptError for strips that are not those of the picture, TooLargeError for a layer in one piece of more
    than 2^24 pixels.
    """
    if len(payload) < _HEAD.size or not _HEAD.unpack_from(payload)[0] & IN_STRIPS:
        if height * width > WHOLE_PIXELS:
            raise TooLargeError(f"{width} x {height} pixels, too many for a detail layer in one piece (2^24)")
        return [(slice(0, height), payload)]
    found, rows = [], strips(height, width)
    if len(rows) == 1:
        raise CorruptError("the detail chunk has strips, its picture is too small for them")
    try:
        for own in rows:
            part, payload = _unmarked(payload)
            found.append((own, part))
    except struct.error as error:
        raise CorruptError("the detail chunk ends within its strips") from error
    if payload:
        raise CorruptError("the detail chunk goes on after its last strip")
    return found


def _marked(part: bytes) -> bytes:
    length = _HEAD.unpack_from(part)[0]
    end = _HEAD.size + length
    head, stream = part[_HEAD.size : end], part[end:]
    return _HEAD.pack(length | IN_STRIPS) + head + _STREAM.pack(len(stream)) + stream


def _unmarked(payload: bytes) -> tuple[bytes, bytes]:
    """The first strip, and what follows. Raises struct.error where it is cut off, CorruptError without its mark."""
    (marked,) = _HEAD.unpack_from(payload)
    if not marked & IN_STRIPS:
        raise CorruptError("a strip of the detail chunk has no mark")
    length = marked - IN_STRIPS
    start = _HEAD.size + length + _STREAM.size
    (size,) = _STREAM.unpack_from(payload, start - _STREAM.size)
    if len(payload) < start + size:
        raise struct.error
    head = payload[_HEAD.size : _HEAD.size + length]
    return _HEAD.pack(length) + head + payload[start : start + size], payload[start + size :]
