"""The dial, 1 to 100: tokens of every quality up to 90, above it tokens and a detail layer. Imports no numpy."""

from collections.abc import Sequence

from leechcodec.config import MAX_QUALITY, QUALITY_UNIT, hundredths
from leechcodec.detail.head import quality_of
from leechcodec.formats.container import Chunk, ChunkKind, Header, payload_of

ENTRY = 90.0
"""From here on a layer lies on the tokens of this quality (``python -m tools.tune_detail entry``,
docs/experiments.md)."""
COARSEST, FINEST = 10.0, 0.9
"""Steps, in levels, where a photograph's layer begins to tell, and at quality 100: 50 dB and more of any picture."""
LOUDEST = 60.0
"""The coarsest step of all, of pictures that the tokens miss by far."""


def tokens_quality(quality: float) -> float:
    """Of the tokens at a quality of the dial."""
    return min(quality, ENTRY)


def step_at(quality: float, error: float) -> float | None:
    """The step of the layer at a quality of the dial, None up to the entry.

    error: root mean square of what the tokens miss, in levels. The first step is twice that, within 10 and 60, so
    that the dial does not jump at its entry. From there it falls evenly in its logarithm.
    """
    if quality <= ENTRY:
        return None
    first = min(max(2 * error, COARSEST), LOUDEST)
    return first * (FINEST / first) ** ((quality - ENTRY) / (MAX_QUALITY - ENTRY))


def layer_of(chunks: Sequence[Chunk]) -> bytes | None:
    """The detail layer among a file's chunks."""
    return payload_of(chunks, ChunkKind.DETAIL)


def dial_quality(header: Header, chunks: Sequence[Chunk]) -> float:
    """The dial's value that a file was made at; of its tokens where its layer is damaged."""
    layer = layer_of(chunks)
    stated = None if layer is None else quality_of(layer)
    return (header.quality if stated is None else min(stated, hundredths(MAX_QUALITY))) / QUALITY_UNIT
