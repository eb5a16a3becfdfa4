"""The extended binary Golay code [24, 12, 8] in Turyn's three-block form.

Let H and H' be the extended [8, 4, 4] Hamming codes of x^3 + x + 1 and of its reverse x^3 + x^2 + 1.
They share only 0 and 1 = (1, ..., 1), and

    G24 = { (a + x,  b + x,  a + b + x)  :  a, b in H,  x in H' }

(R. J. Turyn, 1967; MacWilliams and Sloane, *The Theory of Error-Correcting Codes*, ch. 18 §7.4).
The 24 coordinates are three blocks of eight. A block of a word is one of the 128 even-weight bytes a + x,
so whatever is summed or maximised over the 4,096 words reduces to three look-ups a word.
"""

from functools import cache

import numpy as np

BLOCKS = 3
BLOCK_LENGTH = 8
LENGTH = BLOCKS * BLOCK_LENGTH


def _extended_cyclic_words(generator: tuple[int, ...]) -> np.ndarray:
    """The 16 words of an extended cyclic [8, 4, 4] code, numbered so that word[i] ^ word[j] = word[i ^ j]."""
    basis = np.zeros((4, BLOCK_LENGTH), dtype=np.uint8)
    for row in range(4):
        for degree in generator:
            basis[row, row + degree] = 1
    basis[:, 7] = basis[:, :7].sum(axis=1) % 2
    numbers = np.arange(16)[:, None] >> np.arange(4) & 1
    return (numbers @ basis % 2).astype(np.uint8)


@cache
def hamming() -> np.ndarray:
    """H, uint8 (16, 8): the extended Hamming code of x^3 + x + 1. Row i ^ j is the sum of rows i and j."""
    return _freeze(_extended_cyclic_words((0, 1, 3)))


@cache
def hamming_reversed() -> np.ndarray:
    """H', uint8 (16, 8): the extended Hamming code of x^3 + x^2 + 1; H and H' share only 0 and 1."""
    return _freeze(_extended_cyclic_words((0, 2, 3)))


@cache
def hamming_numbers() -> np.ndarray:
    """Numbers in H, and in H', of bytes as np.packbits packs a word: int64 (2, 256), -1 where a byte is no word."""
    tables = np.full((2, 256), -1)
    for table, words in zip(tables, (hamming(), hamming_reversed())):
        table[np.packbits(words, axis=1)[:, 0]] = np.arange(16)
    return _freeze(tables)


@cache
def golay_words() -> np.ndarray:
    """The 4,096 Golay words, uint8 (4096, 24); word number m = 256·x + 16·a + b with x, a, b in 0..15."""
    m = np.arange(4096)
    x, a, b = hamming_reversed()[m >> 8], hamming()[m >> 4 & 15], hamming()[m & 15]
    return _freeze(np.concatenate([a ^ x, b ^ x, a ^ b ^ x], axis=1))


@cache
def octad_words() -> np.ndarray:
    """The word numbers m of the 759 octads (words of weight 8), ascending, int64 (759,)."""
    return _freeze(np.flatnonzero(golay_words().sum(axis=1) == 8))


@cache
def octad_supports() -> np.ndarray:
    """The eight coordinates of each octad, ascending, int64 (759, 8); row k belongs to octad_words()[k]."""
    return _freeze(np.nonzero(golay_words()[octad_words()])[1].reshape(-1, 8))


def _freeze(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
