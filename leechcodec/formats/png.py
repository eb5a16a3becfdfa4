"""PNG files chunk by chunk (third edition, W3C 2025): what Pillow does not read of them, and what it stumbles over."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
COMPRESSED = (b"iCCP", b"zTXt", b"iTXt")
MAX_PROFILE = 64 << 20
"""Bytes of a colour profile that is still unpacked."""
UNPACKED = 1 << 20
"""Bytes to which Pillow unpacks a chunk before it refuses the file."""


@dataclass(frozen=True)
class PngChunk:
    """kind: four letters. raw: length, kind, data and checksum. sound: whether the checksum holds."""

    kind: bytes
    data: bytes
    raw: bytes
    sound: bool


def chunks(data: bytes) -> Iterator[PngChunk]:
    """The chunks of a PNG file in order, to the last whole one."""
    position = len(SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            return
        body = data[position + 8 : end - 4]
        crc = struct.unpack_from(">I", data, end - 4)[0]
        yield PngChunk(kind, body, data[position:end], crc == zlib.crc32(body, zlib.crc32(kind)))
        position = end
        if kind == b"IEND":
            return


def first(data: bytes, kind: bytes) -> bytes | None:
    """The data of the first sound chunk of a kind, or None."""
    return next((chunk.data for chunk in chunks(data) if chunk.kind == kind and chunk.sound), None)


def bare(data: bytes) -> bytes:
    """A PNG file with its pixels and nothing else."""
    if not data.startswith(SIGNATURE):
        return data
    return SIGNATURE + b"".join(chunk.raw for chunk in chunks(data) if chunk.kind in CRITICAL)


def end(data: bytes) -> int:
    """Bytes of the file up to the end of its last chunk."""
    return len(SIGNATURE) + sum(len(chunk.raw) for chunk in chunks(data))


@dataclass(frozen=True)
class Mended:
    """data: a PNG without what cannot be read. profile: a colour profile that Pillow would not unpack. lost: names of
    the chunks left out. broken: what is wrong with the pixels' own chunks, or None."""

    data: bytes
    profile: bytes | None
    lost: tuple[str, ...]
    broken: str | None


def mended(data: bytes) -> Mended:
    """A PNG that Pillow refuses, without the chunks that are not needed and cannot be read."""
    kept, profile, broken = [SIGNATURE], None, None
    lost: list[str] = []
    for chunk in chunks(data):
        name = chunk.kind.decode("latin-1")
        if chunk.kind in CRITICAL:
            kept.append(chunk.raw)
            broken = broken or (None if chunk.sound else f"the checksum of its chunk {name} is wrong")
        elif not chunk.sound:
            lost.append(name)
        elif chunk.kind == b"iCCP" and _unpacked_size(chunk.data, False) > UNPACKED:
            profile = _unpack(chunk.data, MAX_PROFILE)
        elif chunk.kind in COMPRESSED and _unpacked_size(chunk.data, chunk.kind == b"iTXt") > UNPACKED:
            lost.append(name)
        else:
            kept.append(chunk.raw)
    if not broken and first(data, b"IHDR") is None:
        broken = "it has no sound header"
    return Mended(b"".join(kept), profile, tuple(dict.fromkeys(lost)), broken)


def _unpacked_size(data: bytes, international: bool) -> int:
    """Bytes of a text or profile once unpacked, counted no further than just above UNPACKED."""
    if international:
        keyword, _, rest = data.partition(b"\0")
        if rest[:1] != b"\1":
            return len(data)
        data = keyword + b"\0\0" + rest[2:].split(b"\0", 2)[-1]
    packed = data.partition(b"\0")[2][1:]
    try:
        return len(zlib.decompressobj().decompress(packed, UNPACKED + 1))
    except zlib.error:
        return UNPACKED + 1


def _unpack(data: bytes, limit: int) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data.partition(b"\0")[2][1:], limit)
    except zlib.error:
        return None
