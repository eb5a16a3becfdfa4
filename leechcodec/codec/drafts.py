"""A picture at a quality, before it is a file.

quality up to 90 ─▶ tokens of that quality ─────────────────────┐
                                                                ├─▶ Draft ─▶ Drawing.file ─▶ .lq
above            ─▶ tokens ───────▶ picture ─▶ detail layer ────┘
"""

from dataclasses import dataclass

from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.detail_layer import detail_chunk, with_detail
from leechcodec.codec.dial import tokens_quality
from leechcodec.codec.model_store import LoadedModel
from leechcodec.codec.pipeline import Prepared
from leechcodec.codec.token_coding import Progress, Tokens, encode_tokens
from leechcodec.config import check_quality, header_quality
from leechcodec.errors import CorruptError
from leechcodec.formats.container import Chunk, Header, read_file


@dataclass(frozen=True)
class Draft:
    """quality: of the dial. detail: the layer's chunk, if it has one. picture: what the file shows, RGB of 8 bits; None
    where there was no need of it. below: what its tokens alone show, where it has a layer."""

    quality: float
    tokens: Tokens
    detail: Chunk | None
    picture: Image.Image | None
    below: Image.Image | None = None


class Drawing:
    """A prepared image, drafted at any quality with a model. deadline: as of :func:`pipeline.analyse`."""

    def __init__(self, loaded: LoadedModel, prepared: Prepared, deadline: float | None = None) -> None:
        self.loaded, self.prepared, self.deadline = loaded, prepared, deadline
        self._layered = not loaded.is_second_decoder
        self._bases: dict[int, tuple[Tokens, Image.Image]] = {}
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
            if not shown:
                return Draft(quality, self._tokens(quality, effort, progress), None, None)
            tokens, picture = self._shown(quality, effort, progress)
            return Draft(quality, tokens, None, picture)
        if effort not in self._bases:
            self._bases[effort] = self._shown(of_tokens, effort, progress)
        tokens, below = self._bases[effort]  # all drafts with a layer lie on tokens of one quality
        return Draft(quality, tokens, *detail_chunk(self.prepared.colours, below, quality), below)

    def file(self, draft: Draft, progress: Progress | None = None) -> bytes:
        """The .lq file of a draft. progress: of the coding."""
        if self._coded is None or self._coded[0] is not draft.tokens:
            self._coded = draft.tokens, encode_tokens(draft.tokens, self.loaded, progress)
        header, chunks = self._coded[1]  # drafts with a layer share their tokens
        return pipeline.assemble(header, chunks, self.prepared.side_data, draft.detail)

    def check(self, data: bytes, draft: Draft) -> None:
        """Decode a whole file and compare. Raises CorruptError where it differs from the draft or the image."""
        pipeline.check_file(self.loaded, data, draft.tokens, self.prepared)
        if draft.below is None or draft.picture is None:
            return
        if with_detail(draft.below, read_file(data)[1]).tobytes() != draft.picture.tobytes():
            raise CorruptError("the detail layer does not decode to its own picture: please report this")

    def psnr(self, draft: Draft) -> float:
        """dB of the colours that a draft's file has, transparency left out."""
        picture = draft.picture or pipeline.synthesise(self.loaded, draft.tokens)
        return self.prepared.psnr(picture)

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
