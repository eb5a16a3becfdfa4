"""Tokens to the payloads of a file and back: the prior and the range coder, stage by stage.

codes ─▶ code_stages(encoders) ─▶ payloads of the token chunks
codes ◀─ code_stages(decoders) ◀─ payloads
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from leechcodec.codec.model_store import LoadedModel
from leechcodec.config import STRIDES, ModelConfig
from leechcodec.entropy import range_coder
from leechcodec.errors import ConfigError, CorruptError
from leechcodec.formats.container import Chunk, ChunkKind, Header
from leechcodec.networks.layout import positions_sent, strays
from leechcodec.networks.model import ALIGNMENT
from leechcodec.networks.prior import IntegerParams, IntegerView, drive
from leechcodec.quantizers import LeechBallSQ

Progress = Callable[[int, int], None]
CodeRows = Callable[[int, np.ndarray, np.ndarray], np.ndarray]
"""(stage, positions in rows, their parameters int64 (n, dim, P)) -> their codes, int8 (n, dim)."""
CHUNK_SCALES = ((0, 1), (2,), (3, 4))
"""Scales that share a token chunk: strides 64 and 32, stride 16, strides 8 and 4."""
TOKEN_KINDS = (ChunkKind.TOKENS_0, ChunkKind.TOKENS_1, ChunkKind.TOKENS_2)

TOKENS_AT_ONCE = 64 * range_coder.GROUP
"""Tokens whose parameters are in memory together: whole groups, so that the stream does not depend on it."""


@dataclass(frozen=True)
class Tokens:
    """An image as integers.

    codes: for each stage, coarse to fine, int8 (h, w, dim), the codewords in integer form. width, height: of the
    image, in pixels. quality: the dial, 1..100. token_model: id of the model they belong to. synthesis: id of the
    synthesis transform that a file names, None for the model's own.
    """

    codes: tuple[np.ndarray, ...]
    width: int
    height: int
    quality: float
    token_model: bytes
    synthesis: bytes | None = field(default=None, compare=False)

    def indices(self) -> list[np.ndarray]:
        """Codeword indices of each stage, int64 (h, w): 0..196,559, and 196,560 for the origin.

        Of Λ24-SQ's tokens; raises ValueError for those of another quantizer, which has its own ``codes_to_indices``.
        """
        quantizer = LeechBallSQ()
        return [quantizer.codes_to_indices(torch.from_numpy(codes)).numpy() for codes in self.codes]

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the codes of all stages, coarse to fine, in rows."""
        found = hashlib.sha256()
        for codes in self.codes:
            found.update(codes.tobytes())
        return found.hexdigest()


def decode_tokens(
    loaded: LoadedModel, header: Header, payloads: Sequence[bytes], stages: int, progress: Progress | None = None
) -> Tokens:
    """The tokens of the first so many stages, from the payloads of their chunks."""
    check_sizes(loaded.config, header, payloads, stages)
    coders = [range_coder.TokenDecoder(payload) for payload in payloads]
    codes = code_stages(loaded, header.width, header.height, header.quality, coders, None, progress, stages)
    sent = loaded.config.stages_sent(header.quality / 100)
    unread = chunk_of(loaded.config, stages) if stages < sent else len(coders)  # may have been begun
    for coder in coders[:unread]:
        coder.finish()
    return Tokens(tuple(codes), header.width, header.height, header.quality / 100, header.token_model, header.synthesis)


def code_stages(
    loaded: LoadedModel,
    width: int,
    height: int,
    quality: int,
    coders: Sequence,
    codes: Sequence[np.ndarray] | None,
    progress: Progress | None = None,
    stages: int | None = None,
    observe: Callable[[int, np.ndarray], None] | None = None,
) -> list[np.ndarray]:
    """Drive the prior and the coders over all stages of an image: the one loop of encoder and decoder.

    quality: the header's hundredths. coders: one a token chunk, encoders, decoders or counters of bits alike.
    codes: int8 (h, w, dim) a stage, or None to decode. stages: end after so many (default: all that this quality
    sends). observe: told (stage, positions) whenever tokens have been coded. Returns the codes coded.
    """
    config, quantizer = loaded.config, loaded.networks.quantizer

    def code(stage: int, rows: np.ndarray, params: np.ndarray) -> np.ndarray:
        known = None if codes is None else codes[stage].reshape(-1, quantizer.dim)[rows]
        coded = quantizer.code_tokens(coders[chunk_of(config, stage)], params, known)
        if observe:
            observe(stage, rows)
        return coded

    count = config.stages_sent(quality / 100) if stages is None else stages
    return walk_stages(loaded, width, height, quality, count, code, progress)


@torch.inference_mode()
def walk_stages(
    loaded: LoadedModel,
    width: int,
    height: int,
    quality: int,
    count: int,
    code: CodeRows,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Walk the prior over the first count stages of an image; code says what stands where, given its parameters.

    It is asked for every position once, in the order of the file, and the prior goes on from what it answers.
    Returns int8 (h, w, dim) a stage.
    """
    config, dim = loaded.config, loaded.networks.quantizer.dim
    done: list[np.ndarray] = []

    def answer(stage: int, mask: Tensor | None, params: IntegerParams) -> Tensor | None:
        if stage >= count:
            return None
        h, w = params.h.shape[2:]
        positions = np.arange(h * w) if mask is None else np.flatnonzero(mask.reshape(-1).numpy())
        sent = positions_sent(config, stage, quality / 100, h, w)
        if sent is not None:
            positions = positions[sent.reshape(-1).numpy()[positions]]
        passed = np.zeros((h * w, dim), dtype=np.int8)
        for first in range(0, len(positions), TOKENS_AT_ONCE):
            rows = positions[first : first + TOKENS_AT_ONCE]
            table = params.at(torch.from_numpy(rows)).reshape(len(rows), dim, -1).numpy().astype(np.int64)
            passed[rows] = code(stage, rows, table)
        if stage == len(done):
            done.append(np.zeros((h * w, dim), dtype=np.int8))
        done[stage][positions] = passed[positions]
        if progress:
            progress(stage + 1, count + 1)
        return torch.from_numpy(passed.reshape(1, h, w, -1)).permute(0, 3, 1, 2)

    drive(loaded.networks.prior.walk(IntegerView(loaded.prior, quality), aligned(height), aligned(width)), answer)
    return [coded.reshape(*grid(config, stage, height, width), -1) for stage, coded in enumerate(done)]


def encode_tokens(tokens: Tokens, loaded: LoadedModel, progress: Progress | None = None) -> tuple[Header, list[Chunk]]:
    """The header and the token chunks of a file that holds these tokens.

    Raises ConfigError where they are not the stages, or not of the size, that their image and quality ask for.
    """
    quality = round(tokens.quality * 100)
    config, dim = loaded.config, loaded.networks.quantizer.dim
    wanted = [
        (*grid(config, stage, tokens.height, tokens.width), dim) for stage in range(config.stages_sent(quality / 100))
    ]
    if [codes.shape for codes in tokens.codes] != wanted:
        raise ConfigError(
            f"{len(tokens.codes)} stages of tokens that are not the {len(wanted)} of {tokens.width} x {tokens.height} "
            f"pixels at quality {tokens.quality:g}"
        )
    for stage, codes in enumerate(tokens.codes):
        if len(strays(config, stage, quality / 100, codes)):
            raise ConfigError(f"stage {stage + 1} has tokens where quality {tokens.quality:g} sends none")
    coders = [range_coder.TokenEncoder() for _ in range(1 + chunk_of(loaded.config, len(tokens.codes) - 1))]
    code_stages(loaded, tokens.width, tokens.height, quality, coders, tokens.codes, progress)
    header = Header(
        token_model=loaded.token_model,
        synthesis=loaded.synthesis,
        width=tokens.width,
        height=tokens.height,
        quality=quality,
    )
    return header, [Chunk(kind, coder.to_bytes()) for kind, coder in zip(TOKEN_KINDS, coders)]


def check_sizes(config: ModelConfig, header: Header, payloads: Sequence[bytes], count: int) -> None:
    """Refuse a file too short for the tokens of its first count stages, before anything is allocated."""
    needed = 1 + chunk_of(config, count - 1) if count else 0
    if len(payloads) != needed:
        raise CorruptError(f"{len(payloads)} token chunks where this quality needs {needed}")
    tokens = [0] * len(CHUNK_SCALES)
    for stage in range(count):
        tokens[chunk_of(config, stage)] += tokens_sent(config, stage, header.quality, header.height, header.width)
    for payload, number in zip(payloads, tokens):
        if 8 * len(payload) < range_coder.MIN_BITS_PER_TOKEN * number - 64:
            raise CorruptError(f"{len(payload)} bytes cannot hold {number} tokens")


def tokens_sent(config: ModelConfig, stage: int, quality: int, height: int, width: int) -> int:
    """How many tokens of a stage a file holds. quality: the header's. height, width: of the image."""
    h, w = grid(config, stage, height, width)
    sent = positions_sent(config, stage, quality / 100, h, w)
    return h * w if sent is None else int(sent.sum())


def chunk_of(config: ModelConfig, stage: int) -> int:
    """The token chunk, 0..2, that holds a stage."""
    scale = config.stage_scales[stage]
    return next(number for number, scales in enumerate(CHUNK_SCALES) if scale in scales)


def grid(config: ModelConfig, stage: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a stage's tokens."""
    stride = STRIDES[config.stage_scales[stage]]
    return aligned(height) // stride, aligned(width) // stride


def aligned(size: int) -> int:
    """Pixels of a side with the padding inside."""
    return -(-size // ALIGNMENT) * ALIGNMENT
