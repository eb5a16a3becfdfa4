"""The one loop of the layer's encoder and decoder.

    points so far ─▶ levels ─▶ scales ─▶ sorted, 24 a token ─▶ point code ─▶ points ─▶ next pass

A file states what fits its picture: the mean magnitude of each band, the shift of scale that each level of each pass
brings, and how wide a window each octave of scales needs. So there is nothing to train, and any content is met.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from leechcodec.detail.contexts import LEVELS, PASSES, levels, sizes
from leechcodec.detail.head import STEP_UNIT, pack_head, unpack_head
from leechcodec.detail.scales import PER_OCTAVE, SCALES, UNIT, scale_of, scores
from leechcodec.detail.transform import BANDS, CHANNELS, block_grid
from leechcodec.entropy.pmf import SCORE_UNIT
from leechcodec.entropy.point_coding import code_points
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.range_coder import TokenDecoder, TokenEncoder
from leechcodec.entropy.token_coder import MIN_BITS_PER_TOKEN, TokenCoder
from leechcodec.errors import CorruptError
from leechcodec.lattice.closest import rate_aware_point
from leechcodec.lattice.points import DIM

OCTAVES = SCALES // PER_OCTAVE
MIN_WINDOW, MAX_WINDOW = 4, 14
"""Binary logarithms."""
VALUES_A_BLOCK, SPARE_VALUES = 1 << 14, 1 << 20
"""That the windows of all tokens may have in sum: a token's masses take time in proportion to its window. Colour noise
at quality 100 takes three quarters of this, anything else an eighth."""
HIGH_RATE = 1 / (2 * 0.526)
"""Nats per squared unit that a rate-aware choice weighs errors with at high rate, where 0.526 is the mean
squared error."""
WEIGHT = 0.6 * HIGH_RATE
CENTRE = 32
"""The shift that leaves a band's scale as it is."""
VALUES = CHANNELS * BANDS + len(PASSES) * (LEVELS + OCTAVES)
"""Bytes that a file states beside its step and quality."""
CodeVectors = Callable[[TokenCoder, np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]
"""code(coder, table, index, vectors) -> points, int32 (N, 24).

table: int64 (72, W), scores of a window. index: int64 (N, 24), scales. vectors: float64 (N, 24), None to decode.
"""


@dataclass
class Parameters:
    """What a file states. step: 1..65,535, in 1/1024 levels. quality: of the dial, in hundredths. bands: uint8 (3, 64),
    scales. shifts: uint8 (12, 20), the scale that a level has, where the band's is 32. windows: uint8 (12, 18), binary
    logarithms."""

    step: int
    quality: int
    bands: np.ndarray = field(default_factory=lambda: np.zeros((CHANNELS, BANDS), dtype=np.uint8))
    shifts: np.ndarray = field(default_factory=lambda: np.zeros((len(PASSES), LEVELS), dtype=np.uint8))
    windows: np.ndarray = field(default_factory=lambda: np.full((len(PASSES), OCTAVES), MIN_WINDOW, dtype=np.uint8))

    def to_bytes(self) -> bytes:
        """The head of a chunk."""
        return pack_head(self.step, self.quality, self.bands.tobytes() + self.shifts.tobytes() + self.windows.tobytes())

    @classmethod
    def of_bytes(cls, data: bytes) -> tuple["Parameters", bytes]:
        """Those of a chunk, and the stream after them. Raises CorruptError for what is too short or out of range."""
        step, quality, head, stream = unpack_head(data, VALUES)
        values = np.frombuffer(head, dtype=np.uint8).copy()
        bands, shifts, windows = np.split(values, [CHANNELS * BANDS, CHANNELS * BANDS + len(PASSES) * LEVELS])
        if bands.max() >= SCALES or shifts.max() >= SCALES:
            raise CorruptError("the detail chunk's scales are out of range")
        if windows.min() < MIN_WINDOW or windows.max() > MAX_WINDOW:
            raise CorruptError("a window of the detail chunk is out of range")
        shapes = bands.reshape(CHANNELS, BANDS), shifts.reshape(-1, LEVELS), windows.reshape(-1, OCTAVES)
        return cls(step, quality, *shapes), stream


def code_lattice(
    coder: TokenCoder, table: np.ndarray, index: np.ndarray, vectors: np.ndarray | None, weight: float = WEIGHT
) -> np.ndarray:
    """Choose and code points of the lattice. weight: of errors in the choice, in nats per squared unit."""
    chosen = None if vectors is None else rate_aware_point(vectors, weight, table / SCORE_UNIT, index)[0]
    return code_points(coder, ScoreTables.of(table), index, chosen)


def encode_detail(
    coefficients: np.ndarray, step: int, quality: int, code: CodeVectors = code_lattice
) -> tuple[bytes, np.ndarray]:
    """The chunk of coefficients, float64 (3, 64, h, w), and the points in it, int32 of that shape.

    coefficients: in pixel levels, divided by their relative steps (steps.py).
    step: 1..65,535 in 1/1024 levels: what an integer unit of the lattice stands for.
    quality: of the dial in hundredths, which the chunk only states. code: what measurements replace; files have the
    lattice.
    """
    y = coefficients / (step * STEP_UNIT)
    parameters, coder = Parameters(step, quality), TokenEncoder()
    for channel in range(CHANNELS):
        for band in range(BANDS):
            parameters.bands[channel, band] = scale_of(_mean(y[channel, band]))
    points = code_passes(coder, parameters, y.shape[2:], y, code=code)
    return parameters.to_bytes() + coder.to_bytes(), points


def decode_detail(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """The coefficients in a chunk, float64 (3, 64, h, w), divided by their relative steps as they were given.

    size: (height, width) of the picture. Raises CorruptError for what no encoder writes.
    """
    parameters, stream = Parameters.of_bytes(data)
    coder = TokenDecoder(stream)
    points = code_passes(coder, parameters, block_grid(*size), None, 8 * len(stream))
    coder.finish()
    return points * (parameters.step * STEP_UNIT)


def code_passes(
    coder: TokenCoder,
    parameters: Parameters,
    grid: tuple[int, ...],
    y: np.ndarray | None,
    bits: float = np.inf,
    code: CodeVectors = code_lattice,
) -> np.ndarray:
    """Code all passes. y: what an encoder approximates, whose shifts and windows it fills in; None to decode.

    bits: of the stream; more tokens than they can hold are refused before they are coded.
    """
    points, room = np.zeros((CHANNELS, BANDS, grid[0] * grid[1]), dtype=np.int32), _Room(grid[0] * grid[1])
    size = np.zeros((CHANNELS, BANDS, *grid), dtype=np.int64)
    for number, one in enumerate(PASSES):
        where, level = one.where(*grid), levels(one, size)
        bands = np.broadcast_to(parameters.bands[where[:2]], level.shape)
        flat_level, band = level.reshape(-1), bands.reshape(-1).astype(np.int64)
        wanted = None if y is None else y.reshape(points.shape)[where].reshape(-1)
        if wanted is not None:
            parameters.shifts[number] = _fitted_shifts(wanted, flat_level, band)
        shift = parameters.shifts[number][flat_level].astype(np.int64)
        scale = np.clip(band + shift - CENTRE, 0, SCALES - 1)
        scale[(band == 0) | (shift == 0)] = 0
        order = np.argsort(-scale, kind="stable")
        order = order[: -(-int((scale > 0).sum()) // DIM) * DIM]
        bits -= MIN_BITS_PER_TOKEN * (len(order) // DIM)
        if bits < -64:
            raise CorruptError("the detail chunk is too short for its tokens")
        coded = np.zeros(len(scale), dtype=np.int32)
        coded[order] = _code_tokens(coder, parameters.windows[number], room, scale[order], wanted, order, code)
        points[where] = coded.reshape(level.shape)
        size.reshape(points.shape)[where] = sizes(points[where], bands)
    return points.reshape(size.shape)


def _code_tokens(
    coder: TokenCoder,
    windows: np.ndarray,
    room: "_Room",
    scale: np.ndarray,
    wanted: np.ndarray | None,
    order: np.ndarray,
    code: CodeVectors,
) -> np.ndarray:
    """Code coefficients of falling scale, 24 per token; an octave of the token's loudest fixes its window."""
    missing = -len(scale) % DIM  # a last token is filled up with silent coefficients
    index = np.pad(scale, (0, missing)).reshape(-1, DIM)
    vectors = None if wanted is None else np.pad(wanted[order], (0, missing)).reshape(-1, DIM)
    octave, found = index[:, 0] // PER_OCTAVE, np.zeros(index.shape, dtype=np.int32)
    for which in np.unique(octave)[::-1]:
        rows = octave == which
        own = None if vectors is None else vectors[rows]
        if own is not None:
            windows[which] = min(_window(own), room.widest(len(own)))
        room.take(int(rows.sum()), int(windows[which]))
        found[rows] = code(coder, scores(1 << int(windows[which])), index[rows], own)
    return found.reshape(-1)[: len(scale)]


class _Room:
    """What is left for the windows of a picture's tokens."""

    def __init__(self, blocks: int) -> None:
        self._values = VALUES_A_BLOCK * blocks + SPARE_VALUES
        self._tokens = CHANNELS * BANDS * blocks // DIM + len(PASSES)

    def widest(self, tokens: int) -> int:
        """The binary logarithm of the widest window for so many tokens that leaves the narrowest for all others."""
        left = self._values - (self._tokens - tokens << MIN_WINDOW)
        return (left // tokens).bit_length() - 1

    def take(self, tokens: int, window: int) -> None:
        """Raises CorruptError where so many tokens of a window are too many."""
        self._tokens -= tokens
        self._values -= tokens << window
        if self._values < 0:
            raise CorruptError("the detail chunk's windows are too wide for its picture")


def _window(vectors: np.ndarray) -> int:
    """The binary logarithm of the window that holds vectors, with room for a lattice's neighbours."""
    return int(np.clip(np.ceil(np.log2(2 * (np.abs(vectors).max() + 4))), MIN_WINDOW, MAX_WINDOW))


def _fitted_shifts(y: np.ndarray, level: np.ndarray, band: np.ndarray) -> np.ndarray:
    """For every level the shift of scale that its magnitudes, in units of their band's mean, ask for."""
    ratio = np.abs(y) / 2.0 ** ((band - UNIT) / PER_OCTAVE)
    count = np.bincount(level[band > 0], minlength=LEVELS)
    total = np.bincount(level[band > 0], ratio[band > 0], minlength=LEVELS)
    mean = np.maximum(total / np.maximum(count, 1), 1e-9)
    shift = np.round(CENTRE + PER_OCTAVE * np.log2(mean))
    return np.where(count, np.clip(shift, 1, SCALES - 1), CENTRE).astype(np.uint8)


def _mean(y: np.ndarray) -> float:
    """The mean magnitude, of what is louder than a quarter of the lattice's own error; 0 where all is silent."""
    return 0.0 if not np.abs(y).max() > 0.5 else float(np.abs(y).mean())
