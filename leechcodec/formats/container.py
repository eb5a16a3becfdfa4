"""The .lq container: a header of 32 bytes, then chunks with lengths and checksums. docs/FORMAT.md, byte for byte.

    magic 4 | version 1 | chunks 1 | token model 8 | synthesis 8 | width 4 | height 4 | quality 2       (little-endian)
    then for each chunk   kind 2 | length 4 | crc 4 | payload

Standard library only: reading a file's header costs microseconds. The checksum of a chunk runs over the header, the
chunk's kind and length, and its payload, so that no bit of a file is unprotected.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from leechcodec.config import ALIGNMENT, MAX_QUALITY, MIN_QUALITY, hundredths
from leechcodec.errors import (
    CorruptError,
    LqError,
    NotLqError,
    TooLargeError,
    TruncatedError,
    UnsupportedVersionError,
)

MAGIC = b"\x89LQ\n"
VERSION = 1
_HEADER = struct.Struct("<4sBB8s8sIIH")
_FRAME = struct.Struct("<HI")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size
FRAME_SIZE = _FRAME.size + _CRC.size
JOINED_SIZE = 1
"""What a post-filter takes beside its payload where it lies in the tokens' chunk."""
MAX_PIXELS = 100_000_000
MIN_SIDE = ALIGNMENT
"""A side counts as at least that many pixels: what a decoder pads to, so that 100,000,000 x 1 is no way around."""
LOWEST, HIGHEST = hundredths(MIN_QUALITY), hundredths(MAX_QUALITY)
"""Of the header's quality."""
OPTIONAL = 0x8000
"""Kinds from here on may be skipped by a reader that does not know them."""


class ChunkKind(IntEnum):
    """Kinds of chunks. Tokens, in order: strides 64 and 32; 16; 8 and 4; or those of all strides in one.

    Where a file has FILTER and TOKENS, they lie in it as one, of a kind of its own, which nobody else meets.
    """

    TOKENS_0 = 0
    TOKENS_1 = 1
    TOKENS_2 = 2
    TOKENS = 3
    ALPHA = 16
    FILTER = OPTIONAL
    ICC = OPTIONAL | 1
    EXIF = OPTIONAL | 2
    XMP = OPTIONAL | 3
    GREY = OPTIONAL | 4
    DETAIL = OPTIONAL | 5


_FILTERED_TOKENS = 4
_HOLDS = {_FILTERED_TOKENS: (ChunkKind.TOKENS, ChunkKind.FILTER)}
"""Kinds that a chunk stands for."""


@dataclass(frozen=True)
class Header:
    """The fixed part of a file.

    token_model, synthesis: ids of 8 bytes. width, height: pixels. quality: hundredths of the dial, 100..10,000.
    """

    token_model: bytes
    synthesis: bytes
    width: int
    height: int
    quality: int
    version: int = VERSION

    def pack(self, chunks: int) -> bytes:
        """The header's 32 bytes. Raises ValueError for a field that does not fit."""
        if len(self.token_model) != 8 or len(self.synthesis) != 8:
            raise ValueError("model ids are 8 bytes")
        if not (0 < self.width < 2**32 and 0 < self.height < 2**32):
            raise ValueError(f"size {self.width} x {self.height} does not fit the header")
        if not LOWEST <= self.quality <= HIGHEST or not 0 <= chunks < 256:
            raise ValueError(f"quality {self.quality} or {chunks} chunks do not fit the header")
        return _HEADER.pack(
            MAGIC, self.version, chunks, self.token_model, self.synthesis, self.width, self.height, self.quality
        )


@dataclass(frozen=True)
class Chunk:
    """A kind and its payload."""

    kind: int
    payload: bytes


def payload_of(chunks: Iterable[Chunk], kind: ChunkKind) -> bytes | None:
    """What the chunk of a kind holds; None where there is none."""
    return next((chunk.payload for chunk in chunks if chunk.kind == kind), None)


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raise TooLargeError for an image of more than max_pixels, each side counted as at least MIN_SIDE."""
    if max(int(width), MIN_SIDE) * max(int(height), MIN_SIDE) > max_pixels:
        raise TooLargeError(f"{width} x {height} pixels, more than the limit of {max_pixels:,}")


def write_file(header: Header, chunks: Sequence[Chunk]) -> bytes:
    """The bytes of a file. Chunks must come in ascending order of kind, each kind once."""
    kinds = [chunk.kind for chunk in chunks]
    if kinds != sorted(set(kinds)):
        raise ValueError(f"chunks must be in ascending order, each kind once: {kinds}")
    chunks = _joined(chunks)
    start = header.pack(len(chunks))
    parts = [start]
    for chunk in chunks:
        frame = _FRAME.pack(chunk.kind, len(chunk.payload))
        parts += [frame, _CRC.pack(_checksum(start, frame, chunk.payload)), chunk.payload]
    return b"".join(parts)


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, int]:
    """The header of a file, and its number of chunks; the header's checksum is verified by :func:`read_file` alone.

    Raises NotLqError, TruncatedError, UnsupportedVersionError, CorruptError or TooLargeError (more than max_pixels).
    """
    if not isinstance(data, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotLqError(f"the bytes of a file are needed (Path.read_bytes), not {type(data).__name__}")
    if not data[:4] == MAGIC[: len(data)] or not data:
        raise NotLqError("not an .lq file: " + ("empty" if not data else "wrong magic bytes"))
    if len(data) < 5:
        raise TruncatedError(f"truncated: {len(data)} bytes, the header has {HEADER_SIZE}")
    if data[4] != VERSION:
        raise UnsupportedVersionError(f"format version {data[4]}; this release reads version {VERSION}")
    if len(data) < HEADER_SIZE:
        raise TruncatedError(f"truncated: {len(data)} bytes, the header has {HEADER_SIZE}")
    _, version, chunks, token_model, synthesis, width, height, quality = _HEADER.unpack_from(data)
    if not width or not height:
        raise CorruptError(f"the header says {width} x {height} pixels")
    check_size(width, height, max_pixels)
    if not LOWEST <= quality <= HIGHEST:
        raise CorruptError(f"the header's quality is {quality}, not within {LOWEST}..{HIGHEST}")
    return Header(token_model, synthesis, width, height, quality, version), chunks


def read_file(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, list[Chunk]]:
    """Header and chunks of a file, every checksum verified; unknown optional chunks are left out.

    Raises what read_header raises; TruncatedError where a chunk is cut off; CorruptError for a checksum that does
    not match, chunks out of order, none at all, or bytes after the last; UnsupportedVersionError for an unknown
    mandatory chunk.
    """
    data = _fixed(data)
    header, count = read_header(data, max_pixels=max_pixels)
    if not count:
        raise CorruptError("the file holds no chunks")
    chunks: list[Chunk] = []
    for chunk, problem in _frames(data, count):
        if problem is not None:
            raise problem
        chunks.append(cast(Chunk, chunk))  # there where no problem is
    return header, _known(chunks)


def _fixed(data: bytes | bytearray | memoryview) -> bytes:
    """Bytes that nobody changes; what is none of the three stays for :func:`read_header` to name."""
    return bytes(data) if isinstance(data, bytearray | memoryview) else data


def salvage(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, list[Chunk], list[LqError]]:
    """Header and chunks of a damaged file, as far as checksums hold, and what is wrong with the rest.

    Raises what read_header raises, and the first problem where not one chunk is whole: then the header may be damaged
    too. A chunk after a damaged one counts only if its own checksum holds.
    """
    data = _fixed(data)
    header, count = read_header(data, max_pixels=max_pixels)
    found = list(_frames(data, count))
    chunks = [chunk for chunk, _ in found if chunk]
    problems = [problem for _, problem in found if problem]
    if not chunks:
        raise problems[0] if problems else CorruptError("the file holds no chunks")
    return header, _known(chunks), problems


def _frames(data: bytes, count: int) -> Iterator[tuple[Chunk, None] | tuple[None, LqError]]:
    """Every chunk in turn, or what is wrong with it; a last problem where bytes are left over."""
    start, position, last, seen = data[:HEADER_SIZE], HEADER_SIZE, -1, set[int]()
    for number in range(1, count + 1):
        if len(data) - position < FRAME_SIZE:
            yield None, TruncatedError(f"truncated: chunk {number} of {count} is missing")
            return
        kind, length = _FRAME.unpack_from(data, position)
        (crc,) = _CRC.unpack_from(data, position + _FRAME.size)
        payload_start = position + FRAME_SIZE
        if len(data) - payload_start < length:
            yield None, TruncatedError(f"truncated: chunk {number} of {count} is cut off at byte {len(data)}")
            return
        payload = data[payload_start : payload_start + length]
        if _checksum(start, data[position : position + _FRAME.size], payload) != crc:
            yield None, CorruptError(f"chunk {number} of {count} (or the header) is damaged: checksum mismatch")
        elif kind <= last or seen.intersection(holds := _HOLDS.get(kind, (kind,))):
            yield None, CorruptError(f"chunk {number} of {count} is out of order")
        elif kind < OPTIONAL and kind not in (*ChunkKind, _FILTERED_TOKENS):
            message = f"the file needs a chunk of kind {kind}, which this release does not know"
            yield None, UnsupportedVersionError(message)
        elif kind == _FILTERED_TOKENS and (not payload or len(payload) <= payload[0]):
            yield None, CorruptError(f"chunk {number} of {count} holds no tokens")
        else:
            last = kind
            seen.update(holds)
            yield Chunk(kind, payload), None
        position = payload_start + length
    if position != len(data):
        yield None, CorruptError(f"{len(data) - position} bytes after the last chunk")


def _known(chunks: Sequence[Chunk]) -> list[Chunk]:
    parts = (part for chunk in chunks for part in _parts(chunk))
    known = (Chunk(ChunkKind(part.kind), part.payload) for part in parts if part.kind in ChunkKind._value2member_map_)
    return sorted(known, key=_kind)


def _joined(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Chunks with a post-filter and all tokens in one: as a frame has ten bytes, and the filter of a small file 30."""
    weights, tokens = (payload_of(chunks, kind) for kind in (ChunkKind.FILTER, ChunkKind.TOKENS))
    if weights is None or tokens is None or len(weights) > 255:
        return list(chunks)
    both = Chunk(_FILTERED_TOKENS, bytes([len(weights)]) + weights + tokens)
    rest = [chunk for chunk in chunks if chunk.kind not in (ChunkKind.FILTER, ChunkKind.TOKENS)]
    return sorted([both, *rest], key=_kind)


def _parts(chunk: Chunk) -> list[Chunk]:
    """The inverse, of one chunk."""
    if chunk.kind != _FILTERED_TOKENS:
        return [chunk]
    end = 1 + chunk.payload[0]
    return [Chunk(ChunkKind.TOKENS, chunk.payload[end:]), Chunk(ChunkKind.FILTER, chunk.payload[1:end])]


def _kind(chunk: Chunk) -> int:
    return chunk.kind


def _checksum(header: bytes, frame: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(frame, zlib.crc32(header)))
