"""Damage to .lq files, seeded. Half of it repairs the checksums afterwards: what lies behind them must be reached."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from leechcodec.detail.coding import VALUES
from leechcodec.detail.head import pack_head, unpack_head
from leechcodec.errors import CorruptError
from leechcodec.formats.container import FRAME_SIZE, HEADER_SIZE, ChunkKind

_FRAME = struct.Struct("<HI")


def mutate(rng: np.random.Generator, data: bytes, others: list[bytes]) -> bytes:
    """One to four random operations on a file; others: files to splice from."""
    for _ in range(rng.integers(1, 5)):
        operation = OPERATIONS[rng.integers(len(OPERATIONS))]
        data = operation(rng, data, others[rng.integers(len(others))])
    return repaired(data) if rng.random() < 0.5 else data


def repaired(data: bytes) -> bytes:
    """The file with every chunk's checksum, and the number of chunks, set right as far as its frames make sense."""
    if len(data) < HEADER_SIZE:
        return data
    frames, position = [], HEADER_SIZE
    while len(data) - position >= FRAME_SIZE and len(frames) < 255:
        frame = data[position : position + _FRAME.size]
        length = _FRAME.unpack(frame)[1]
        payload = data[position + FRAME_SIZE : position + FRAME_SIZE + length]
        frames.append((frame, payload))
        position += FRAME_SIZE + length
    header = data[:5] + bytes([len(frames)]) + data[6:HEADER_SIZE]
    parts = [header]
    for frame, payload in frames:
        crc = zlib.crc32(payload, zlib.crc32(frame, zlib.crc32(header)))
        parts += [frame, struct.pack("<I", crc), payload]
    return b"".join(parts)


def _frames(data: bytes) -> Iterator[int]:
    """Where each frame begins, as far as lengths make sense."""
    position = HEADER_SIZE
    while len(data) - position >= FRAME_SIZE:
        yield position
        position += FRAME_SIZE + _FRAME.unpack_from(data, position)[1]


def flip(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Some bits."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9) if changed else 0):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """The end off."""
    return data[: rng.integers(len(data) + 1)]


def splice(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """The end of another file on the beginning of this."""
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def repeat(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A piece twice."""
    start = rng.integers(len(data) + 1)
    end = start + rng.integers(0, 200)
    return data[:end] + data[start:]


def field(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A hurtful number in a field of the header or of a frame: sizes, quality, lengths, kinds."""
    changed = bytearray(data)
    places = [(4, 1), (5, 1), (22, 4), (26, 4), (30, 2), (HEADER_SIZE, 2), (HEADER_SIZE + 2, 4)]
    for position in _frames(data):
        places += [(position, 2), (position + 2, 4)]
    offset, size = places[rng.integers(len(places))]
    values = (0, 1, 2, 3, 16, 99, 100, 10_000, 10_001, 0x8001, 0x8004, 0xFFFF, 65_535, 8000, 2**31 - 1, 2**32 - 1)
    value = int(values[rng.integers(len(values))]) & (256**size - 1)
    if len(changed) >= offset + size:
        changed[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def layer(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """What a detail layer's head states, which is deflated: another step, and some of its values."""
    for position in _frames(data):
        kind, length = _FRAME.unpack_from(data, position)
        start, end = position + FRAME_SIZE, position + FRAME_SIZE + length
        if kind != ChunkKind.DETAIL:
            continue
        with suppress(CorruptError):
            step, quality, values, stream = unpack_head(data[start:end], VALUES)
            changed = bytearray(values)
            for _ in range(rng.integers(1, 9)):
                changed[rng.integers(len(changed))] = rng.integers(80)
            payload = pack_head(int(rng.choice([step, 1, 0xFFFF])), quality, bytes(changed)) + stream
            frame = _FRAME.pack(kind, len(payload)) + data[position + _FRAME.size : start]
            return data[:position] + frame + payload + data[end:]
    return data


def noise(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A run of random bytes over what was there."""
    start = int(rng.integers(len(data) + 1))
    run = rng.bytes(int(rng.integers(1, 64)))
    return data[:start] + run + data[start + len(run) :]


OPERATIONS = (flip, cut, splice, repeat, field, noise, layer)
