import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.errors import (
    CorruptError,
    LqError,
    NotLqError,
    TooLargeError,
    TruncatedError,
    UnsupportedVersionError,
)
from leechcodec.formats.container import (
    FRAME_SIZE,
    HEADER_SIZE,
    JOINED_SIZE,
    MAGIC,
    Chunk,
    ChunkKind,
    Header,
    check_size,
    read_file,
    read_header,
    write_file,
)

HEADER = Header(token_model=b"tokenmod", synthesis=b"synthesi", width=768, height=512, quality=5025)
CHUNKS = [Chunk(ChunkKind.TOKENS_0, b"coarse"), Chunk(ChunkKind.TOKENS_1, b""), Chunk(ChunkKind.XMP, b"<x/>")]
FILE = write_file(HEADER, CHUNKS)
GOLDEN = (
    "894c510a" "01" "03" "746f6b656e6d6f64" "73796e7468657369" "00030000" "00020000" "a113"
    "0000" "06000000" "da90761c" "636f61727365"
    "0100" "00000000" "5fd0ca3e"
    "0380" "04000000" "08525f1a" "3c782f3e"
)  # fmt: skip


def test_golden_bytes():
    """The format, byte for byte: this must never change."""
    assert FILE.hex() == GOLDEN


def test_fixed_part_and_framing_are_within_their_bounds():
    assert HEADER_SIZE == 32 and FRAME_SIZE == 10
    assert len(FILE) == HEADER_SIZE + 3 * FRAME_SIZE + 10


headers = st.builds(
    Header,
    token_model=st.binary(min_size=8, max_size=8),
    synthesis=st.binary(min_size=8, max_size=8),
    width=st.integers(1, 10_000),
    height=st.integers(1, 10_000),
    quality=st.integers(100, 10_000),
)
chunk_lists = st.dictionaries(st.sampled_from(list(ChunkKind)), st.binary(max_size=40), min_size=1).map(
    lambda chunks: [Chunk(kind, chunks[kind]) for kind in sorted(chunks)]
)


@given(headers, chunk_lists)
def test_round_trip(header, chunks):
    assert read_file(write_file(header, chunks)) == (header, chunks)


BOTH = [Chunk(ChunkKind.TOKENS, b"all tokens"), Chunk(ChunkKind.FILTER, b"weights")]


def test_a_filter_and_all_tokens_lie_in_one_chunk():
    data = write_file(HEADER, [*BOTH, CHUNKS[2]])
    assert read_file(data) == (HEADER, [*BOTH, CHUNKS[2]])
    assert len(data) == HEADER_SIZE + 2 * FRAME_SIZE + JOINED_SIZE + 17 + 4
    assert data[5] == 2 and data[HEADER_SIZE] == 4
    assert data[HEADER_SIZE + FRAME_SIZE :].startswith(b"\x07weightsall tokens")


def test_a_filter_of_more_than_255_bytes_has_a_chunk_of_its_own():
    for size, chunks in ((255, 1), (256, 2)):
        wanted = [BOTH[0], Chunk(ChunkKind.FILTER, bytes(size))]
        data = write_file(HEADER, wanted)
        assert read_file(data) == (HEADER, wanted) and data[5] == chunks


def framed(*chunks):
    """A file of chunks (kind, payload) as they are."""
    start, parts = HEADER.pack(len(chunks)), []
    for kind, payload in chunks:
        frame = kind.to_bytes(2, "little") + len(payload).to_bytes(4, "little")
        parts += [frame, zlib.crc32(start + frame + payload).to_bytes(4, "little"), payload]
    return start + b"".join(parts)


def test_in_chunks_of_their_own_they_are_read_too():
    assert read_file(framed((3, b"all tokens"), (0x8000, b"weights"))) == (HEADER, BOTH)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([(4, b"")], "no tokens"),
        ([(4, b"\x07weights"[:-1])], "no tokens"),
        ([(3, b"all tokens"), (4, b"\x07weightsall tokens")], "out of order"),
        ([(4, b"\x07weightsall tokens"), (0x8000, b"weights")], "out of order"),
    ],
)
def test_joined_chunks_that_say_too_little_or_too_much(chunks, message):
    with pytest.raises(CorruptError, match=message):
        read_file(framed(*chunks))


def test_every_truncation_is_an_error():
    for length in range(len(FILE)):
        with pytest.raises(NotLqError if length == 0 else TruncatedError):
            read_file(FILE[:length])


def test_every_bit_is_protected():
    for bit in range(8 * len(FILE)):
        damaged = bytearray(FILE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LqError):
            read_file(bytes(damaged))


@given(st.binary(max_size=200))
def test_noise_is_an_error(data):
    for start in (b"", MAGIC, FILE[:HEADER_SIZE]):
        with pytest.raises(LqError):
            read_file(start + data)


def resealed(kind: int, header: Header = HEADER, payload: bytes = b"?") -> bytes:
    """A file whose one chunk is of any kind, with a right checksum."""
    start, frame = header.pack(1), kind.to_bytes(2, "little") + len(payload).to_bytes(4, "little")
    return start + frame + zlib.crc32(start + frame + payload).to_bytes(4, "little") + payload


def test_unknown_chunks():
    assert read_file(resealed(0x8123)) == (HEADER, [])
    with pytest.raises(UnsupportedVersionError, match="kind 99"):
        read_file(resealed(99))


def test_other_faults_are_named():
    with pytest.raises(NotLqError, match="empty"):
        read_header(b"")
    with pytest.raises(NotLqError, match="magic"):
        read_header(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UnsupportedVersionError, match="version 9"):
        read_header(FILE[:4] + b"\x09" + FILE[5:])
    with pytest.raises(CorruptError, match="1 bytes after"):
        read_file(FILE + b"\0")
    with pytest.raises(CorruptError, match="no chunks"):
        read_file(HEADER.pack(0))
    with pytest.raises(TooLargeError, match="65535 x 65535"):
        read_header(Header(b"a" * 8, b"b" * 8, 65535, 65535, 5000).pack(1))
    for width, height in ((100_000_000, 1), (1, 100_000_000)):  # few pixels, but 64 times as many once padded
        with pytest.raises(TooLargeError):
            read_header(Header(b"a" * 8, b"b" * 8, width, height, 5000).pack(1))
    assert read_header(Header(b"a" * 8, b"b" * 8, 10_000, 10_000, 5000).pack(1))[1] == 1
    doubled = write_file(HEADER, CHUNKS[:1])
    repeated = HEADER.pack(2) + doubled[HEADER_SIZE:] * 2
    with pytest.raises(CorruptError):
        read_file(repeated)


@pytest.mark.parametrize(
    "change", [{"width": 0}, {"height": 2**32}, {"quality": 99}, {"quality": 10_001}, {"token_model": b"short"}]
)
def test_header_refuses_what_does_not_fit(change):
    with pytest.raises(ValueError):
        Header(**{**HEADER.__dict__, **change}).pack(1)


def test_writer_refuses_chunks_out_of_order():
    with pytest.raises(ValueError, match="ascending"):
        write_file(HEADER, CHUNKS[::-1])


def test_sizes_may_be_numpy_s():
    with pytest.raises(TooLargeError):
        check_size(np.int32(65536), np.int32(65536))
