"""The block structure that maximum.py and summation.py share: which half-bytes, classes and octads belong together."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from leechcodec import compiled
from leechcodec.lattice.golay import LENGTH, golay_words, hamming, hamming_reversed, octad_supports, octad_words

VALUES = 9
"""Entries of a coordinate's score table: v = -4..4 at index v + 4."""
LANES = 16
"""Tokens side by side."""
P, F, E, O = 0, LANES, 2 * LANES, 3 * LANES  # noqa: E741  (odd: the name beside E, even)
"""Where a row of a tree or of a table of classes keeps its four numbers of every lane."""
ROW = 4 * LANES
CHUNK = 512
"""Tokens whose exponentials are held at a time."""


_OPTIONS: dict[str, Any] = {"fastmath": {"contract"}}
entry, inner = compiled.entry(**_OPTIONS), compiled.inner(**_OPTIONS)


class Turyn(NamedTuple):
    """Which half-bytes make a class, which classes make an octad; bit t of a byte is coordinate t of its block."""

    byte: np.ndarray
    """int64 (64,): one byte of every class; the other is its complement."""
    halves: np.ndarray
    """uint8 (64, 2, 2): tree nodes (low, high half) of the byte and of its complement."""
    octad_halves: np.ndarray
    """uint8 (64, 2, 2): the same for those of the two that occur in octads; (0, 0) elsewhere."""
    partners: np.ndarray
    """uint8 (16, 8): for node 16 + n of one half, the nodes of the other half that make even bytes with it."""
    partner_classes: np.ndarray
    """uint8 (2, 2, 16, 8): the classes of these bytes for a low, a high half; then with 64 for bytes of no octad."""
    twos: np.ndarray
    """uint8 (8, 4): the q of the classes 8·y + q that hold a byte of weight 2 (y > 0)."""
    fours: np.ndarray
    """uint8 (8, 4): the q of those that hold two bytes of weight 4 (y > 0)."""
    complements: np.ndarray
    """int64 (3,): the word number whose j-th block is all ones; adding it complements the block."""
    groups: np.ndarray
    """int64 (108, 8): the octads of each term of class 2, filled up with -1."""
    supports: np.ndarray
    """uint8 (759, 8): the coordinates of each octad."""


@cache
def turyn() -> Turyn:
    """The tables of the block structure, derived from golay.py's words on first use."""
    weights = 1 << np.arange(8)
    byte = ((hamming()[None, :8] ^ hamming_reversed()[:8, None]) @ weights).reshape(64)
    both = np.stack([byte, byte ^ 255], axis=1)
    weight = _weight(both)
    in_octad = (weight == 2) | (weight == 4) | (weight == 8)
    lightest = weight.min(axis=1).reshape(8, 8)
    twos, fours = np.zeros((2, 8, 4), dtype=np.uint8)
    for y in range(1, 8):
        twos[y], fours[y] = np.flatnonzero(lightest[y] == 2), np.flatnonzero(lightest[y] == 4)

    class_of, octad_class_of = np.full((2, 256), 64)
    class_of[both] = np.arange(64)[:, None]
    octad_class_of[both[in_octad]] = class_of[both[in_octad]]
    node = np.array([16 + int(f"{half:04b}"[::-1], 2) for half in range(16)])  # coordinate 0 is a path's first step
    halves = np.stack([node[both & 15], node[both >> 4]], axis=2)
    half = np.argsort(node)  # the half-byte of node 16 + n
    parity = _weight(half) % 2
    partner = np.array([half[parity == own] for own in parity])
    made = np.stack([half[:, None] + 16 * partner, 16 * half[:, None] + partner])

    ones = np.repeat(np.eye(3, dtype=np.uint8), 8, axis=1)
    complements = [np.flatnonzero((golay_words() == row).all(axis=1))[0] for row in ones]
    groups = [[] for _ in range(108)]
    for octad, blocks in enumerate(golay_words()[octad_words()].reshape(-1, 3, 8) @ weights):
        heavy, light = _weight(blocks).argmax(), _weight(blocks).argmin()
        y, q = divmod(class_of[blocks[heavy]], 8)
        if y:
            group = 12 * (y - 1) + 4 * heavy + np.flatnonzero(fours[y] == q)[0]
        else:
            group = 84 + 3 * (q - 1) + light if q else 105 + heavy
        groups[group].append(octad)
    return Turyn(
        byte=byte.astype(np.int64),
        halves=halves.astype(np.uint8),
        octad_halves=np.where(in_octad[..., None], halves, 0).astype(np.uint8),
        partners=node[partner].astype(np.uint8),
        partner_classes=np.stack([class_of[made], octad_class_of[made]]).astype(np.uint8),
        twos=twos,
        fours=fours,
        complements=np.array(complements, dtype=np.int64),
        groups=np.array([group + [-1] * (8 - len(group)) for group in groups], dtype=np.int64),
        supports=octad_supports().astype(np.uint8),
    )


def _weight(byte: np.ndarray) -> np.ndarray:
    return (byte[..., None] >> np.arange(8) & 1).sum(axis=-1)


def check_shape(scores: np.ndarray) -> None:
    if scores.ndim != 3 or scores.shape[1:] != (LENGTH, VALUES):
        raise ValueError(f"expected scores of shape (N, {LENGTH}, {VALUES}), got {scores.shape}")
