"""The post-filter's payload: what is packed comes back, as long as was counted, and nothing else is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.errors import CorruptError
from leechcodec.postfilter.coding import FINEST, LARGEST, best_order, bits_of, pack, unpack, weights_of
from leechcodec.postfilter.terms import PAIRS, SHIFTS, TERMS, groups

NONE = np.zeros((3, TERMS), np.int64)


def numbers_of(seed, spread, share):
    rng = np.random.default_rng(seed)
    numbers = (rng.laplace(scale=spread, size=(3, TERMS)) * (rng.random((3, TERMS)) < share)).round().astype(np.int64)
    numbers = numbers.clip(-LARGEST, LARGEST)
    numbers[1:, PAIRS] = 0
    return numbers


@given(
    st.integers(0, 999),
    st.sampled_from([0.5, 4.0, 60.0, 1e6]),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(0, FINEST),
)
def test_what_is_packed_comes_back(seed, spread, share, e):
    numbers = numbers_of(seed, spread, share)
    payload = pack(numbers, e)
    found, found_e = unpack(payload)
    assert np.array_equal(found, numbers) and found_e == e
    coded = [numbers[plane, group] for plane in range(3) for group in groups(plane)]
    bits = 4 + sum(3 + (best_order(own)[1] if own.any() else 0) for own in coded)
    assert len(payload) == -(-bits // 8)


def test_no_weights_take_five_bytes():
    assert pack(NONE, 7).hex() == "7000000000"
    assert np.array_equal(unpack(bytes.fromhex("7000000000"))[0], NONE)


def test_codes_of_order_0_and_2():
    assert bits_of(np.array([0, 1, -1, 2, -2, 3, -4]), 0).tolist() == [1, 3, 3, 5, 5, 5, 7]
    assert bits_of(np.array([0, 1, 2, -2, 6, -6]), 2).tolist() == [3, 3, 3, 5, 5, 7]


def test_a_payload_byte_for_byte():
    numbers = NONE.copy()
    numbers[0, :4] = (1, 0, -1, 0)  # order 0: 010 1 011 1
    #     e    order    codes           the other nine groups
    bits = "1001" + "001" + "01010111" + "000" * 9
    bits += "0" * (-len(bits) % 8)
    assert pack(numbers, 9) == int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_weights_are_numbers_in_their_units():
    numbers = NONE.copy()
    numbers[1, 5] = -3
    assert weights_of(numbers, 9)[1, 5] == -3 * 2.0 ** (SHIFTS[5] - 9)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "ends too early"),
        (bytes(4), "ends too early"),
        (bytes(6), "goes on"),
        (bytes.fromhex("7000000001"), "goes on"),
        (bytes.fromhex("72") + bytes(40), "too large"),  # zeros without end
        (bytes.fromhex("73ffffffff"), "ends too early"),
    ],
)
def test_other_payloads_are_refused(payload, message):
    with pytest.raises(CorruptError, match=message):
        unpack(payload)


def test_numbers_beyond_the_largest_are_refused():
    numbers = NONE.copy()
    numbers[0, 0] = LARGEST + 1
    with pytest.raises(CorruptError, match="too large"):
        unpack(pack(numbers, 3))


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data):
    try:
        numbers, e = unpack(data)
    except CorruptError:
        return
    assert np.array_equal(unpack(pack(numbers, e))[0], numbers)
