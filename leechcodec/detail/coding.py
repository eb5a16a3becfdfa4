"""The one loop of the layer's encoder and decoder.

    points so far ─▶ levels ─▶ scales ─▶ sorted, 24 a token ─▶ point code ─▶ points ─▶ next pass

A file states what fits its picture: the mean magnitude of each band, the shift of scale that each level of each pass
brings, and how wide a window each octave of scales needs. So there is nothing to train, and any content is met.
"""

import struct
from dataclasses import dataclass, field

import numpy as np

from leechcodec.detail.contexts import LEVELS, PASSES, levels
from leechcodec.detail.scales import PER_OCTAVE, SCALES, scale_of, scores
from leechcodec.detail.transform import BANDS, CHANNELS, block_grid
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
HIGH_RATE = 1 / (2 * 0.526)
"""Nats per squared unit that a rate-aware choice weighs errors with at high rate, where 0.526 is the mean
squared error."""
WEIGHT = 0.6 * HIGH_RATE
_STEP = struct.Struct("<H")
STEP_UNIT = 1 / 1024
"""Of a step, in pixel levels per integer unit of the lattice."""
HEAD = _STEP.size + CHANNELS * BANDS + len(PASSES) * (LEVELS + OCTAVES)


@dataclass
class Parameters:
    """What a file states. step: 1..65,535, in 1/1024 levels. bands: uint8 (3, 64), scales. shifts: uint8 (12, 20), the
    scale that a level has, where the band's is 32. windows: uint8 (12, 18), binary logarithms."""

    step: int
    bands: np.ndarray = field(default_factory=lambda: np.zeros((CHANNELS, BANDS), dtype=np.uint8))
    shifts: np.ndarray = field(default_factory=lambda: np.zeros((len(PASSES), LEVELS), dtype=np.uint8))
    windows: np.ndarray = field(default_factory=lambda: np.full((len(PASSES), OCTAVES), MIN_WINDOW, dtype=np.uint8))

    def to_bytes(self) -> bytes:
        return _STEP.pack(self.step) + self.bands.tobytes() + self.shifts.tobytes() + self.windows.tobytes()

    @classmethod
    def of_bytes(cls, data: bytes) -> "Parameters":
        """Raises CorruptError for what is too short or out of range."""
        if len(data) < HEAD:
            raise CorruptError(f"a detail chunk of {len(data)} bytes, its head has {HEAD}")
        values = np.frombuffer(data, dtype=np.uint8, count=HEAD - _STEP.size, offset=_STEP.size).copy()
        bands, shifts, windows = np.split(values, [CHANNELS * BANDS, CHANNELS * BANDS + len(PASSES) * LEVELS])
        (step,) = _STEP.unpack_from(data)
        if not step or bands.max() >= SCALES or shifts.max() >= SCALES:
            raise CorruptError("the detail chunk's step or scales are out of range")
        if windows.min() < MIN_WINDOW or windows.max() > MAX_WINDOW:
            raise CorruptError("a window of the detail chunk is out of range")
        return cls(step, bands.reshape(CHANNELS, BANDS), shifts.reshape(-1, LEVELS), windows.reshape(-1, OCTAVES))


CENTRE = 32
"""The shift that leaves a band's scale as it is."""


def encode_detail(coefficients: np.ndarray, step: int) -> tuple[bytes, np.ndarray]:
    """The chunk of coefficients, float64 (3, 64, h, w) in pixel levels, and the points in it, int32 of that shape.

    step: 1..65,535 in 1/1024 levels: what an integer unit of the lattice stands for.
    """
    y = coefficients / (step * STEP_UNIT)
    parameters, coder = Parameters(step), TokenEncoder()
    for channel in range(CHANNELS):
        for band in range(BANDS):
            parameters.bands[channel, band] = scale_of(_mean(y[channel, band]))
    points = code_passes(coder, parameters, y.shape[2:], y)
    return parameters.to_bytes() + coder.to_bytes(), points


def decode_detail(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """The coefficients in a chunk, float64 (3, 64, h, w) in pixel levels. size: (height, width) of the picture.

    Raises CorruptError for what no encoder writes.
    """
    parameters = Parameters.of_bytes(data)
    coder = TokenDecoder(data[HEAD:])
    points = code_passes(coder, parameters, block_grid(*size), None, 8 * (len(data) - HEAD))
    coder.finish()
    return points * (parameters.step * STEP_UNIT)


def code_passes(
    coder: TokenCoder, parameters: Parameters, grid: tuple[int, ...], y: np.ndarray | None, bits: float = np.inf
) -> np.ndarray:
    """Code all passes. y: what an encoder approximates, whose shifts and windows it fills in; None to decode.

    bits: of the stream; more tokens than they can hold are refused before they are coded.
    """
    points = np.zeros((CHANNELS, BANDS, *grid), dtype=np.int32)
    for number, one in enumerate(PASSES):
        mask = one.mask(*grid)
        level, band = (
            levels(one, points, parameters.bands),
            np.broadcast_to(parameters.bands[..., None, None], mask.shape),
        )
        band = band[mask].astype(np.int64)
        wanted = None if y is None else y[mask]
        if wanted is not None:
            parameters.shifts[number] = _fitted_shifts(wanted, level, band)
        scale = np.clip(band + parameters.shifts[number][level].astype(np.int64) - CENTRE, 0, SCALES - 1)
        scale[(band == 0) | (parameters.shifts[number][level] == 0)] = 0
        order = np.argsort(-scale, kind="stable")
        order = order[: -(-int((scale > 0).sum()) // DIM) * DIM]
        bits -= MIN_BITS_PER_TOKEN * (len(order) // DIM)
        if bits < -64:
            raise CorruptError("the detail chunk is too short for its tokens")
        coded = np.zeros(len(scale), dtype=np.int32)
        coded[order] = _code_tokens(coder, parameters.windows[number], scale[order], wanted, order)
        points[mask] = coded
    return points


def _code_tokens(
    coder: TokenCoder, windows: np.ndarray, scale: np.ndarray, wanted: np.ndarray | None, order: np.ndarray
) -> np.ndarray:
    """Code coefficients of falling scale, 24 per token; an octave of the token's loudest fixes its window."""
    missing = -len(scale) % DIM  # a last token is filled up with silent coefficients
    index = np.pad(scale, (0, missing)).reshape(-1, DIM)
    vectors = None if wanted is None else np.pad(wanted[order], (0, missing)).reshape(-1, DIM)
    octave, found = index[:, 0] // PER_OCTAVE, np.zeros(index.shape, dtype=np.int32)
    for which in np.unique(octave)[::-1]:
        rows, chosen = octave == which, None
        if vectors is not None:
            windows[which] = _window(vectors[rows])
            chosen = rate_aware_point(vectors[rows], WEIGHT, scores(1 << int(windows[which])) / 64, index[rows])[0]
        found[rows] = code_points(coder, ScoreTables.of(scores(1 << int(windows[which]))), index[rows], chosen)
    return found.reshape(-1)[: len(scale)]


def _window(vectors: np.ndarray) -> int:
    """The binary logarithm of the window that holds vectors, with room for a lattice's neighbours."""
    return int(np.clip(np.ceil(np.log2(2 * (np.abs(vectors).max() + 4))), MIN_WINDOW, MAX_WINDOW))


def _fitted_shifts(y: np.ndarray, level: np.ndarray, band: np.ndarray) -> np.ndarray:
    """For every level the shift of scale that its magnitudes, in units of their band's mean, ask for."""
    ratio = np.abs(y) / 2.0 ** ((band - 16) / PER_OCTAVE)
    count = np.bincount(level[band > 0], minlength=LEVELS)
    total = np.bincount(level[band > 0], ratio[band > 0], minlength=LEVELS)
    mean = np.maximum(total / np.maximum(count, 1), 1e-9)
    shift = np.round(CENTRE + PER_OCTAVE * np.log2(mean))
    return np.where(count, np.clip(shift, 1, SCALES - 1), CENTRE).astype(np.uint8)


def _mean(y: np.ndarray) -> float:
    """The mean magnitude, of what is louder than a quarter of the lattice's own error; 0 where all is silent."""
    return 0.0 if not np.abs(y).max() > 0.5 else float(np.abs(y).mean())
