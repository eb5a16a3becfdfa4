"""The facade: photographs to bytes and back, photographs to tokens and back.

image ─▶ pad ─▶ g_a, quantize ─▶ Tokens ─▶ encode_tokens ─▶ chunks ─▶ .lq
image ◀─ crop ◀─── g_s ◀──────── Tokens ◀─ decode_tokens ◀─ chunks ◀─ .lq
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from leechcodec.codec import refinement
from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.model_store import LoadedModel, load_model, model_for_file
from leechcodec.codec.surroundings import sheltered
from leechcodec.codec.target_search import MAX_TRIALS, Found, best_within_size, least_for_psnr
from leechcodec.codec.token_coding import (
    CHUNK_SCALES,
    TOKEN_KINDS,
    Progress,
    Tokens,
    aligned,
    check_sizes,
    chunk_of,
    code_stages,
    decode_tokens,
    encode_tokens,
)
from leechcodec.config import check_quality, header_quality
from leechcodec.entropy import range_coder
from leechcodec.errors import ConfigError, CorruptError
from leechcodec.formats.container import MAX_PIXELS, Chunk, Header, check_size, read_file, salvage, write_file
from leechcodec.formats.images import from_array, to_array, upright
from leechcodec.formats.modes import split
from leechcodec.formats.side_data import Extras, separate
from leechcodec.networks.model import ALIGNMENT

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

    image: of any Pillow mode but floating point, at most 100,000,000 pixels. Colours become RGB of 8 bits a channel
    (16-bit grey is scaled, what has a profile that is not RGB's becomes sRGB); transparency is kept, losslessly. A
    photograph that lies on its side is turned upright, as its EXIF orientation says, and loses that tag. quality: the
    dial, 1..100, decimals allowed (hundredths are kept). effort: 1..9, how long to refine the tokens; 1 takes the
    encoder's first answer. A higher one makes a better picture of about the same size. metadata: keep ICC profile, EXIF
    and XMP of ``image.info``. verify: decode the whole file and compare its tokens, transparency and metadata. model: a
    name, a folder, or None for the default. progress: called with (steps done, steps in all). measured: called with the
    PSNR of the colours in dB, which takes a quarter longer.

    Raises ConfigError for a quality or effort out of range, ImageError for an empty image or a mode without colours,
    TooLargeError, ModelError for a model that cannot be loaded, and CorruptError where verify finds a difference.
    """
    check_arguments(model=model, progress=progress, measured=measured)
    check_quality(quality)
    image = upright(image)
    loaded = load_model(model)
    colours, extras = separate(image, metadata=metadata)
    before = 1 + refinement.steps_in_all(effort, aligned(colours.height), aligned(colours.width))
    steps = before + loaded.config.stages_sent(header_quality(quality))

    def step(done: int, _: int) -> None:
        if progress:
            progress(done, steps)

    if measured and effort == 1:
        tokens, decoded = preview(colours, quality=quality, model=model)
        measured(_psnr(colours, extras.without_colours(decoded)))
    else:
        tokens = tokenize(colours, quality=quality, effort=effort, model=model, progress=step)
        if measured:
            measured(_psnr(colours, extras.without_colours(detokenize(tokens, model=model))))
    data = _write(tokens, loaded, extras, lambda done, _: step(before + done, steps))
    if verify:
        _verify(data, tokens, extras, split(image)[1], model)
    return data


def _verify(data: bytes, tokens: Tokens, extras: Extras, alpha: Image.Image | None, model: str | Path | None) -> None:
    """Raises CorruptError where a file does not decode to the tokens, transparency and metadata put into it."""
    read, found = read_tokens(data, model=model), Extras.of_chunks(read_file(data)[1])
    same = all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True)) and found == extras
    if same and alpha is not None:
        decoded = found.add_to(Image.new("RGB", (tokens.width, tokens.height)))
        same = np.array_equal(np.asarray(decoded.getchannel("A")), np.asarray(alpha))
    if not same:
        raise CorruptError(
            "the encoded file does not decode to its own tokens, transparency and metadata: please report this"
        )


def _psnr(colours: Image.Image, decoded: Image.Image) -> float:
    """Of two pictures, in dB; 90 where there is no error at all."""
    error = to_array(colours).astype(np.float64) - np.asarray(decoded, dtype=np.float64)
    return float(-10 * np.log10(max(np.mean(error**2), 6.5025e-5) / 255**2))


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
    """Compress an image to a target: exactly one of size (bytes), bpp (bits per pixel), psnr (dB).

    Returns the file and how close it is. The file is the best that is no larger, or the smallest that is no worse:
    within 2 % or 0.05 dB where the dial reaches so far (:class:`leechcodec.codec.target_search.Found` says which
    quality it is and whether it is that close). Sizes count every byte of the file; PSNR is that of the colours,
    transparency left out.
    Takes some five to ten encodings; with an effort above 1 as many at effort 1 and two or three with it. image,
    effort, metadata, verify, model: as for :func:`compress`. progress: called after each encoding with (those with that
    effort so far, 16).

    Raises TargetError for a target that no quality reaches, ConfigError for none or several, and what
    :func:`compress` raises.
    """
    check_arguments(size=size, bpp=bpp, psnr=psnr, model=model, progress=progress, measured=measured)
    if sum(target is not None for target in (size, bpp, psnr)) != 1:
        raise ConfigError("give exactly one of size, bpp and psnr")
    image = upright(image)
    files: dict[tuple[float, int], bytes] = {}
    trials = 0

    def tried(with_effort: int) -> None:
        nonlocal trials
        trials += with_effort == effort
        if progress:
            progress(trials, MAX_TRIALS + 2)

    def size_of(quality: float, effort: int = effort) -> int:
        data = compress(image, quality=quality, effort=effort, metadata=metadata, model=model)
        files[quality, effort] = data
        tried(effort)
        return len(data)

    def psnr_of(quality: float, effort: int = effort) -> float:
        decoded = detokenize(tokenize(colours, quality=quality, effort=effort, model=model), model=model)
        decoded = extras.without_colours(decoded)
        tried(effort)
        return _psnr(colours, decoded)

    if psnr is not None:
        colours, extras = separate(image, metadata=metadata)
        found = least_for_psnr(psnr_of, psnr, partial(psnr_of, effort=1) if effort > 1 else None)
    else:
        target = size if bpp is None else bpp * image.width * image.height / 8
        found = best_within_size(size_of, target, partial(size_of, effort=1) if effort > 1 else None)
    data = None if verify else files.get((found.quality, effort))
    if data is None:
        data = compress(image, quality=found.quality, effort=effort, metadata=metadata, verify=verify, model=model)
    if measured:
        if psnr is None:
            colours, extras = separate(image, metadata=metadata)
        decoded = detokenize(read_tokens(data, model=model), model=model)
        measured(found.value if psnr is not None else _psnr(colours, extras.without_colours(decoded)))
    return data, found


@sheltered
def decompress(
    data: bytes,
    *,
    model: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
    shrink: int = 1,
    progress: Progress | None = None,
) -> Image.Image:
    """Decompress the bytes of a .lq file to an RGB image, RGBA where it has transparency, 8 bits a channel.

    The channels of a picture that had no colours are equal. ICC profile, EXIF and XMP are in ``info`` under Pillow's
    names. model: a name, a folder, or None for whichever installed model the file's tokens belong to. max_pixels:
    refuse larger images before anything is allocated; a side counts as at least 64. shrink: 1, 2, 4, 8 or 16: the image
    that many times smaller, sides rounded up; from 4 on the finest tokens are left out, which takes less time.
    progress: called with (steps done, steps in all).

    Bad data raises LqError kinds and nothing else: NotLqError, UnsupportedVersionError, TruncatedError, CorruptError,
    TooLargeError, UnknownModelError. ConfigError for another shrink, ModelError for a model that cannot be loaded.
    """
    check_arguments(max_pixels=max_pixels, shrink=shrink, model=model, progress=progress)
    if shrink not in STAGES_KEPT:
        raise ConfigError(f"shrink must be one of {', '.join(map(str, STAGES_KEPT))}, got {shrink}")
    header, chunks = read_file(data, max_pixels=max_pixels)
    tokens = _read(header, chunks, model, progress, STAGES_KEPT[shrink])
    image = Extras.of_chunks(chunks).add_to(detokenize(tokens, model=model))
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
    where they are whole. A sound file gives what :func:`decompress` gives, and an empty list. model, max_pixels: as for
    :func:`decompress`. Raises LqError kinds where nothing can be shown: a damaged header, or no coarsest tokens.
    """
    check_arguments(max_pixels=max_pixels, model=model)
    header, chunks, problems = salvage(data, max_pixels=max_pixels)
    payloads = [chunk.payload for kind, chunk in zip(TOKEN_KINDS, chunks) if chunk.kind == kind]
    if not payloads:
        raise problems[0] if problems else CorruptError("the file holds no tokens")
    loaded = model_for_file(header.token_model, model)
    wanted = loaded.config.stages_sent(header.quality / 100)
    stages = sum(chunk_of(loaded.config, stage) < len(payloads) for stage in range(wanted))
    tokens = decode_tokens(loaded, header, payloads, stages)
    image, missing = detokenize(tokens, model=model), [str(problem) for problem in problems]
    if stages < wanted:
        missing.append(f"{wanted - stages} of {wanted} token stages, the finest")
    try:
        image = Extras.of_chunks(chunks).add_to(image)
    except CorruptError as error:
        missing.append(str(error))
    return image, missing


@sheltered
@torch.inference_mode()
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
    quality, effort, model: as for :func:`compress`. progress: called with (steps done, steps in all). The codes are
    int8 (h, w, dim) a stage, h and w being the image's sides, padded to multiples of 64, over the stage's stride.
    Raises what :func:`compress` raises.
    """
    check_arguments(model=model, progress=progress)
    image = upright(image)
    pixels, quality = _input(image, quality)
    loaded = load_model(model)
    steps = refinement.steps_in_all(effort, *pixels.shape[2:])
    codes = loaded.networks.encode(pixels, quality)
    if progress:
        progress(1, 1 + steps)
    codes = refinement.refine(
        loaded.networks,
        pixels,
        quality,
        codes,
        effort=effort,
        size=(image.height, image.width),
        progress=progress and (lambda done, steps: progress(1 + done, 1 + steps)),
    )
    return _tokens_of(codes, image, quality, loaded)


@sheltered
@torch.inference_mode()
def preview(
    image: Image.Image, *, quality: float = 50.0, model: str | Path | None = None
) -> tuple[Tokens, Image.Image]:
    """The image's tokens at effort 1 and the picture that they decode to: :func:`tokenize` and :func:`detokenize` in
    less time, because the synthesis transform is walked once."""
    loaded = load_model(model)
    if loaded.is_second_decoder:
        tokens = tokenize(image, quality=quality, model=model)
        return tokens, detokenize(tokens, model=model)
    image = upright(image)
    pixels, quality = _input(image, quality)
    codes, x_hat = loaded.networks.encode_and_decode(pixels, quality)
    return _tokens_of(codes, image, quality, loaded), _picture(x_hat, image.width, image.height)


def _input(image: Image.Image, quality: float) -> tuple[Tensor, float]:
    """What the networks are given: padded pixels, uint8 (1, 3, H, W), and the quality as a header can hold it."""
    check_quality(quality)
    check_size(image.width, image.height)
    pixels = to_array(image)
    padding = ((0, -image.height % ALIGNMENT), (0, -image.width % ALIGNMENT), (0, 0))
    pixels = torch.from_numpy(np.pad(pixels, padding, mode="edge")).permute(2, 0, 1)[None]
    return pixels, header_quality(quality)


def _tokens_of(codes: list[Tensor], image: Image.Image, quality: float, loaded: LoadedModel) -> Tokens:
    return Tokens(
        codes=tuple(code[0].permute(1, 2, 0).contiguous().numpy() for code in codes),
        width=image.width,
        height=image.height,
        quality=quality,
        token_model=loaded.token_model,
    )


def _picture(x_hat: Tensor, width: int, height: int) -> Image.Image:
    """The networks' output (1, 3, H, W), values about -1..1, as an image; overwrites it."""
    levels = x_hat[0, :, :height, :width].add_(1).mul_(127.5).round_().clamp_(0, 255)
    return from_array(levels.permute(1, 2, 0).to(torch.uint8).numpy())


@sheltered
@torch.inference_mode()
def detokenize(tokens: Tokens, *, model: str | Path | None = None) -> Image.Image:
    """The image of tokens: the synthesis transform. Returns RGB of 8 bits, tokens.width x tokens.height pixels.

    model: a name, a folder, or None for whichever installed model the tokens belong to, the one whose synthesis
    transform they name where there are several. Raises UnknownModelError where that is none, or not the model given.
    """
    check_arguments(tokens=tokens, model=model)
    loaded = model_for_file(tokens.token_model, model, tokens.synthesis)
    codes = [torch.from_numpy(code).permute(2, 0, 1)[None] for code in tokens.codes]
    height, width = aligned(tokens.height), aligned(tokens.width)
    return _picture(loaded.decoder.decode(codes, height, width, tokens.quality), tokens.width, tokens.height)


@sheltered
def read_tokens(
    data: bytes, *, model: str | Path | None = None, max_pixels: int = MAX_PIXELS, progress: Progress | None = None
) -> Tokens:
    """The tokens in a .lq file: exact integers on every machine."""
    check_arguments(max_pixels=max_pixels, model=model, progress=progress)
    return _read(*read_file(data, max_pixels=max_pixels), model, progress)


@sheltered
def write_tokens(tokens: Tokens, *, model: str | Path | None = None, progress: Progress | None = None) -> bytes:
    """The .lq file of tokens, without transparency or metadata. Raises UnknownModelError where no model fits."""
    check_arguments(tokens=tokens, model=model, progress=progress)
    return _write(tokens, model_for_file(tokens.token_model, model), progress=progress)


def _read(
    header: Header,
    chunks: Sequence[Chunk],
    model: str | Path | None,
    progress: Progress | None,
    kept: float = 1.0,
) -> Tokens:
    """The tokens of a file. kept: the share of the finest scale's stages that is wanted."""
    loaded = model_for_file(header.token_model, model)
    config = loaded.config
    payloads = [chunk.payload for chunk in chunks if chunk.kind in TOKEN_KINDS]
    sent = config.stages_sent(header.quality / 100)
    check_sizes(config, header, payloads, sent)
    finest = max(config.stage_scales)
    wanted = min(sent, len(config.stage_scales) - config.stages[finest] + math.ceil(kept * config.stages[finest]))
    return decode_tokens(loaded, header, payloads[: 1 + chunk_of(config, wanted - 1)], wanted, progress)


def _write(
    tokens: Tokens, loaded: LoadedModel, extras: Extras | None = None, progress: Progress | None = None
) -> bytes:
    header, chunks = encode_tokens(tokens, loaded, progress)
    return write_file(header, chunks + ([] if extras is None else extras.chunks()))


@sheltered
def ideal_bits(tokens: Tokens, *, model: str | Path | None = None) -> list[float]:
    """The prior's cross-entropy of tokens in bits, one figure a chunk: what a perfect coder would write."""
    loaded = model_for_file(tokens.token_model, model)
    coders = [range_coder.BitCounter() for _ in CHUNK_SCALES]
    code_stages(loaded, tokens.width, tokens.height, round(tokens.quality * 100), coders, tokens.codes)
    return [coder.bits for coder in coders]


@sheltered
def token_bits(tokens: Tokens, *, model: str | Path | None = None) -> list[np.ndarray]:
    """What each token costs in bits by the coder's own integer probabilities: float64 (h, w) a stage."""
    loaded = model_for_file(tokens.token_model, model)
    bits = [np.zeros(codes.shape[:2]) for codes in tokens.codes]
    counter = range_coder.BitCounter(max(stage.size for stage in bits))

    def observe(stage: int, positions: np.ndarray) -> None:
        bits[stage].reshape(-1)[positions] = counter.token_bits[: len(positions)]
        counter.token_bits[:] = 0

    coders, quality = [counter] * len(CHUNK_SCALES), round(tokens.quality * 100)
    code_stages(loaded, tokens.width, tokens.height, quality, coders, tokens.codes, observe=observe)
    return bits
