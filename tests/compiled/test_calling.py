import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.compiled.calling import CallError, kind_of


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def test_equal_arrays_are_of_one_kind():
    assert kind_of(np.zeros((2, 3))) == kind_of(np.ones((5, 7)))


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((2, 3), dtype=np.float32),
        np.zeros(6),
        np.zeros((3, 2)).T,
        np.zeros((2, 6))[:, ::2],
        np.broadcast_to(np.zeros(3), (2, 3)),
        np.frombuffer(bytes(48)).reshape(2, 3),
        np.frombuffer(bytes(49), offset=1).reshape(2, 3),
    ],
)
def test_what_numba_tells_apart_is_told_apart(other):
    assert kind_of(np.zeros((2, 3))) != kind_of(other)


def test_numbers_and_tuples():
    kinds = [kind_of(value) for value in (1, 1.0, True, np.int64(1), np.uint64(1), np.float32(1), (1,), (1, 1))]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("other", ["text", None, [1], np.int8(1), (1, "text")])
def test_what_no_kernel_takes(other):
    with pytest.raises(CallError, match="a kernel takes"):
        kind_of((other,))


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.sampled_from("bBhHiIqQfd"),
    st.sampled_from([np.array, np.transpose, np.asfortranarray, lambda a: a[..., ::2], read_only]),
)
def test_the_kind_is_numbas_type(shape, letter, view):
    import numba

    a, b = np.zeros(shape, dtype=letter), view(np.zeros(shape, dtype=letter))
    assert (kind_of(a) == kind_of(b)) == (numba.typeof(a) == numba.typeof(b))
