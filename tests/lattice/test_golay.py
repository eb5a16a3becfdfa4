import numpy as np

from leechcodec.lattice.golay import golay_words, hamming, hamming_reversed, octad_supports, octad_words


def test_weight_distribution():
    assert np.bincount(golay_words().sum(axis=1, dtype=np.int64)).nonzero()[0].tolist() == [0, 8, 12, 16, 24]
    assert np.bincount(golay_words().sum(axis=1, dtype=np.int64))[[0, 8, 12, 16, 24]].tolist() == [1, 759, 2576, 759, 1]


def test_linear_in_the_word_number():
    words = golay_words()
    m, n = np.random.default_rng(0).integers(0, 4096, (2, 500))
    assert np.array_equal(words[m] ^ words[n], words[m ^ n])


def test_the_two_hamming_codes_share_two_words():
    shared = {tuple(w) for w in hamming()} & {tuple(w) for w in hamming_reversed()}
    assert shared == {(0,) * 8, (1,) * 8}


def test_octads():
    words = golay_words()[octad_words()]
    assert np.array_equal(np.take_along_axis(words, octad_supports(), axis=1), np.ones((759, 8)))
    # A Steiner system S(5, 8, 24): any two octads meet in 0, 2, 4 or 8 places.
    assert set(np.unique(words.astype(int) @ words.T.astype(int))) == {0, 2, 4, 8}


def test_complementing_a_block_gives_a_word():
    """What kernels.py folds by: 4,096 words are 512 triples of {byte, complement}."""
    words = golay_words()
    present = {word.tobytes() for word in words}
    for block in np.repeat(np.eye(3, dtype=np.uint8), 8, axis=1):
        assert all((word ^ block).tobytes() in present for word in words)


def test_blocks_of_octads():
    weights = golay_words()[octad_words()].reshape(-1, 3, 8).sum(axis=2)
    kinds, counts = np.unique(np.sort(weights, axis=1), axis=0, return_counts=True)
    assert dict(zip(map(tuple, kinds.tolist()), counts.tolist())) == {(0, 0, 8): 3, (0, 4, 4): 84, (2, 2, 4): 672}


def test_tables_are_read_only():
    for table in (hamming(), hamming_reversed(), golay_words(), octad_words(), octad_supports()):
        assert not table.flags.writeable
