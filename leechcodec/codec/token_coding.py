"""Tokens to the payloads of a file and back: the prior and the range coder, stage by stage.

codes ─▶ code_stages(encoders) ─▶ payloads of the token chunks
codes ◀─ code_stages(decoders) ◀─ payloads
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from leechcodec.codec.arguments import is_whole
from leechcodec.codec.model_store import LoadedModel
from leechcodec.config import QUALITY_UNIT, ModelConfig, check_quality
from leechcodec.entropy import range_coder
from leechcodec.entropy.token_coder import GROUP, MIN_BITS_PER_TOKEN, TokenCoder
from leechcodec.errors import CorruptError, TokensError
from leechcodec.formats.container import Chunk, ChunkKind, Header, check_size
from leechcodec.networks.integer_prior import IntegerParams, IntegerView
from leechcodec.networks.layout import CHUNK_SCALES, TokenLayout
from leechcodec.networks.prior_loop import run_stages
from leechcodec.quantizers.code import LeechCode

Progress = Callable[[int, int], None]
CodeRows = Callable[[int, np.ndarray, np.ndarray], np.ndarray]
"""code_rows(stage, positions, params): codes some tokens of a stage.

positions: int64 (n,), counted in rows.
params: their parameters, int64 (n, dim, P), in units of 1/64 nat.
Returns their codes, int8 (n, dim).
"""
TOKEN_KINDS = (ChunkKind.TOKENS_0, ChunkKind.TOKENS_1, ChunkKind.TOKENS_2)
"""Of the chunks of a file that has more than one, coarse to fine."""
TOKENS_AT_ONCE = 64 * GROUP
"""Tokens whose parameters are in memory together: whole groups, so that the stream does not depend on it."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """An image as integers. Two are equal where their codes and all else are that a decoder sees.

    codes: for each stage, coarse to fine, int8 (h, w, dim), the codewords in integer form.
    width, height: of the image in pixels.
    quality: the dial, 1..100.
    token_model: id of the model they belong to.
    synthesis: id of the synthesis transform that a file names, None for the model's own.
    """

    codes: tuple[np.ndarray, ...]
    width: int
    height: int
    quality: float
    token_model: bytes
    synthesis: bytes | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        mine, theirs = (
            (tokens.width, tokens.height, tokens.quality, tokens.token_model, len(tokens.codes))
            for tokens in (self, other)
        )
        return mine == theirs and all(map(np.array_equal, self.codes, other.codes))

    __hash__ = None  # type: ignore[assignment]

    def layout(self, config: ModelConfig) -> TokenLayout:
        """Which tokens there should be. config: of the model they belong to."""
        return TokenLayout(config, self.quality, (self.height, self.width))

    def indices(self) -> list[np.ndarray]:
        """Codeword indices of each stage, int64 (h, w): 0..196,559, and 196,560 for the origin.

        Of Λ24-SQ's tokens; raises ValueError for those of another quantizer, which has its own ``numbers_of``.
        """
        code = LeechCode(origin=True)
        return [code.numbers_of(codes) for codes in self.codes]

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the codes of all stages, coarse to fine, in rows."""
        found = hashlib.sha256()
        for codes in self.codes:
            found.update(codes.tobytes())
        return found.hexdigest()


def token_chunks(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Those of a file's chunks that hold tokens: one for all strides, or coarse to fine without a gap."""
    for chunk in chunks:
        if chunk.kind == ChunkKind.TOKENS:
            return [chunk]
    return [chunk for kind, chunk in zip(TOKEN_KINDS, chunks) if chunk.kind == kind]


def file_layout(config: ModelConfig, header: Header, chunks: Sequence[Chunk]) -> TokenLayout:
    """The tokens of a file. config: of the model that it names. chunks: those that hold tokens."""
    together = any(chunk.kind == ChunkKind.TOKENS for chunk in chunks)
    return TokenLayout(config, header.quality / QUALITY_UNIT, (header.height, header.width), together)


def decode_tokens(
    loaded: LoadedModel, header: Header, chunks: Sequence[Chunk], stages: int, progress: Progress | None = None
) -> Tokens:
    """The tokens of the first so many stages, from their chunks."""
    layout, payloads = file_layout(loaded.config, header, chunks), [chunk.payload for chunk in chunks]
    check_sizes(layout, payloads, stages)
    coders = [range_coder.TokenDecoder(payload) for payload in payloads]
    codes = code_stages(loaded, layout, coders, None, progress, stages)
    unread = layout.chunk(stages) if stages < layout.stages else len(coders)  # may have been begun
    for coder in coders[:unread]:
        coder.finish()
    return Tokens(tuple(codes), header.width, header.height, layout.quality, header.token_model, header.synthesis)


def code_stages(
    loaded: LoadedModel,
    layout: TokenLayout,
    coders: Sequence[TokenCoder],
    codes: Sequence[np.ndarray] | None,
    progress: Progress | None = None,
    stages: int | None = None,
    observe: Callable[[int, np.ndarray], None] | None = None,
) -> list[np.ndarray]:
    """Code all stages of an image: the one loop of encoder and decoder.

    coders: one per token chunk, encoders, decoders or counters of bits alike.
    codes: int8 (h, w, dim) per stage, or None to decode.
    stages: end after so many (default: all that the layout sends).
    observe: called with (stage, positions) whenever tokens have been coded.
    Returns the codes coded. Raises TokensError for codes that are none of the model's.
    """
    code = loaded.code

    def code_rows(stage: int, positions: np.ndarray, params: np.ndarray) -> np.ndarray:
        known = None if codes is None else codes[stage].reshape(-1, code.dim)[positions]
        try:
            coded = code.code_tokens(coders[layout.chunk(stage)], params, known)
        except ValueError as error:
            if known is None:
                raise
            raise TokensError(f"the tokens are not {code.name}'s: {error}") from None
        if observe:
            observe(stage, positions)
        return coded

    return run_prior(loaded, layout, code_rows, layout.stages if stages is None else stages, progress, codes)


def run_prior(
    loaded: LoadedModel,
    layout: TokenLayout,
    code_rows: CodeRows,
    stages: int,
    progress: Progress | None = None,
    codes: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Run the integer prior over the first so many stages of an image.

    code_rows: is asked for every position once, in the order of the file; the prior goes on from what it returns.
    codes: what it will return, where that is known; then they are not kept once more.
    Returns int8 (h, w, dim) per stage.
    """
    dim = loaded.code.dim
    done: list[np.ndarray] = []

    def code_pass(stage: int, mask: np.ndarray | None, params: IntegerParams) -> np.ndarray | None:
        if stage >= stages:
            return None
        h, w = layout.grid(stage)
        positions = layout.positions(stage, mask)
        passed = np.zeros((h * w, dim), dtype=np.int8)
        for first in range(0, len(positions), TOKENS_AT_ONCE):
            rows = positions[first : first + TOKENS_AT_ONCE]
            table = params.at(rows).reshape(len(rows), dim, -1)
            passed[rows] = code_rows(stage, rows, table)
        if codes is None:
            if stage == len(done):
                done.append(np.zeros((h * w, dim), dtype=np.int8))
            done[stage][positions] = passed[positions]
        if progress:
            progress(stage + 1, stages + 1)
        return passed.reshape(1, h, w, -1).transpose(0, 3, 1, 2)

    view = IntegerView(loaded.prior, layout.hundredths)
    run_stages(loaded.config, loaded.code.code_shift, view, layout.padded, code_pass)
    if codes is not None:
        return list(codes[:stages])
    return [coded.reshape(*layout.grid(stage), -1) for stage, coded in enumerate(done)]


def encode_tokens(tokens: Tokens, loaded: LoadedModel, progress: Progress | None = None) -> tuple[Header, list[Chunk]]:
    """The header and the token chunks of a file that holds these tokens.

    Raises TokensError where they are not those that their image and quality ask for, or none of the model's.
    """
    layout = check_codes(tokens, loaded)
    if len(tokens.codes) < layout.stages:
        raise _not_those_of(tokens, layout)
    for stage, codes in enumerate(tokens.codes):
        if len(layout.unexpected_tokens(stage, codes)):
            raise TokensError(f"stage {stage + 1} has tokens where quality {tokens.quality:g} sends none")
    layout = layout.as_encoded()
    coders = [range_coder.TokenEncoder() for _ in range(layout.chunks(layout.stages))]
    code_stages(loaded, layout, coders, tokens.codes, progress)
    header = Header(
        token_model=loaded.token_model,
        synthesis=loaded.synthesis,
        width=tokens.width,
        height=tokens.height,
        quality=layout.hundredths,
    )
    kinds = (ChunkKind.TOKENS,) if layout.together else TOKEN_KINDS
    return header, [Chunk(kind, coder.to_bytes()) for kind, coder in zip(kinds, coders)]


def check_codes(tokens: Tokens, loaded: LoadedModel) -> TokenLayout:
    """Refuse codes that are not int8 arrays of the sizes that their image and quality ask for: TokensError.

    The last stages may be missing. Returns the layout.
    """
    check_quality(tokens.quality)
    if not is_whole(tokens.width) or not is_whole(tokens.height) or min(tokens.width, tokens.height) < 1:
        raise TokensError(f"an image needs whole numbers of pixels, got {tokens.width!r} x {tokens.height!r}")
    check_size(tokens.width, tokens.height)
    layout = tokens.layout(loaded.config)
    wanted = [(*layout.grid(stage), loaded.code.dim) for stage in range(layout.stages)]
    if not tokens.codes or [codes.shape for codes in tokens.codes] != wanted[: len(tokens.codes)]:
        raise _not_those_of(tokens, layout)
    for codes in tokens.codes:
        if codes.dtype != np.int8:
            raise TokensError(f"codes are of type int8, not {codes.dtype}")
    return layout


def _not_those_of(tokens: Tokens, layout: TokenLayout) -> TokensError:
    return TokensError(
        f"{len(tokens.codes)} stages of tokens that are not the {layout.stages} of {tokens.width} x {tokens.height} "
        f"pixels at quality {tokens.quality:g}"
    )


def check_sizes(layout: TokenLayout, payloads: Sequence[bytes], stages: int) -> None:
    """Refuse a file too short for the tokens of its first so many stages, before anything is allocated."""
    needed = layout.chunks(stages)
    if len(payloads) != needed:
        raise CorruptError(f"{len(payloads)} token chunks where this quality needs {needed}")
    tokens = [0] * len(CHUNK_SCALES)
    for stage in range(stages):
        tokens[layout.chunk(stage)] += layout.count(stage)
    for payload, number in zip(payloads, tokens):
        if 8 * len(payload) < MIN_BITS_PER_TOKEN * number - 64:
            raise CorruptError(f"{len(payload)} bytes cannot hold {number} tokens")
