"""The Leech lattice's minimal vectors as rows of symbols, and back: the table of leech_masses.py as integers."""

import numpy as np

from leechcodec.lattice import leech
from leechcodec.lattice.leech import DIM, OFFSET_2, OFFSET_3

SYMBOLS = 9
"""Columns of a row of symbols: the class, then the symbols of that class in the order of leech_masses.py's table."""
ORIGIN = 3
"""The class symbol of the zero vector, where the code holds it."""


def tokens_to_symbols(tokens: np.ndarray, origin: bool = False) -> np.ndarray:
    """The symbols of codewords: int8 (N, 24) -> int32 (N, 9), unused columns 0.

    origin: whether the zero vector is a codeword too, class 3. Raises ValueError for a non-codeword.
    """
    symbols = np.zeros((len(tokens), SYMBOLS), dtype=np.int32)
    if origin:
        silent = ~tokens.any(axis=1)
        symbols[silent, 0] = ORIGIN
        symbols[~silent] = tokens_to_symbols(tokens[~silent])
        return symbols
    index = leech.vector_to_index(tokens)
    one, two, three = index < OFFSET_2, (index >= OFFSET_2) & (index < OFFSET_3), index >= OFFSET_3
    symbols[two, 0], symbols[three, 0] = 1, 2

    pair, signs = index[one] >> 2, index[one] & 3
    i, j = (entries[pair] for entries in np.triu_indices(DIM, 1))
    symbols[one, 1:5] = np.stack([i, j - i - 1, signs >> 1, signs & 1], axis=1)

    octad, signs = np.divmod(index[two] - OFFSET_2, 128)
    symbols[two, 1] = octad
    symbols[two, 2:9] = signs[:, None] >> np.arange(7) & 1

    word, flip = np.divmod(index[three] - OFFSET_3, DIM)
    symbols[three, 1:5] = np.stack([word >> 8, word >> 4 & 15, word & 15, flip], axis=1)
    return symbols


def symbols_to_tokens(symbols: np.ndarray) -> np.ndarray:
    """The codewords of rows of symbols, the inverse of :func:`tokens_to_symbols`: int32 (N, 9) -> int8 (N, 24)."""
    kind, rest = symbols[:, 0], symbols[:, 1:].astype(np.int64)
    i, gap, x, a, b, flip = rest[:, 0], rest[:, 1], rest[:, 0], rest[:, 1], rest[:, 2], rest[:, 3]
    one = 4 * (i * (2 * DIM - 1 - i) // 2 + gap) + 2 * rest[:, 2] + rest[:, 3]
    two = OFFSET_2 + 128 * rest[:, 0] + (rest[:, 1:] << np.arange(7)).sum(axis=1)
    three = OFFSET_3 + DIM * (256 * x + 16 * a + b) + flip
    tokens = leech.index_to_vector(np.choose(kind, [one, two, three, 0]))
    tokens[kind == ORIGIN] = 0
    return tokens
