"""A picture at a quality, before it is a file.

quality up to 90 ─▶ tokens of that quality ─▶ picture ─▶ post-filter ───────────────────┐
                                                                                        ├─▶ Draft ─▶ Drawing.file ─▶ .lq
above            ─▶ tokens ─────────────────▶ picture ─▶ post-filter ─▶ detail layer ───┘

A second decoder's pictures are no nearer to the original by intent: they have neither.
"""

from dataclasses import dataclass

from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.detail_layer import detail_chunk
from leechcodec.codec.dial import tokens_quality
from leechcodec.codec.model_store import LoadedModel
from leechcodec.codec.pipeline import Prepared
from leechcodec.codec.post_filter import filter_chunk, with_filter
from leechcodec.codec.token_coding import Progress, Tokens, encode_tokens
from leechcodec.config import check_quality, header_quality
from leechcodec.errors import CorruptError
from leechcodec.formats.container import FRAME_SIZE, JOINED_SIZE, Chunk, Header, read_file


@dataclass(frozen=True)
class Draft:
    """quality: of the dial. layers: the chunks of post-filter and detail layer, those that it has. picture: what the
    file shows, RGB of 8 bits; None where there was no need of it. below: what its tokens alone show, where it has
    layers."""

    quality: float
    tokens: Tokens
    layers: tuple[Chunk, ...] = ()
    picture: Image.Image | None = None
    below: Image.Image | None = None


class Drawing:
    """A prepared image, drafted at any quality with a model. deadline: as of :func:`pipeline.analyse`."""

    def __init__(self, loaded: LoadedModel, prepared: Prepared, deadline: float | None = None) -> None:
        self.loaded, self.prepared, self.deadline = loaded, prepared, deadline
        self._layered = not loaded.is_second_decoder
        self._bases: dict[int, Draft] = {}
        self._coded: tuple[Tokens, tuple[Header, list[Chunk]]] | None = None

    def tokens_quality(self, quality: float) -> float:
        """Of the tokens at a quality of the dial. Raises ConfigError for one out of range."""
        check_quality(quality)
        return tokens_quality(header_quality(quality)) if self._layered else header_quality(quality)

    def draft(self, quality: float, effort: int = 1, progress: Progress | None = None, *, shown: bool = False) -> Draft:
        """The image at a quality.

        progress: of the analysis, called with (steps done, steps in all). shown: with its picture.
        """
        of_tokens = self.tokens_quality(quality)
        quality = header_quality(quality)
        if quality == of_tokens:
            return self._of_tokens(quality, effort, progress, shown)
        if effort not in self._bases:  # all drafts with a detail layer lie on tokens of one quality
            self._bases[effort] = self._of_tokens(of_tokens, effort, progress, shown=True)
        base = self._bases[effort]
        if base.picture is None:
            raise RuntimeError("a detail layer needs the picture below it")
        detail, picture = detail_chunk(self.prepared.colours, base.picture, quality)
        return Draft(quality, base.tokens, (*base.layers, detail), picture, base.below or base.picture)

    def file(self, draft: Draft, progress: Progress | None = None) -> bytes:
        """The .lq file of a draft. progress: of the coding."""
        if self._coded is None or self._coded[0] is not draft.tokens:
            self._coded = draft.tokens, encode_tokens(draft.tokens, self.loaded, progress)
        header, chunks = self._coded[1]  # drafts with a layer share their tokens
        return pipeline.assemble(header, chunks, self.prepared.side_data, draft.layers)

    def check(self, data: bytes, draft: Draft) -> None:
        """Decode a whole file and compare. Raises CorruptError where it differs from the draft or the image."""
        pipeline.check_file(self.loaded, data, draft.tokens, self.prepared)
        if draft.below is None or draft.picture is None:
            return
        if pipeline.with_layers(draft.below, read_file(data)[1]).tobytes() != draft.picture.tobytes():
            raise CorruptError("the file's layers do not decode to their own picture: please report this")

    def psnr(self, draft: Draft) -> float:
        """dB of the colours that a draft's file has, transparency left out."""
        below = draft.below or pipeline.synthesise(self.loaded, draft.tokens)
        return self.prepared.psnr(draft.picture or pipeline.with_layers(below, draft.layers))

    def _of_tokens(self, quality: float, effort: int, progress: Progress | None, shown: bool) -> Draft:
        """A draft without a detail layer."""
        if not (self._layered or shown):
            return Draft(quality, self._tokens(quality, effort, progress))
        tokens, below = self._shown(quality, effort, progress)
        chunk = self._filter(tokens, below) if self._layered else None
        if chunk is None:
            return Draft(quality, tokens, picture=below)
        return Draft(quality, tokens, (chunk,), with_filter(below, (chunk,)) if shown else None, below)

    def _filter(self, tokens: Tokens, below: Image.Image) -> Chunk | None:
        config = self.loaded.config
        frame = JOINED_SIZE if tokens.layout(config).as_encoded().together else FRAME_SIZE
        lmbda, grey = config.lmbda(tokens.quality), self.prepared.side_data.grey
        return filter_chunk(self.prepared.colours, below, lmbda, grey=grey, frame=frame)

    def _tokens(self, quality: float, effort: int, progress: Progress | None) -> Tokens:
        pixels, size = self.prepared.pixels, self.prepared.size
        return pipeline.analyse(
            self.loaded, pixels, size, quality=quality, effort=effort, progress=progress, deadline=self.deadline
        )

    def _shown(self, quality: float, effort: int, progress: Progress | None) -> tuple[Tokens, Image.Image]:
        """Tokens and their picture."""
        if effort == 1:
            return pipeline.preview(self.loaded, self.prepared.pixels, self.prepared.size, quality, progress)
        tokens = self._tokens(quality, effort, progress)
        return tokens, pipeline.synthesise(self.loaded, tokens)
