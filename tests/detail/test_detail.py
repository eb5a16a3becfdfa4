"""The detail layer: transforms invert each other, chunks decode to their points, forgeries are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.detail import coding, transform
from leechcodec.detail.coding import VALUES, decode_detail, encode_detail
from leechcodec.detail.contexts import PASSES
from leechcodec.detail.head import STEP_UNIT, pack_head, unpack_head
from leechcodec.errors import CorruptError

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def residual(size, seed, spread=20.0):
    return np.random.default_rng(seed).laplace(scale=spread, size=(*size, 3)).clip(-255, 255).round()


@given(SIZES, st.integers(0, 99))
def test_the_transform_is_orthonormal_and_inverts(size, seed):
    r = residual(size, seed)
    found = transform.forward(r)
    assert found.shape == (3, 64, *transform.block_grid(*size))
    assert np.allclose(transform.inverse(found, size), r)


def test_every_coefficient_is_in_one_pass():
    seen = np.zeros((3, 64, 20), dtype=int)
    for one in PASSES:
        seen[one.where(5, 4)] += 1
    assert (seen == 1).all()


@settings(max_examples=15, deadline=None)
@given(SIZES, st.integers(0, 99), st.sampled_from([0.0, 1.0, 20.0, 400.0]), st.integers(300, 8000))
def test_a_chunk_decodes_to_its_points(size, seed, spread, step):
    r = residual(size, seed, spread)
    data, points = encode_detail(transform.forward(r), step, 9000)
    found = decode_detail(data, size)
    assert np.array_equal(found, points * (step * STEP_UNIT))
    assert encode_detail(transform.forward(r), step, 9000)[0] == data


@pytest.mark.parametrize("spread", [3.0, 60.0])
def test_a_fine_step_leaves_little_error(spread):
    r = residual((48, 40), 1, spread)
    data, _ = encode_detail(transform.forward(r), 1024, 9000)
    error = np.square(transform.inverse(decode_detail(data, (48, 40)), (48, 40)) - r).mean()
    assert 0.2 < error < 0.8  # 0.526 squared units at high rate


def test_damaged_chunks_are_refused():
    data, _ = encode_detail(transform.forward(residual((33, 21), 2)), 2048, 9000)
    step, quality, values, stream = unpack_head(data, VALUES)
    head = len(data) - len(stream)
    assert (step, quality) == (2048, 9000)
    forged = (
        pack_head(2048, 9000, values + b"\0") + stream,
        pack_head(2048, 9000, values[:-1]) + stream,
        pack_head(0, 9000, values) + stream,
        pack_head(2048, 9000, b"\xff" * VALUES) + stream,
        data[:2] + b"\xff" * (head - 2) + stream,
    )
    for bad in (b"", b"\x05", data[: head - 1], data[:-4], data + bytes(4), data[:head], *forged):
        with pytest.raises(CorruptError):
            decode_detail(bad, (33, 21))
    with pytest.raises(CorruptError):
        decode_detail(data, (800, 900))


def test_windows_wider_than_any_picture_needs_are_refused(monkeypatch):
    """A kilobyte could take a minute to decode: masses of every token over 16,384 values."""
    with monkeypatch.context() as forger:
        forger.setattr(coding, "SPARE_VALUES", 1 << 30)
        forger.setattr(coding, "_window", lambda _: coding.MAX_WINDOW)
        data, _ = encode_detail(transform.forward(residual((64, 64), 4, 2.0)), 4096, 9000)
    with pytest.raises(CorruptError, match="windows are too wide"):
        decode_detail(data, (64, 64))


def test_an_encoder_keeps_to_the_room_that_windows_have(monkeypatch):
    r = residual((48, 40), 3, 60.0)
    data, _ = encode_detail(transform.forward(r), 1024, 9000)
    monkeypatch.setattr(coding, "SPARE_VALUES", 0)
    monkeypatch.setattr(coding, "VALUES_A_BLOCK", 512)
    narrow, points = encode_detail(transform.forward(r), 1024, 9000)
    assert np.array_equal(decode_detail(narrow, (48, 40)), points)
    with pytest.raises(CorruptError, match="windows are too wide"):
        decode_detail(data, (48, 40))
