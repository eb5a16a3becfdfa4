"""The post-filter's payload: what is packed comes back, as long as was counted, and nothing else is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.errors import CorruptError
from leechcodec.postfilter.coding import FINEST, LARGEST, best_order, bits_of, pack, unpack, weights_of
from leechcodec.postfilter.terms import CLIPPED, SHIFTS, TERMS, groups

NONE = np.zeros((3, TERMS), np.int64)


def numbers_of(seed, spread, share):
    rng = np.random.default_rng(seed)
    numbers = (rng.laplace(scale=spread, size=(3, TERMS)) * (rng.random((3, TERMS)) < share)).round().astype(np.int64)
    return np.where(allowed(), numbers.clip(-LARGEST, LARGEST), 0)


def allowed():
    """Where a plane has a term: bool (3, 52)."""
    found = np.zeros((3, TERMS), bool)
    for plane in range(3):
        found[plane, np.r_[groups(plane)]] = True
    return found


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
    assert len(payload) <= -(-bits // 8) and payload[-1:] != b"\0"


@pytest.mark.parametrize("payload", ["70", "7000000000", "700000000000"])
def test_without_weights(payload):
    numbers, e = unpack(bytes.fromhex(payload))
    assert np.array_equal(numbers, NONE) and e == 7
    assert pack(NONE, 7).hex() == "70"


def test_clipped_pairs_come_last():
    numbers = NONE.copy()
    numbers[1, CLIPPED[1]] = (1, 0, 0, 0)
    #     e    ten groups       luma's  order   codes
    bits = "0011" + "000" * 10 + "000" + "001" + "010111"
    bits += "0" * (-len(bits) % 8)
    assert pack(numbers, 3) == int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_codes_of_order_0_and_2():
    assert bits_of(np.array([0, 1, -1, 2, -2, 3, -4]), 0).tolist() == [1, 3, 3, 5, 5, 5, 7]
    assert bits_of(np.array([0, 1, 2, -2, 6, -6]), 2).tolist() == [3, 3, 3, 5, 5, 7]


def test_a_payload_byte_for_byte():
    numbers = NONE.copy()
    numbers[0, :4] = (1, 0, -1, 0)  # order 0: 010 1 011 1
    #     e    order    codes           zeros are left out
    bits = "1001" + "001" + "01010111" + "0"
    assert pack(numbers, 9) == int(bits, 2).to_bytes(2, "big")


def test_weights_are_numbers_in_their_units():
    numbers = NONE.copy()
    numbers[1, 5] = -3
    assert weights_of(numbers, 9)[1, 5] == -3 * 2.0 ** (SHIFTS[5] - 9)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (bytes(7), "goes on"),
        (bytes.fromhex("70000000000001"), "goes on"),
        (bytes.fromhex("72") + bytes(40), "too large"),  # zeros without end
        (bytes.fromhex("72"), "too large"),
        (bytes.fromhex("73ffffffff"), "too large"),
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
