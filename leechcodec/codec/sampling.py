"""Tokens drawn from the prior: whole images of them, or what a real file's tokens leave open.

prior ─▶ integers q, sum 2^24 ─▶ temperature, top-p ─▶ TokenSampler ─▶ codes ─▶ the prior's context from there on
                                                                         ▲
tokens that are known: coarse stages, positions outside a mask ──────────┘

A sampler is a decoder that reads chance instead of a stream: the same run of the prior, the same integer pmfs.
Everything here is integer arithmetic, or look-ups in tables that are the same everywhere, on the raw output of a PCG64
generator, which numpy keeps from release to release. So a seed gives the same tokens on every machine.
"""

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import cache
from pathlib import Path

import numpy as np

from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.model_store import LoadedModel, load_model, model_for_file
from leechcodec.codec.surroundings import sheltered
from leechcodec.codec.token_coding import Progress, Tokens, check_codes, run_prior
from leechcodec.config import ALIGNMENT, check_quality, header_quality
from leechcodec.entropy.pmf import SCORE_LIMIT, SCORE_UNIT, TOTAL, digits, exponentials, integer_pmf
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.errors import ConfigError
from leechcodec.formats.container import check_size
from leechcodec.networks.layout import TokenLayout
from leechcodec.quantizers.code import TokenCode

DEFAULT_SIZE = 256
"""Pixels of either side."""
DEFAULT_QUALITY = 50.0
DRAW_BITS = 40
"""Random bits per symbol: scaled to at most 2^24 outcomes they are even to one part in 2^16, and fit a uint64."""


# --- symbols ---------------------------------------------------------------------------------------------------


class TokenSampler(TokenCoder):
    """Draws symbols from their pmfs; the symbols it is given it ignores, as a decoder does.

    seed: a non-negative integer. temperature, top_p: see :func:`tempered` and :func:`likeliest`; both act on every
    symbol by itself, so they fit any quantizer. Sharpening a Leech token as a whole, p(c)^(1/T), would scale its
    coordinates' scores by 1/T; but those of a trained prior reach the coder's limit of 25 nats as they are, and what is
    clamped there becomes equal, not likelier.
    """

    reads = True

    def __init__(self, seed: int = 0, *, temperature: float = 1.0, top_p: float = 1.0) -> None:
        self._bits = np.random.PCG64(seed)
        self._temperature = temperature
        self._share = math.ceil(top_p * TOTAL)

    def _code(self, pmf: np.ndarray, symbols: np.ndarray | None, tokens: np.ndarray | None) -> np.ndarray:
        if self._temperature != 1:
            pmf = tempered(pmf, self._temperature)
        if self._share < TOTAL:
            pmf = likeliest(pmf, self._share)
        sums = pmf.cumsum(axis=1)
        chance = self._bits.random_raw(len(pmf)) >> np.uint64(64 - DRAW_BITS)
        drawn = (chance * sums[:, -1].astype(np.uint64)) >> np.uint64(DRAW_BITS)
        return (sums <= drawn.astype(np.int64)[:, None]).sum(axis=1)


def tempered(pmf: np.ndarray, temperature: float) -> np.ndarray:
    """The pmf of q^(1/T): below 1 likely symbols become likelier.

    pmf: int64 (N, K), every entry >= 1 and every row's sum 2^24; so is what is returned. temperature: above 0.
    Logarithms are rounded to the unit of all scores, 1/64 nat, before they are divided; symbols nearer to each
    other than that stay equally likely at any temperature.
    """
    scores = np.searchsorted(_least_integers(), pmf, side="right")
    scores -= scores.max(axis=1, keepdims=True)
    temperature = max(temperature, 1 / SCORE_LIMIT)  # where all but the likeliest have reached the limit
    scores = np.rint(scores / temperature).clip(-SCORE_LIMIT, 0).astype(np.int64)
    return integer_pmf(exponentials()[SCORE_LIMIT + scores])


@cache
def _least_integers() -> np.ndarray:
    """At k - 1, the least integer whose logarithm rounds to k / 64 nat or more, up to 2^24: int64, read-only.

    Comparing with these takes logarithms without a libm, whose last digits differ from machine to machine.
    """
    last = math.ceil(SCORE_UNIT * math.log(TOTAL))
    with localcontext(digits(30)):
        exact = [(Decimal(2 * k - 1) / (2 * SCORE_UNIT)).exp() for k in range(1, last + 1)]
        table = np.array([int(value.to_integral_value(ROUND_CEILING)) for value in exact], dtype=np.int64)
    table.setflags(write=False)
    return table


def likeliest(pmf: np.ndarray, share: int) -> np.ndarray:
    """A pmf without its tail: the fewest likeliest symbols whose sum reaches share as they are, the others zero.

    pmf: int64 (N, K), every row's sum 2^24. share: 1..2^24. Of equally likely symbols the first come first.
    """
    order = np.argsort(-pmf, axis=1, kind="stable")
    falling = np.take_along_axis(pmf, order, axis=1)
    before = falling.cumsum(axis=1) - falling
    kept = np.zeros_like(pmf)
    np.put_along_axis(kept, order, np.where(before < share, falling, 0), axis=1)
    return kept


# --- images ----------------------------------------------------------------------------------------------------


@sheltered
def sample(
    width: int | None = None,
    height: int | None = None,
    *,
    quality: float | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    start: Tokens | None = None,
    keep_stages: int | None = None,
    mask: np.ndarray | None = None,
    model: str | Path | None = None,
    progress: Progress | None = None,
) -> Tokens:
    """Draw the tokens of an image from the prior, coarse to fine. :func:`detokenize` makes the picture.

    width, height: pixels (default: 256).
    quality: the dial, 1..100 (default: 50); it says how many stages there are.
    temperature: above 0; below 1 the likely becomes likelier.
    top_p: above 0, at most 1; of every symbol only the likeliest values that make up this much probability are drawn.
    seed: an integer from 0 up; the same arguments give the same tokens on every machine.
    start: tokens of a real image, in place of a size and a quality.
    keep_stages: how many of the start's stages are kept, 0 up to all.
    mask: bool (height, width), true where a hole is to be filled; every token of the start outside it is kept. A token
        is drawn anew where its square of pixels touches the hole.
    model: a name, a folder, or None for the start's, else the default.
    progress: called with (stages done, stages + 1).

    A start needs keep_stages, a mask, or both. A token is drawn in the light of those before it, kept or drawn; kept
    ones that come after it cannot tell it anything.

    Raises ConfigError for a setting out of range or a mask of another size, UnknownModelError for a start of another
    model, TokensError or QuantizerError for one that no tokenizer gives, TooLargeError, and ModelError for a model that
    cannot be loaded.
    """
    given = {"width": width, "height": height, "tokens": start}
    given = {name: value for name, value in given.items() if value is not None}
    check_arguments(model=model, progress=progress, keep_stages=keep_stages, mask=mask, **given)
    check_arguments(seed=seed, temperature=temperature, top_p=top_p)
    _check_odds(temperature, top_p, seed)
    if start is None:
        if keep_stages is not None or mask is not None:
            raise ConfigError("keep_stages and mask need tokens to start from")
        loaded = load_model(model)
        known: Sequence[np.ndarray] = ()
        width, height = DEFAULT_SIZE if width is None else width, DEFAULT_SIZE if height is None else height
        layout = _layout(loaded, DEFAULT_QUALITY if quality is None else quality, int(height), int(width))
    else:
        if keep_stages is None and mask is None:
            raise ConfigError("tokens to start from need keep_stages, a mask, or both")
        loaded = model_for_file(start.token_model, model)
        if width is not None or height is not None or quality is not None:
            raise ConfigError("tokens to start from have their own size and quality")
        layout = check_codes(start, loaded)
        known = _known(layout, start, loaded.code, keep_stages, mask)
    sampler = TokenSampler(seed, temperature=temperature, top_p=top_p)
    drawer = _Drawer(loaded.code, sampler, () if start is None else start.codes, known)
    codes = run_prior(loaded, layout, drawer.code_rows, layout.stages, progress)
    synthesis = None if start is None else start.synthesis
    return Tokens(tuple(codes), layout.size[1], layout.size[0], layout.quality, loaded.token_model, synthesis)


class _Drawer:
    """Draws the tokens that are not known.

    codes: of the start, int8 (h, w, dim) per stage.
    known: which of them are kept, bool (h, w) per stage; later stages are drawn whole.
    """

    def __init__(
        self, code: TokenCode, sampler: TokenSampler, codes: Sequence[np.ndarray], known: Sequence[np.ndarray]
    ) -> None:
        self.code, self.sampler, self.codes, self.known = code, sampler, codes, known

    def code_rows(self, stage: int, positions: np.ndarray, params: np.ndarray) -> np.ndarray:
        if stage >= len(self.known):
            return self.code.code_tokens(self.sampler, params, None)
        codes = self.codes[stage].reshape(-1, self.code.dim)[positions]
        drawn = ~self.known[stage].reshape(-1)[positions]
        codes[drawn] = self.code.code_tokens(self.sampler, params[drawn], None)
        return codes


def _layout(loaded: LoadedModel, quality: float, height: int, width: int) -> TokenLayout:
    check_quality(quality)
    if min(width, height) < 1:
        raise ConfigError(f"an image needs pixels, got {width} x {height}")
    check_size(width, height)
    return TokenLayout(loaded.config, header_quality(quality), (height, width))


def _check_odds(temperature: float, top_p: float, seed: int) -> None:
    if not temperature > 0:
        raise ConfigError(f"temperature must be above 0, got {temperature:g}")
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p must be above 0 and at most 1, got {top_p:g}")
    if seed < 0:
        raise ConfigError(f"seed must not be negative, got {seed}")


def _known(
    layout: TokenLayout, start: Tokens, code: TokenCode, keep_stages: int | None, mask: np.ndarray | None
) -> Sequence[np.ndarray]:
    """Which tokens of the start, codes all of them where they can be numbered, are kept: bool (h, w) per stage."""
    stages = len(start.codes)
    if keep_stages is not None and not 0 <= keep_stages <= stages:
        raise ConfigError(f"cannot keep {keep_stages} stages of tokens that have {stages}")
    if mask is not None and mask.shape != (start.height, start.width):
        size = " x ".join(str(side) for side in reversed(mask.shape))
        raise ConfigError(f"the mask is of {size} pixels, the image of {start.width} x {start.height}")
    known: list[np.ndarray] = []
    for stage, codes in enumerate(start.codes):
        if code.size < 2**63:
            code.numbers_of(codes)  # or an error
        kept = np.zeros(layout.grid(stage), dtype=bool)
        if keep_stages is not None and stage < keep_stages:
            kept[:] = True
        elif mask is not None:
            kept = ~touched(mask, layout.stride(stage))
        known.append(kept)
    return known


def touched(mask: np.ndarray, stride: int) -> np.ndarray:
    """Squares of stride x stride pixels in which a mask has any: bool (H, W) -> bool (h, w).

    The picture goes on beyond its right and lower edges to a multiple of 64 pixels, and the mask does as its last
    column and row.
    """
    padding = [(0, -side % ALIGNMENT) for side in mask.shape]
    padded = np.pad(mask.astype(bool), padding, mode="edge")
    height, width = (side // stride for side in padded.shape)
    return np.any(padded.reshape(height, stride, width, stride), axis=(1, 3))
