"""The facade: photographs to bytes and back, photographs to tokens and back.

Here a model is named; drafts.py and pipeline.py do the work, with the model loaded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.canvas import padded_pixels
from leechcodec.codec.drafts import Drawing
from leechcodec.codec.efforts import check_effort
from leechcodec.codec.model_store import LoadedModel, load_model, model_for_file
from leechcodec.codec.surroundings import sheltered
from leechcodec.codec.target_search import MAX_TRIALS, Found, best_within_size, least_for_psnr
from leechcodec.codec.token_coding import (
    Progress,
    Tokens,
    check_codes,
    code_stages,
    decode_tokens,
    file_layout,
    token_chunks,
)
from leechcodec.config import check_quality
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.errors import ConfigError, CorruptError
from leechcodec.formats.container import MAX_PIXELS, Chunk, ChunkKind, Header, read_file, salvage
from leechcodec.formats.images import apply_orientation
from leechcodec.formats.side_data import SideData
from leechcodec.networks.layout import CHUNK_SCALES

Measured = Callable[[float], None]
"""Called with the PSNR in dB that the file's colours have, transparency left out."""
STAGES_KEPT = {1: 1.0, 2: 1.0, 4: 5 / 8, 8: 2 / 8, 16: 1 / 8}
"""shrink -> the share of the finest scale's stages that is decoded for it: about 37 dB at the smaller size
(quality 60, kodim05)."""


@sheltered
def compress(
    image: Image.Image,
    *,
    quality: float = 50.0,
    effort: int = 1,
    max_seconds: float | None = None,
    metadata: bool = True,
    verify: bool = False,
    model: str | Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> bytes:
    """Compress an image to the bytes of a .lq file.

    image: of any Pillow mode but floating point, at most 100,000,000 pixels. Colours become RGB of 8 bits per channel:
        16-bit grey is scaled, and what has a profile that is not RGB's becomes sRGB. Transparency is kept, losslessly.
        A photograph that lies on its side is turned as its EXIF orientation says, and loses that tag.
    quality: the dial, 1..100, decimals allowed (hundredths are kept). Above 90 a detail layer lies on the tokens,
        up to 50 dB of any picture at 100; not with a second decoder.
    effort: 1..9, how long to refine the tokens; 1 takes the encoder's first answer. A higher one makes a better picture
        of about the same size.
    max_seconds: refine so long that the file comes after about so many, and take the best tokens so far. The file then
        depends on how fast the machine is just then. What comes without refinement takes as long as it takes.
    metadata: keep ICC profile, EXIF and XMP of ``image.info``.
    verify: decode the whole file and compare its tokens, transparency and metadata.
    model: a name, a folder, or None for the default.
    device: where the networks compute, None for the one in use (:func:`leechcodec.use_device`).
    progress: called with (steps done, steps in all).
    measured: called with the PSNR of the colours in dB, which takes a moment longer.

    Raises ConfigError for a quality, effort or time out of range, ImageError for an empty image or a mode without
    colours, TooLargeError, ModelError for a model that cannot be loaded, and CorruptError where verify finds a
    difference.
    """
    begun = time.monotonic()
    check_arguments(model=model, progress=progress, measured=measured, max_seconds=max_seconds)
    if max_seconds is not None and not max_seconds > 0:
        raise ConfigError(f"max_seconds must be above 0, got {max_seconds}")
    check_quality(quality)
    image = apply_orientation(image)
    loaded = load_model(model, device=device)
    prepared = pipeline.prepare(image, metadata=metadata)
    drawing = Drawing(loaded, prepared, None if max_seconds is None else begun + max_seconds)
    return _compress(drawing, quality=quality, effort=effort, verify=verify, progress=progress, measured=measured)


def _compress(
    drawing: Drawing,
    *,
    quality: float,
    effort: int,
    verify: bool = False,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> bytes:
    """Draft and pack; steps are counted through both."""
    steps, done_before = drawing.prepared.steps(drawing.loaded, drawing.tokens_quality(quality), effort), 0

    def step(done: int, _: int) -> None:
        if progress:
            progress(done_before + done, steps)

    draft = drawing.draft(quality, effort, step, shown=verify or measured is not None)
    if measured:
        measured(drawing.psnr(draft))
    if not verify:
        draft = replace(draft, picture=None, below=None)  # nothing else asks for them, and of a large one they are much
    done_before = steps - len(draft.tokens.codes)
    data = drawing.file(draft, step)
    if verify:
        drawing.check(data, draft)
    return data


@sheltered
def compress_to(
    image: Image.Image,
    *,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    effort: int = 1,
    metadata: bool = True,
    verify: bool = False,
    model: str | Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> tuple[bytes, Found]:
    """Compress an image to a target: exactly one of size, bpp and psnr.

    size: bytes of the file, all of them.
    bpp: bits per pixel.
    psnr: dB, of the colours, transparency left out.
    image, effort, metadata, verify, model, device, measured: as for :func:`compress`.
    progress: called after each encoding with (those with that effort so far, 16).

    Returns the file and how close it is (:class:`leechcodec.codec.target_search.Found`). The file is the best that is
    no larger, or the smallest that is no worse: within 2 % or 0.05 dB where the dial reaches so far. Takes some five to
    ten encodings; with an effort above 1 as many at effort 1 and two or three with it.

    Raises TargetError for a target that no quality reaches, ConfigError for none or several, and what
    :func:`compress` raises.
    """
    check_arguments(size=size, bpp=bpp, psnr=psnr, model=model, progress=progress, measured=measured)
    if sum(target is not None for target in (size, bpp, psnr)) != 1:
        raise ConfigError("give exactly one of size, bpp and psnr")
    check_effort(effort)
    image, loaded = apply_orientation(image), load_model(model, device=device)
    prepared = pipeline.prepare(image, metadata=metadata)
    trials = _Trials(Drawing(loaded, prepared), effort, progress)
    if psnr is not None:
        found = least_for_psnr(trials.psnr, float(psnr), partial(trials.psnr, effort=1) if effort > 1 else None)
    else:
        target = float(size or 0) if bpp is None else float(bpp) * image.width * image.height / 8
        found = best_within_size(trials.size, target, partial(trials.size, effort=1) if effort > 1 else None)
    kept = None if verify else trials.files.get((found.quality, effort))
    if kept is None:
        made = _compress(trials.drawing, quality=found.quality, effort=effort, verify=verify, measured=measured)
        return made, found
    if measured:  # decoding takes less than making it again, by far where tokens are refined
        header, chunks = read_file(kept)
        measured(prepared.psnr(pipeline.picture_of(loaded, pipeline.unpack(loaded, header, chunks), chunks)))
    return kept, found


class _Trials:
    """What a search for a target measures: one drawing at several qualities."""

    def __init__(self, drawing: Drawing, effort: int, progress: Progress | None) -> None:
        self.drawing, self.effort, self.progress = drawing, effort, progress
        self.files: dict[tuple[float, int], bytes] = {}
        self._count = 0

    def size(self, quality: float, effort: int | None = None) -> int:
        """Bytes of the file, which is kept."""
        effort = effort or self.effort
        data = self.files[quality, effort] = _compress(self.drawing, quality=quality, effort=effort)
        self._tried(effort)
        return len(data)

    def psnr(self, quality: float, effort: int | None = None) -> float:
        """dB of the colours."""
        effort = effort or self.effort
        found = self.drawing.psnr(self.drawing.draft(quality, effort, shown=True))
        self._tried(effort)
        return found

    def _tried(self, effort: int) -> None:
        self._count += effort == self.effort
        if self.progress:
            self.progress(min(self._count, MAX_TRIALS + 2), MAX_TRIALS + 2)


@sheltered
def decompress(
    data: bytes,
    *,
    model: str | Path | None = None,
    device: str | None = None,
    max_pixels: int = MAX_PIXELS,
    shrink: int = 1,
    progress: Progress | None = None,
) -> Image.Image:
    """Decompress the bytes of a .lq file to an RGB image, RGBA where it has transparency, 8 bits per channel.

    The channels of a picture that had no colours are equal. ICC profile, EXIF and XMP are in ``info`` under Pillow's
    names.

    model: a name, a folder, or None for whichever installed model the file's tokens belong to.
    device: as for :func:`compress`.
    max_pixels: refuse larger images before anything is allocated; a side counts as at least 64.
    shrink: 1, 2, 4, 8 or 16: the image that many times smaller, sides rounded up. From 4 on the finest tokens and the
        detail layer are left out, which takes less time.
    progress: called with (steps done, steps in all).

    Bad data raises LqError kinds and nothing else: NotLqError, UnsupportedVersionError, TruncatedError, CorruptError,
    TooLargeError, UnknownModelError. ConfigError for another shrink, ModelError for a model that cannot be loaded.
    """
    check_arguments(max_pixels=max_pixels, shrink=shrink, model=model, progress=progress)
    if shrink not in STAGES_KEPT:
        raise ConfigError(f"shrink must be one of {', '.join(map(str, STAGES_KEPT))}, got {shrink}")
    header, chunks = read_file(data, max_pixels=max_pixels)
    loaded = model_for_file(header.token_model, model, header.synthesis, device)
    tokens = pipeline.unpack(loaded, header, chunks, kept=STAGES_KEPT[shrink], progress=progress)
    image = pipeline.picture_of(loaded, tokens, chunks if STAGES_KEPT[shrink] == 1 else ())
    image = SideData.of_chunks(chunks).add_to(image)
    if shrink > 1:
        image = _reduced(image, shrink)
    if progress:
        progress(1 + len(tokens.codes), 1 + len(tokens.codes))
    return image


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """The mean of each factor x factor pixels; colours weighed by their opacity."""
    small = image.convert("RGBa" if image.mode == "RGBA" else image.mode).reduce(factor).convert(image.mode)
    small.info.update(image.info)
    return small


@sheltered
def decompress_partial(
    data: bytes, *, model: str | Path | None = None, device: str | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, list[str]]:
    """The best image that a damaged or truncated file still gives, and what is missing from it, a line each.

    Uses the chunks whose checksums hold: the coarse tokens up to the first damaged chunk, transparency and metadata
    where they are whole. A sound file gives what :func:`decompress` gives, and an empty list.

    model, device, max_pixels: as for :func:`decompress`.
    Raises LqError kinds where nothing can be shown: a damaged header, or no coarsest tokens.
    """
    check_arguments(max_pixels=max_pixels, model=model)
    header, chunks, problems = salvage(data, max_pixels=max_pixels)
    coded = token_chunks(chunks)
    if not coded:
        raise problems[0] if problems else CorruptError("the file holds no tokens")
    loaded = model_for_file(header.token_model, model, header.synthesis, device)
    tokens, bad = _readable_tokens(loaded, header, coded)
    missing = [str(problem) for problem in (*problems, *bad)]
    try:
        side_data = SideData.of_chunks(chunks)
    except CorruptError as error:  # of a bad one whose checksum holds
        side_data = SideData.of_chunks(chunk for chunk in chunks if chunk.kind != ChunkKind.GREY)
        missing.append(str(error))
    stages, sent = len(tokens.codes), tokens.layout(loaded.config).stages
    whole = stages == sent
    image, bad_layers = pipeline.salvaged_picture(loaded, tokens, chunks if whole else ())
    missing += bad_layers
    if not whole:
        missing.append(f"{sent - stages} of {sent} token stages, the finest")
    try:
        return side_data.add_to(image), missing
    except CorruptError as error:
        return replace(side_data, alpha=None).add_to(image), [*missing, str(error)]


def _readable_tokens(loaded: LoadedModel, header: Header, chunks: Sequence[Chunk]) -> tuple[Tokens, list[CorruptError]]:
    """The tokens of as many chunks as hold any, and what is wrong with the next one, whose checksum holds.

    chunks: of tokens, coarse to fine, at least one. Raises CorruptError where the first holds none.
    """
    layout = file_layout(loaded.config, header, chunks)
    bad: list[CorruptError] = []
    for count in range(len(chunks), 0, -1):
        stages = sum(layout.chunk(stage) < count for stage in range(layout.stages))
        try:
            return decode_tokens(loaded, header, chunks[:count], stages), bad[-1:]
        except CorruptError as error:
            bad.append(error)
    raise bad[-1]


@sheltered
def tokenize(
    image: Image.Image,
    *,
    quality: float = 50.0,
    effort: int = 1,
    model: str | Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Tokens:
    """The image's tokens at a quality: the analysis transform and the quantizer, no entropy coding.

    image: as for :func:`compress`, but transparency is laid on white, with a warning, and profiles are not looked at.
    quality, effort, model, device: as for :func:`compress`.
    progress: called with (steps done, steps in all).

    A quality above 90 is that of the tokens, which have no detail layer.
    The codes are int8 (h, w, dim) per stage, h and w being the image's sides, padded to multiples of 64, over the
    stage's stride. Raises what :func:`compress` raises.
    """
    check_arguments(model=model, progress=progress)
    image = apply_orientation(image)
    check_quality(quality)
    pixels = padded_pixels(image)
    size, loaded = (image.height, image.width), load_model(model, device=device)
    return pipeline.analyse(loaded, pixels, size, quality=quality, effort=effort, progress=progress)


@sheltered
def detokenize(tokens: Tokens, *, model: str | Path | None = None, device: str | None = None) -> Image.Image:
    """The image of tokens: the synthesis transform. Returns RGB of 8 bits, tokens.width x tokens.height pixels.

    model: a name, a folder, or None for whichever installed model the tokens belong to, the one whose synthesis
        transform they name where there are several.
    device: as for :func:`compress`.
    The last stages may be missing. Raises UnknownModelError where that is none, or not the model given, TokensError
    for codes that are not int8 arrays of the sizes that image and quality ask for.
    """
    check_arguments(tokens=tokens, model=model)
    loaded = model_for_file(tokens.token_model, model, tokens.synthesis, device)
    check_codes(tokens, loaded)
    return pipeline.synthesise(loaded, tokens)


@sheltered
def read_tokens(
    data: bytes, *, model: str | Path | None = None, max_pixels: int = MAX_PIXELS, progress: Progress | None = None
) -> Tokens:
    """The tokens in a .lq file: exact integers on every machine."""
    check_arguments(max_pixels=max_pixels, model=model, progress=progress)
    header, chunks = read_file(data, max_pixels=max_pixels)
    return pipeline.unpack(model_for_file(header.token_model, model), header, chunks, progress=progress)


@sheltered
def write_tokens(tokens: Tokens, *, model: str | Path | None = None, progress: Progress | None = None) -> bytes:
    """The .lq file of tokens, without transparency or metadata.

    Raises UnknownModelError where no model fits, TokensError for tokens that are not what image and quality ask for.
    """
    check_arguments(tokens=tokens, model=model, progress=progress)
    loaded = model_for_file(tokens.token_model, model, tokens.synthesis)
    return pipeline.pack(loaded, tokens, progress=progress)


@sheltered
def ideal_bits(tokens: Tokens, *, model: str | Path | None = None) -> list[float]:
    """The prior's cross-entropy of tokens in bits: what a perfect coder would write.

    Three figures: of strides 64 and 32, of stride 16, of strides 8 and 4.
    """
    check_arguments(tokens=tokens, model=model)
    loaded = model_for_file(tokens.token_model, model)
    coders = [BitCounter() for _ in CHUNK_SCALES]
    code_stages(loaded, check_codes(tokens, loaded), coders, tokens.codes, stages=len(tokens.codes))
    return [coder.bits for coder in coders]


@sheltered
def token_bits(tokens: Tokens, *, model: str | Path | None = None) -> list[np.ndarray]:
    """What each token costs in bits by the coder's own integer probabilities: float64 (h, w) per stage."""
    check_arguments(tokens=tokens, model=model)
    loaded = model_for_file(tokens.token_model, model)
    layout = check_codes(tokens, loaded)
    bits = [np.zeros(codes.shape[:2]) for codes in tokens.codes]
    counter = BitCounter(max(stage.size for stage in bits))

    def observe(stage: int, positions: np.ndarray) -> None:
        bits[stage].reshape(-1)[positions] = counter.token_bits[: len(positions)]
        counter.token_bits[:] = 0

    coders = [counter] * len(CHUNK_SCALES)
    code_stages(loaded, layout, coders, tokens.codes, stages=len(tokens.codes), observe=observe)
    return bits
