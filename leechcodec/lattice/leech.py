"""The 196,560 minimal vectors of the Leech lattice: index <-> vector, in the order that docs/lattice.md fixes.

In integer form (squared norm 32, divide by sqrt(32) for the unit sphere) there are three classes
(Conway and Sloane, *Sphere Packings, Lattices and Groups*, ch. 4 §11 and ch. 10):

    class 1   (±4, ±4, 0^22)   any two coordinates i < j, any signs                     1,104 = 276 · 4
    class 2   (±2^8, 0^16)     on an octad, an even number of minus signs              97,152 = 759 · 128
    class 3   s_k = (-1)^(w_k) for a Golay word w, one coordinate multiplied by -3     98,304 = 4096 · 24

Index order:

    class 1   4 · pair + 2 · [c_i < 0] + [c_j < 0]        pairs (i, j) in lexicographic order
    class 2   1,104 + 128 · octad + signs                 bit t of signs: coordinate t of the support is negative
                                                          (t = 0..6; the eighth sign makes their number even)
    class 3   98,256 + 24 · word + flip                   word number of golay_words(), flipped coordinate
"""

from functools import cache

import numpy as np

from leechcodec.lattice.golay import (
    LENGTH,
    golay_words,
    hamming_numbers,
    octad_supports,
    octad_words,
)

DIM = LENGTH
NORM_SQUARED = 32
COUNT_1, COUNT_2, COUNT_3 = 1104, 97152, 98304
OFFSET_2, OFFSET_3 = COUNT_1, COUNT_1 + COUNT_2
SIZE = COUNT_1 + COUNT_2 + COUNT_3


@cache
def codebook() -> np.ndarray:
    """All codewords in index order, int8 (196560, 24), read-only; generated on first use (4.7 MB)."""
    vectors = index_to_vector(np.arange(SIZE))
    vectors.setflags(write=False)
    return vectors


@cache
def _pairs() -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(DIM, 1)


def index_to_vector(indices: np.ndarray) -> np.ndarray:
    """Codewords of the given indices.

    indices: integers in [0, 196560), any shape (...). Returns int8 (..., 24) in integer form.
    Raises ValueError for an index out of range, TypeError for a non-integer array.
    """
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"codeword indices must be integers, not {indices.dtype}")
    if indices.size and (indices.min() < 0 or indices.max() >= SIZE):
        raise ValueError(f"codeword index out of range [0, {SIZE})")
    flat = indices.reshape(-1).astype(np.int64)
    vectors = np.zeros((flat.size, DIM), dtype=np.int8)
    (rows1,), (rows2,), (rows3,) = _class_rows(flat)

    pair, signs = flat[rows1] >> 2, flat[rows1] & 3
    first, second = _pairs()
    vectors[rows1, first[pair]] = np.where(signs & 2, -4, 4)
    vectors[rows1, second[pair]] = np.where(signs & 1, -4, 4)

    octad, signs = np.divmod(flat[rows2] - OFFSET_2, 128)
    negative = signs[:, None] >> np.arange(7) & 1
    negative = np.concatenate([negative, negative.sum(axis=1, keepdims=True) & 1], axis=1)
    vectors[rows2[:, None], octad_supports()[octad]] = 2 - 4 * negative

    word, flip = np.divmod(flat[rows3] - OFFSET_3, DIM)
    vectors[rows3] = 1 - 2 * golay_words()[word].astype(np.int8)
    vectors[rows3, flip] *= -3
    return vectors.reshape(*indices.shape, DIM)


def vector_to_index(vectors: np.ndarray) -> np.ndarray:
    """Indices of codewords; the inverse of :func:`index_to_vector`.

    vectors: integers (..., 24) in integer form. Returns int64 (...).
    Raises ValueError where a row is not one of the 196,560 codewords.
    """
    vectors = np.asarray(vectors)
    if vectors.dtype.kind not in "iu" or vectors.shape[-1:] != (DIM,):
        raise ValueError(f"expected integer codewords of shape (..., {DIM}), got {vectors.dtype} {vectors.shape}")
    if vectors.size and (vectors.min() < -4 or vectors.max() > 4):
        raise ValueError("not a codeword: an entry beyond ±4")
    flat = vectors.reshape(-1, DIM).astype(np.int8)
    magnitude = np.abs(flat)
    largest = magnitude.max(axis=1, initial=0)
    indices = np.zeros(flat.shape[0], dtype=np.int64)

    (rows,) = np.nonzero(largest == 4)
    first, second = magnitude[rows].argmax(axis=1), DIM - 1 - magnitude[rows, ::-1].argmax(axis=1)
    pair = first * (2 * DIM - 1 - first) // 2 + second - first - 1
    pair = np.clip(pair, 0, COUNT_1 // 4 - 1)
    indices[rows] = 4 * pair + 2 * (flat[rows, first] < 0) + (flat[rows, second] < 0)

    (rows,) = np.nonzero(largest == 2)
    octad = np.searchsorted(_octad_masks(), _pack(magnitude[rows] > 0)).clip(max=758)
    octad = _octad_order()[octad]
    negative = np.take_along_axis(flat[rows], octad_supports()[octad], axis=1) < 0
    indices[rows] = OFFSET_2 + 128 * octad + (negative[:, :7] << np.arange(7)).sum(axis=1)

    (rows,) = np.nonzero((largest != 4) & (largest != 2))
    flip = magnitude[rows].argmax(axis=1)
    bits = (flat[rows] < 0) ^ (magnitude[rows] == 3)
    blocks = np.packbits(bits.reshape(-1, 3, 8), axis=2)[..., 0]
    x = blocks[:, 0] ^ blocks[:, 1] ^ blocks[:, 2]
    numbers, numbers_reversed = np.maximum(hamming_numbers(), 0)  # of what is no word, any: it does not come back
    word = 256 * numbers_reversed[x] + 16 * numbers[blocks[:, 0] ^ x] + numbers[blocks[:, 1] ^ x]
    indices[rows] = OFFSET_3 + 24 * word + flip

    if not np.array_equal(index_to_vector(indices), flat):
        bad = int((index_to_vector(indices) != flat).any(axis=1).argmax())
        raise ValueError(f"not a codeword of the Leech lattice's first shell: row {bad}, {flat[bad].tolist()}")
    return indices.reshape(vectors.shape[:-1])


def _class_rows(flat: np.ndarray) -> tuple[tuple[np.ndarray, ...], ...]:
    return (
        np.nonzero(flat < OFFSET_2),
        np.nonzero((flat >= OFFSET_2) & (flat < OFFSET_3)),
        np.nonzero(flat >= OFFSET_3),
    )


def _pack(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.int64) << np.arange(DIM)).sum(axis=1)


@cache
def _octad_order() -> np.ndarray:
    return np.argsort(_pack(golay_words()[octad_words()]))


@cache
def _octad_masks() -> np.ndarray:
    return np.sort(_pack(golay_words()[octad_words()]))
