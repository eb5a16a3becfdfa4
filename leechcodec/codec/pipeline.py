"""The way of a photograph, step by step, with a loaded model in hand.

image ─▶ prepare ─▶ Prepared ─▶ analyse ─────▶ Tokens ─▶ pack ───▶ .lq
                    pixels,     g_a, quantize            prior, range coder
                    side data
image ◀──────────────────────── synthesise ◀── Tokens ◀─ unpack ◀─ .lq
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from leechcodec.codec import efforts
from leechcodec.codec.canvas import Canvas, padded_pixels
from leechcodec.codec.detail_layer import with_detail
from leechcodec.codec.distortion import decibels, squared_error
from leechcodec.codec.model_store import LoadedModel
from leechcodec.codec.post_filter import with_filter
from leechcodec.codec.token_coding import (
    TOKEN_KINDS,
    Progress,
    Tokens,
    check_sizes,
    decode_tokens,
    encode_tokens,
    file_layout,
    token_chunks,
)
from leechcodec.config import header_quality
from leechcodec.errors import CorruptError, TooLargeError
from leechcodec.formats.container import Chunk, ChunkKind, Header, check_size, read_file, write_file
from leechcodec.formats.modes import split
from leechcodec.formats.side_data import SideData, separate
from leechcodec.formats.strips import strips
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.runtime import check_torch
from leechcodec.threads import load_torch


@dataclass(frozen=True)
class Prepared:
    """An image ready for the networks, whatever the quality.

    pixels: uint8 (1, 3, H, W), sides padded to multiples of 64 by repeating the last row and column.
    size: (height, width) of the image in pixels.
    side_data: what travels beside the tokens.
    source: the image itself, which a check of the file compares with.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    side_data: SideData
    source: Image.Image

    def steps(self, loaded: LoadedModel, quality: float, effort: int) -> int:
        """How many steps analysis and packing count together."""
        layout = TokenLayout(loaded.config, quality, self.size)
        return 1 + efforts.steps_in_all(effort, *layout.padded) + layout.stages

    @property
    def colours(self) -> np.ndarray:
        """The image's own pixels, uint8 (height, width, 3)."""
        height, width = self.size
        return self.pixels[0, :, :height, :width].transpose(1, 2, 0)

    def psnr(self, picture: Image.Image) -> float:
        """dB of what a file shows, as grey as the image is, transparency left out."""
        colours, grey = self.colours, self.side_data.without_colours
        error = sum(squared_error(colours[rows], np.asarray(grey(strip))) for rows, strip in strips(picture))
        return decibels(error / colours.size)


def prepare(image: Image.Image, *, metadata: bool = True) -> Prepared:
    """Split an upright image into what the networks code and what travels beside it.

    image: of any Pillow mode but floating point.
    metadata: keep ICC profile, EXIF and XMP.
    Raises ImageError for an empty image or a mode without colours, TooLargeError.
    """
    check_size(image.width, image.height)
    colours, side_data = separate(image, metadata=metadata)
    return Prepared(padded_pixels(colours), (image.height, image.width), side_data, image)


def analyse(
    loaded: LoadedModel,
    pixels: np.ndarray,
    size: tuple[int, int],
    *,
    quality: float,
    effort: int = 1,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Tokens:
    """The tokens of an image: the analysis transform, the quantizer, and refinement.

    pixels, size: as in :class:`Prepared`.
    quality: the dial, 1..100.
    effort: 1..9.
    progress: called with (steps done, steps in all).
    deadline: by time.monotonic(): refinement ends so early that coding may take until then.
    Raises ConfigError for an effort out of range, MissingPackageError for one above 1 without torch.
    """
    quality = header_quality(quality)
    steps = efforts.steps_in_all(effort, *pixels.shape[2:])
    if steps:
        check_torch(f"effort {effort}")
    begun = time.monotonic()
    codes = loaded.transforms.encode(pixels, quality)
    if deadline is not None:
        deadline -= time.monotonic() - begun  # coding takes about as long
    if progress:
        progress(1, 1 + steps)
    if steps:
        load_torch()
        from leechcodec.codec.refinement import refine_arrays

        def further(done: int, steps: int) -> None:
            if progress:
                progress(1 + done, 1 + steps)

        options = {"effort": effort, "size": size, "progress": further, "deadline": deadline}
        codes = refine_arrays(loaded.networks_there, pixels, quality, codes, **options)
    return as_tokens(loaded, codes, size, quality)


def preview(
    loaded: LoadedModel, pixels: np.ndarray, size: tuple[int, int], quality: float, progress: Progress | None = None
) -> tuple[Tokens, Image.Image]:
    """What :func:`analyse` at effort 1 and :func:`synthesise` give, in less time: the synthesis transform runs once.

    progress: called with (0, 1) as often as rows are drawn, which is once unless the image is large, and with (1, 1).
    What it raises ends the work.
    """
    if loaded.is_second_decoder:
        tokens = analyse(loaded, pixels, size, quality=quality, progress=progress)
        return tokens, synthesise(loaded, tokens)
    quality = header_quality(quality)
    canvas = Canvas(size)

    def draw(x_hat: np.ndarray) -> None:
        if progress:
            progress(0, 1)
        canvas.draw(x_hat)

    codes = loaded.transforms.encode(pixels, quality, draw)
    if progress:
        progress(1, 1)
    return as_tokens(loaded, codes, size, quality), canvas.image


def as_tokens(loaded: LoadedModel, codes: Sequence[np.ndarray], size: tuple[int, int], quality: float) -> Tokens:
    """Codes, int8 (h, w, dim) per stage, as tokens of an image."""
    return Tokens(tuple(codes), width=size[1], height=size[0], quality=quality, token_model=loaded.token_model)


def pack(
    loaded: LoadedModel,
    tokens: Tokens,
    side_data: SideData | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The .lq file of tokens and side data."""
    return assemble(*encode_tokens(tokens, loaded, progress), side_data)


def assemble(
    header: Header, coded: Sequence[Chunk], side_data: SideData | None = None, layers: Sequence[Chunk] = ()
) -> bytes:
    """The .lq file of tokens that are coded already, side data, detail layer and post-filter."""
    others = [] if side_data is None else side_data.chunks()
    return write_file(header, sorted([*coded, *others, *layers], key=lambda chunk: chunk.kind))


def check_file(loaded: LoadedModel, data: bytes, tokens: Tokens, prepared: Prepared) -> None:
    """Decode a whole file and compare. Raises CorruptError where it does not hold tokens, transparency and metadata."""
    header, chunks = read_file(data)
    read, found = unpack(loaded, header, chunks), SideData.of_chunks(chunks)
    same = (
        all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True)) and found == prepared.side_data
    )
    if same and (alpha := split(prepared.source)[1]) is not None:
        decoded = found.add_to(Image.new("RGB", (tokens.width, tokens.height)))
        same = np.array_equal(np.asarray(decoded.getchannel("A")), np.asarray(alpha))
    if not same:
        raise CorruptError(
            "the encoded file does not decode to its own tokens, transparency and metadata: please report this"
        )


def unpack(
    loaded: LoadedModel,
    header: Header,
    chunks: Sequence[Chunk],
    *,
    kept: float = 1.0,
    progress: Progress | None = None,
) -> Tokens:
    """The tokens of a file's chunks. kept: the share of the finest scale's stages that is wanted."""
    config, found = loaded.config, token_chunks(chunks)
    if len(found) < sum(chunk.kind in (ChunkKind.TOKENS, *TOKEN_KINDS) for chunk in chunks):
        raise CorruptError("a chunk of tokens before the last is missing, or there are too many")
    layout = file_layout(config, header, found)
    check_sizes(layout, [chunk.payload for chunk in found], layout.stages)
    finest = config.stages[max(config.stage_scales)]
    wanted = min(layout.stages, len(config.stage_scales) - finest + math.ceil(kept * finest))
    return decode_tokens(loaded, header, found[: layout.chunks(wanted)], wanted, progress)


def synthesise(loaded: LoadedModel, tokens: Tokens) -> Image.Image:
    """The image of tokens, RGB of 8 bits: the synthesis transform."""
    canvas = Canvas((tokens.height, tokens.width))
    loaded.decoder.decode(tokens.codes, *tokens.layout(loaded.config).padded, tokens.quality, canvas.draw)
    return canvas.image


def picture_of(loaded: LoadedModel, tokens: Tokens, chunks: Sequence[Chunk]) -> Image.Image:
    """What a file shows: its tokens, all of them, and its post-filter and detail layer, if these were made for these
    pixels: by the synthesis transform that the file names.

    Raises CorruptError for a bad filter or layer.
    """
    decoded = synthesise(loaded, tokens)
    return with_layers(decoded, chunks) if tokens.synthesis == loaded.synthesis else decoded


def salvaged_picture(loaded: LoadedModel, tokens: Tokens, chunks: Sequence[Chunk]) -> tuple[Image.Image, list[str]]:
    """What :func:`picture_of` gives, up to a filter or layer that is bad, and what is wrong with it."""
    shown, bad = synthesise(loaded, tokens), list[str]()
    if tokens.synthesis == loaded.synthesis:
        try:
            shown = with_filter(shown, chunks)
            shown = with_detail(shown, chunks)
        except (CorruptError, TooLargeError) as error:
            bad.append(str(error))
    return shown, bad


def with_layers(decoded: Image.Image, chunks: Sequence[Chunk]) -> Image.Image:
    """What tokens decode to, after a file's post-filter and with its detail layer. Raises CorruptError for bad ones."""
    return with_detail(with_filter(decoded, chunks), chunks)
