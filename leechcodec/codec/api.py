"""The facade: photographs to bytes and back, photographs to tokens and back.

Here a model is named; pipeline.py does the work, with the model loaded.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.detail_layer import BASE_QUALITY, MAX_DETAIL_PIXELS, detail_chunk, step_at
from leechcodec.codec.distortion import psnr as psnr_of
from leechcodec.codec.model_store import LoadedModel, load_model, model_for_file
from leechcodec.codec.pipeline import Prepared
from leechcodec.codec.surroundings import sheltered
from leechcodec.codec.target_search import MAX_TRIALS, Found, best_within_size, least_for_psnr
from leechcodec.codec.token_coding import TOKEN_KINDS, Progress, Tokens, code_stages, decode_tokens, header_layout
from leechcodec.config import MAX_QUALITY, check_quality
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.errors import ConfigError, CorruptError, TargetError
from leechcodec.formats.container import FRAME_SIZE, MAX_PIXELS, read_file, salvage
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
    metadata: bool = True,
    verify: bool = False,
    model: str | Path | None = None,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> bytes:
    """Compress an image to the bytes of a .lq file.

    image: of any Pillow mode but floating point, at most 100,000,000 pixels. Colours become RGB of 8 bits per channel:
        16-bit grey is scaled, and what has a profile that is not RGB's becomes sRGB. Transparency is kept, losslessly.
        A photograph that lies on its side is turned as its EXIF orientation says, and loses that tag.
    quality: the dial, 1..100, decimals allowed (hundredths are kept).
    effort: 1..9, how long to refine the tokens; 1 takes the encoder's first answer. A higher one makes a better picture
        of about the same size.
    metadata: keep ICC profile, EXIF and XMP of ``image.info``.
    verify: decode the whole file and compare its tokens, transparency and metadata.
    model: a name, a folder, or None for the default.
    progress: called with (steps done, steps in all).
    measured: called with the PSNR of the colours in dB, which takes a quarter longer.

    Raises ConfigError for a quality or effort out of range, ImageError for an empty image or a mode without colours,
    TooLargeError, ModelError for a model that cannot be loaded, and CorruptError where verify finds a difference.
    """
    check_arguments(model=model, progress=progress, measured=measured)
    check_quality(quality)
    image = apply_orientation(image)
    loaded = load_model(model)
    prepared = pipeline.prepare(image, metadata=metadata)
    return _compress(
        loaded, prepared, quality=quality, effort=effort, verify=verify, progress=progress, measured=measured
    )


def _compress(
    loaded: LoadedModel,
    prepared: Prepared,
    *,
    quality: float,
    effort: int,
    verify: bool = False,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> bytes:
    """Analyse and pack; steps are counted through both."""
    steps, done_before = prepared.steps(loaded, quality, effort), 0

    def step(done: int, _: int) -> None:
        if progress:
            progress(done_before + done, steps)

    if measured and effort == 1:
        tokens, decoded = pipeline.preview(loaded, prepared.pixels, prepared.size, quality)
    else:
        size = prepared.size
        tokens = pipeline.analyse(loaded, prepared.pixels, size, quality=quality, effort=effort, progress=step)
        decoded = pipeline.synthesise(loaded, tokens) if measured else None
    if measured and decoded:
        measured(psnr_of(prepared.colours, np.asarray(prepared.side_data.without_colours(decoded))))
    done_before = steps - len(tokens.codes)
    data = pipeline.pack(loaded, tokens, prepared.side_data, step)
    if verify:
        pipeline.check_file(loaded, data, tokens, prepared)
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
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> tuple[bytes, Found]:
    """Compress an image to a target: exactly one of size, bpp and psnr.

    size: bytes of the file, all of them.
    bpp: bits per pixel.
    psnr: dB, of the colours, transparency left out.
    image, effort, metadata, verify, model, measured: as for :func:`compress`.
    progress: called after each encoding with (those with that effort so far, 16).

    Returns the file and how close it is (:class:`leechcodec.codec.target_search.Found`). The file is the best that is
    no larger, or the smallest that is no worse: within 2 % or 0.05 dB where the dial reaches so far. Takes some five to
    ten encodings; with an effort above 1 as many at effort 1 and two or three with it.

    Above the dial the file gets a detail layer on tokens of quality 85, whose step ``Found`` names; not with a second
    decoder, nor for more than 2^24 pixels.
    Raises TargetError for a target that no quality reaches, ConfigError for none or several, and what
    :func:`compress` raises.
    """
    check_arguments(size=size, bpp=bpp, psnr=psnr, model=model, progress=progress, measured=measured)
    if sum(target is not None for target in (size, bpp, psnr)) != 1:
        raise ConfigError("give exactly one of size, bpp and psnr")
    image, loaded = apply_orientation(image), load_model(model)
    prepared = pipeline.prepare(image, metadata=metadata)
    trials = _Trials(loaded, prepared, effort, progress)
    layer = None
    if psnr is not None:
        try:
            found = least_for_psnr(trials.psnr, psnr, partial(trials.psnr, effort=1) if effort > 1 else None)
        except TargetError:
            if not trials.may_have_layer:
                raise
            layer = _Layer(trials)
            found = layer.found(least_for_psnr(layer.psnr, psnr))
    else:
        target = float(size or 0) if bpp is None else bpp * image.width * image.height / 8
        found = best_within_size(trials.size, target, partial(trials.size, effort=1) if effort > 1 else None)
        if found.quality == MAX_QUALITY and not found.close and trials.may_have_layer:
            layer = _Layer(trials)
            with suppress(TargetError):  # not even the coarsest layer fits: the dial's end it is
                found = layer.found(best_within_size(layer.size, target))
    if layer is not None and found.detail is not None:
        return layer.file(found.detail, verify, measured), found
    kept = None if verify else trials.files.get((found.quality, effort))
    data = kept or _compress(loaded, prepared, quality=found.quality, effort=effort, verify=verify)
    if measured:
        decoded = pipeline.synthesise(loaded, pipeline.unpack(loaded, *read_file(data)))
        measured(psnr_of(prepared.colours, np.asarray(prepared.side_data.without_colours(decoded))))
    return data, found


class _Trials:
    """What a search for a target measures: one prepared image at several qualities."""

    def __init__(self, loaded: LoadedModel, prepared: Prepared, effort: int, progress: Progress | None) -> None:
        self.loaded, self.prepared, self.effort, self.progress = loaded, prepared, effort, progress
        self.files: dict[tuple[float, int], bytes] = {}
        height, width = prepared.size
        self.may_have_layer = not loaded.is_second_decoder and width * height <= MAX_DETAIL_PIXELS
        self._count = 0

    def size(self, quality: float, effort: int | None = None) -> int:
        """Bytes of the file, which is kept."""
        effort = effort or self.effort
        data = self.files[quality, effort] = _compress(self.loaded, self.prepared, quality=quality, effort=effort)
        self.tried(effort)
        return len(data)

    def psnr(self, quality: float, effort: int | None = None) -> float:
        """dB of the colours."""
        effort, prepared = effort or self.effort, self.prepared
        tokens = pipeline.analyse(self.loaded, prepared.pixels, prepared.size, quality=quality, effort=effort)
        decoded = prepared.side_data.without_colours(pipeline.synthesise(self.loaded, tokens))
        self.tried(effort)
        return psnr_of(prepared.colours, np.asarray(decoded))

    def tried(self, effort: int | None = None) -> None:
        """Count an encoding at an effort, the search's own unless told."""
        self._count += effort in (None, self.effort)
        if self.progress:
            self.progress(self._count, MAX_TRIALS + 2)


class _Layer:
    """A prepared image with a detail layer: what a search measures above the dial, by the layer's step."""

    def __init__(self, trials: _Trials) -> None:
        loaded, prepared = trials.loaded, trials.prepared
        self.trials, self.loaded, self.prepared = trials, loaded, prepared
        self.tokens = pipeline.analyse(
            loaded, prepared.pixels, prepared.size, quality=BASE_QUALITY, effort=trials.effort
        )
        self.decoded = pipeline.synthesise(loaded, self.tokens)
        self._pack = partial(pipeline.pack, loaded, self.tokens, prepared.side_data)
        self._base = len(self._pack())

    def psnr(self, place: float) -> float:
        """dB of the colours with the layer. place: 1..100, of detail_layer.step_at."""
        self.trials.tried()
        return self._psnr(detail_chunk(self.prepared.colours, self.decoded, step_at(place))[1])

    def size(self, place: float) -> int:
        """Bytes of the file."""
        self.trials.tried()
        chunk, _ = detail_chunk(self.prepared.colours, self.decoded, step_at(place))
        return self._base + FRAME_SIZE + len(chunk.payload)

    def file(self, step: float, verify: bool, measured: Measured | None) -> bytes:
        """The file with a layer of a step. Raises CorruptError where verify finds that it decodes to something else."""
        chunk, picture = detail_chunk(self.prepared.colours, self.decoded, step)
        data = self._pack(detail=chunk)
        if verify:
            pipeline.check_file(self.loaded, data, self.tokens, self.prepared)
            if pipeline.picture_of(self.loaded, self.tokens, read_file(data)[1]).tobytes() != picture.tobytes():
                raise CorruptError("the detail layer does not decode to its own picture: please report this")
        if measured:
            measured(self._psnr(picture))
        return data

    def found(self, at: Found) -> Found:
        """A place found by a search, as a quality and a step."""
        return Found(BASE_QUALITY, at.value, at.close, step_at(at.quality))

    def _psnr(self, picture: Image.Image) -> float:
        return psnr_of(self.prepared.colours, np.asarray(self.prepared.side_data.without_colours(picture)))


@sheltered
def decompress(
    data: bytes,
    *,
    model: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
    shrink: int = 1,
    progress: Progress | None = None,
) -> Image.Image:
    """Decompress the bytes of a .lq file to an RGB image, RGBA where it has transparency, 8 bits per channel.

    The channels of a picture that had no colours are equal. ICC profile, EXIF and XMP are in ``info`` under Pillow's
    names.

    model: a name, a folder, or None for whichever installed model the file's tokens belong to.
    max_pixels: refuse larger images before anything is allocated; a side counts as at least 64.
    shrink: 1, 2, 4, 8 or 16: the image that many times smaller, sides rounded up. From 4 on the finest tokens are left
        out, which takes less time.
    progress: called with (steps done, steps in all).

    Bad data raises LqError kinds and nothing else: NotLqError, UnsupportedVersionError, TruncatedError, CorruptError,
    TooLargeError, UnknownModelError. ConfigError for another shrink, ModelError for a model that cannot be loaded.
    """
    check_arguments(max_pixels=max_pixels, shrink=shrink, model=model, progress=progress)
    if shrink not in STAGES_KEPT:
        raise ConfigError(f"shrink must be one of {', '.join(map(str, STAGES_KEPT))}, got {shrink}")
    header, chunks = read_file(data, max_pixels=max_pixels)
    loaded = model_for_file(header.token_model, model, header.synthesis)
    tokens = pipeline.unpack(loaded, header, chunks, kept=STAGES_KEPT[shrink], progress=progress)
    image = pipeline.picture_of(loaded, tokens, chunks if shrink == 1 else ())
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
    data: bytes, *, model: str | Path | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, list[str]]:
    """The best image that a damaged or truncated file still gives, and what is missing from it, a line each.

    Uses the chunks whose checksums hold: the coarse tokens up to the first damaged chunk, transparency and metadata
    where they are whole. A sound file gives what :func:`decompress` gives, and an empty list.

    model, max_pixels: as for :func:`decompress`.
    Raises LqError kinds where nothing can be shown: a damaged header, or no coarsest tokens.
    """
    check_arguments(max_pixels=max_pixels, model=model)
    header, chunks, problems = salvage(data, max_pixels=max_pixels)
    payloads = [chunk.payload for kind, chunk in zip(TOKEN_KINDS, chunks) if chunk.kind == kind]
    if not payloads:
        raise problems[0] if problems else CorruptError("the file holds no tokens")
    loaded = model_for_file(header.token_model, model, header.synthesis)
    layout = header_layout(loaded.config, header)
    stages = sum(layout.chunk(stage) < len(payloads) for stage in range(layout.stages))
    tokens = decode_tokens(loaded, header, payloads, stages)
    missing = [str(problem) for problem in problems]
    whole = stages == layout.stages
    image = pipeline.picture_of(loaded, tokens, chunks if whole else ())
    if not whole:
        missing.append(f"{layout.stages - stages} of {layout.stages} token stages, the finest")
    try:
        image = SideData.of_chunks(chunks).add_to(image)
    except CorruptError as error:
        missing.append(str(error))
    return image, missing


@sheltered
def tokenize(
    image: Image.Image,
    *,
    quality: float = 50.0,
    effort: int = 1,
    model: str | Path | None = None,
    progress: Progress | None = None,
) -> Tokens:
    """The image's tokens at a quality: the analysis transform and the quantizer, no entropy coding.

    image: as for :func:`compress`, but transparency is laid on white, with a warning, and profiles are not looked at.
    quality, effort, model: as for :func:`compress`.
    progress: called with (steps done, steps in all).

    The codes are int8 (h, w, dim) per stage, h and w being the image's sides, padded to multiples of 64, over the
    stage's stride. Raises what :func:`compress` raises.
    """
    check_arguments(model=model, progress=progress)
    image = apply_orientation(image)
    check_quality(quality)
    pixels = pipeline.padded_pixels(image)
    size = (image.height, image.width)
    return pipeline.analyse(load_model(model), pixels, size, quality=quality, effort=effort, progress=progress)


@sheltered
def preview(
    image: Image.Image, *, quality: float = 50.0, model: str | Path | None = None
) -> tuple[Tokens, Image.Image]:
    """The image's tokens at effort 1 and the picture that they decode to: :func:`tokenize` and :func:`detokenize` in
    less time, because the synthesis transform runs once."""
    image = apply_orientation(image)
    check_quality(quality)
    return pipeline.preview(load_model(model), pipeline.padded_pixels(image), (image.height, image.width), quality)


@sheltered
def detokenize(tokens: Tokens, *, model: str | Path | None = None) -> Image.Image:
    """The image of tokens: the synthesis transform. Returns RGB of 8 bits, tokens.width x tokens.height pixels.

    model: a name, a folder, or None for whichever installed model the tokens belong to, the one whose synthesis
        transform they name where there are several.
    Raises UnknownModelError where that is none, or not the model given.
    """
    check_arguments(tokens=tokens, model=model)
    return pipeline.synthesise(model_for_file(tokens.token_model, model, tokens.synthesis), tokens)


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
    """The .lq file of tokens, without transparency or metadata. Raises UnknownModelError where no model fits."""
    check_arguments(tokens=tokens, model=model, progress=progress)
    return pipeline.pack(model_for_file(tokens.token_model, model), tokens, progress=progress)


@sheltered
def ideal_bits(tokens: Tokens, *, model: str | Path | None = None) -> list[float]:
    """The prior's cross-entropy of tokens in bits, one figure per chunk: what a perfect coder would write."""
    loaded = model_for_file(tokens.token_model, model)
    coders = [BitCounter() for _ in CHUNK_SCALES]
    code_stages(loaded, tokens.layout(loaded.config), coders, tokens.codes)
    return [coder.bits for coder in coders]


@sheltered
def token_bits(tokens: Tokens, *, model: str | Path | None = None) -> list[np.ndarray]:
    """What each token costs in bits by the coder's own integer probabilities: float64 (h, w) per stage."""
    loaded = model_for_file(tokens.token_model, model)
    bits = [np.zeros(codes.shape[:2]) for codes in tokens.codes]
    counter = BitCounter(max(stage.size for stage in bits))

    def observe(stage: int, positions: np.ndarray) -> None:
        bits[stage].reshape(-1)[positions] = counter.token_bits[: len(positions)]
        counter.token_bits[:] = 0

    code_stages(loaded, tokens.layout(loaded.config), [counter] * len(CHUNK_SCALES), tokens.codes, observe=observe)
    return bits
