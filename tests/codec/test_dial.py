"""The dial: tokens up to the entry, above it a layer whose step falls."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.codec.dial import COARSEST, ENTRY, FINEST, LOUDEST, dial_quality, step_at, tokens_quality
from leechcodec.detail.head import pack_head
from leechcodec.formats.container import Chunk, ChunkKind, Header

HEADER = Header(width=64, height=64, quality=int(100 * ENTRY), token_model=bytes(8), synthesis=bytes(8))


def test_its_ends():
    assert tokens_quality(25) == 25 and tokens_quality(ENTRY) == ENTRY
    assert tokens_quality(91.5) == ENTRY == tokens_quality(100)
    assert step_at(ENTRY, 5.0) is None and step_at(100, 5.0) == pytest.approx(FINEST)
    for error, first in ((3.0, COARSEST), (10.0, 20.0), (74.0, LOUDEST)):
        assert step_at(ENTRY + 0.01, error) == pytest.approx(first, rel=0.01)


@given(st.floats(ENTRY + 0.01, 99.9), st.floats(0, 255))
def test_steps_fall(quality, error):
    assert step_at(quality, error) > step_at(quality + 0.1, error) >= FINEST * 0.999


def test_a_file_says_where_it_was_made():
    assert dial_quality(HEADER, [Chunk(ChunkKind.DETAIL, pack_head(2000, 9321, bytes(648)))]) == 93.21
    assert dial_quality(replace(HEADER, quality=5550), []) == 55.5
    assert dial_quality(HEADER, [Chunk(ChunkKind.DETAIL, b"\xff\xff\xff")]) == ENTRY
    assert dial_quality(HEADER, [Chunk(ChunkKind.DETAIL, b"")]) == ENTRY
