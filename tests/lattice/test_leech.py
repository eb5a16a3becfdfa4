import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lattice import leech


def test_whole_codebook_round_trips():
    assert np.array_equal(leech.vector_to_index(leech.codebook()), np.arange(leech.SIZE))


@pytest.mark.slow
def test_codewords_are_distinct_and_of_norm_32():
    book = leech.codebook().astype(np.int32)
    assert (np.square(book).sum(axis=1) == 32).all()
    assert len(np.unique(book, axis=0)) == leech.SIZE == 196_560


@pytest.mark.parametrize("row", [0, 1103, 1104, 60_000, 98_256, 196_559])
def test_inner_products_from_any_codeword(row):
    book = leech.codebook().astype(np.int32)
    values, counts = np.unique(book @ book[row], return_counts=True)
    expected = {-32: 1, -16: 4600, -8: 47104, 0: 93150, 8: 47104, 16: 4600, 32: 1}
    assert dict(zip(values.tolist(), counts.tolist())) == expected


@given(st.lists(st.integers(0, leech.SIZE - 1), max_size=20))
def test_any_indices_round_trip(indices):
    array = np.array(indices, dtype=np.int64)
    assert np.array_equal(leech.vector_to_index(leech.index_to_vector(array)), array)


def test_keeps_the_shape():
    assert leech.index_to_vector(np.zeros((2, 3), dtype=np.int32)).shape == (2, 3, 24)
    assert leech.vector_to_index(np.broadcast_to(leech.codebook()[5], (2, 3, 24))).tolist() == [[5, 5, 5], [5, 5, 5]]


@given(st.lists(st.integers(-5, 5), min_size=24, max_size=24))
def test_refuses_what_is_not_a_codeword(entries):
    vector = np.array(entries)
    if (leech.codebook() == vector).all(axis=1).any():
        return
    with pytest.raises(ValueError, match="not a codeword"):
        leech.vector_to_index(vector)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_refuses_the_least_integer_whose_size_is_none(kind):
    vector = np.zeros(24, dtype=kind)
    vector[:3] = 4, 4, np.iinfo(kind).min
    with pytest.raises(ValueError, match="not a codeword"):
        leech.vector_to_index(vector)


@pytest.mark.parametrize("index", [0, 150, 5000, 120_000])
def test_refuses_a_codeword_with_one_sign_changed(index):
    vector = leech.codebook()[index].copy()
    vector[np.flatnonzero(vector)[0]] *= -1
    if index >= leech.OFFSET_2:
        with pytest.raises(ValueError, match="not a codeword"):
            leech.vector_to_index(vector)
    else:
        leech.vector_to_index(vector)  # class 1 has every sign


def test_refuses_indices_out_of_range():
    for bad in (-1, leech.SIZE):
        with pytest.raises(ValueError, match="out of range"):
            leech.index_to_vector(np.array([bad]))
    with pytest.raises(TypeError):
        leech.index_to_vector(np.array([0.5]))
