import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.detail import strips
from leechcodec.errors import CorruptError, TooLargeError

SIZE = (strips.STRIP_PIXELS // 1000 + 500, 1000)
"""Of two strips."""
PARTS = [b"\3\0abcstream", b"\1\0de"]


@given(st.integers(1, 100_000_000), st.integers(1, 2_000_000))
def test_strips_cover_the_picture_in_whole_blocks(height, width):
    height = max(1, min(height, 2 * 10**8 // width))
    rows = strips.strips(height, width)
    assert [own.stop for own in rows] == [*(own.start for own in rows[1:]), height] and rows[0].start == 0
    assert all((own.stop - own.start) % 8 == 0 for own in rows[:-1])
    assert rows[0].stop <= 8 or rows[0].stop * width <= strips.STRIP_PIXELS


@pytest.mark.parametrize("parts", [PARTS[:1], PARTS])
def test_what_is_joined_is_split_again(parts):
    height = SIZE[0] if len(parts) == 2 else 100
    found = strips.split(strips.join(parts), height, SIZE[1])
    assert [data for _, data in found] == parts
    assert [rows for rows, _ in found] == strips.strips(height, SIZE[1])


def test_one_strip_is_its_own_payload():
    assert strips.join(PARTS[:1]) == PARTS[0]


def test_a_layer_in_one_piece_is_read_up_to_a_limit():
    assert strips.split(PARTS[0], 4096, 4096) == [(slice(0, 4096), PARTS[0])]
    assert strips.split(b"", 8, 8) == [(slice(0, 8), b"")]  # what is no layer at all its decoder refuses
    with pytest.raises(TooLargeError, match="in one piece"):
        strips.split(PARTS[0], 4097, 4096)


def test_strips_that_are_not_those_of_the_picture_are_refused():
    payload = strips.join(PARTS)
    for damaged in [payload[:end] for end in range(2, len(payload))] + [payload + b"x", payload + payload]:
        with pytest.raises(CorruptError):
            strips.split(damaged, *SIZE)
    with pytest.raises(CorruptError, match="no mark"):
        strips.split(strips.join(PARTS)[: -len(PARTS[1]) - 4] + PARTS[1] + bytes(4), *SIZE)
    with pytest.raises(CorruptError, match="too small"):
        strips.split(payload, 100, 1000)
