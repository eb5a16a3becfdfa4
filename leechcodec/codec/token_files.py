"""Tokens as plain integers, and files of them: .safetensors, .npz and .npy (docs/tokens.md).

Tokens ─▶ tokens_to_indices ─▶ (h, w) integers a stage ─▶ serialize_tokens ─▶ bytes
Tokens ◀─ indices_to_tokens ◀─ (h, w) integers a stage ◀─ deserialize_tokens ◀─ bytes

Layout 1: stages coarse to fine, in each the rows from the top, in each row the columns from the left; a token is its
code's number in the quantizer's codebook, 0 .. vocabulary - 1.
"""

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from leechcodec.codec.arguments import check_arguments
from leechcodec.codec.model_store import LoadedModel, load_model, model_for_file
from leechcodec.codec.surroundings import sheltered
from leechcodec.codec.token_coding import Tokens, check_codes
from leechcodec.config import STRIDES, check_quality, header_quality
from leechcodec.errors import ConfigError, LqError, TokensError
from leechcodec.formats.container import check_size
from leechcodec.networks.layout import TokenLayout

LAYOUT = 1
"""Version of the layout; a file of another is refused."""
FORMATS = ("safetensors", "npz", "npy")
NAME = "leechcodec-tokens"
METADATA = "metadata"
"""Of an .npz, the entry that holds the description."""
MAX_ENTRIES = 64
"""Of an .npz: more than any model has stages."""
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
TEXTS = ("format", "token_model", "quantizer")
"""Fields of the description that are text; safetensors hold the others as JSON in text."""
SAFETENSORS_TYPES = {"int32": "I32", "int64": "I64"}


# --- integers --------------------------------------------------------------------------------------------------


def vocabulary(*, model: str | Path | None = None) -> int:
    """How many different tokens a model has: indices are 0 .. vocabulary - 1.

    Raises TokensError where they are more than 64 bits can number, as for rounding to integers.
    """
    return _vocabulary(load_model(model))


def _vocabulary(loaded: LoadedModel) -> int:
    code = loaded.code
    if code.size >= 2**63:
        raise TokensError(f"{code.name} has 2^{code.bits:.1f} codes, more than 64 bits can number as indices")
    return code.size


@sheltered
def tokens_to_indices(tokens: Tokens, *, model: str | Path | None = None) -> list[np.ndarray]:
    """The index of every token: one array (h, w) per stage, coarse to fine, values 0 .. vocabulary - 1.

    int32 where the vocabulary fits, else int64.

    model: a name, a folder, or None for the installed one that the tokens belong to.
    Raises UnknownModelError where that is none, or not the model given, and TokensError where the codes of
    its quantizer cannot be numbered, or these are none of them.
    """
    check_arguments(tokens=tokens, model=model)
    return _indices(tokens, model_for_file(tokens.token_model, model))


def _indices(tokens: Tokens, loaded: LoadedModel) -> list[np.ndarray]:
    check_codes(tokens, loaded)
    dtype = np.int32 if _vocabulary(loaded) <= 2**31 else np.int64
    try:
        return [loaded.code.numbers_of(codes).astype(dtype) for codes in tokens.codes]
    except ValueError as error:
        raise TokensError(f"the tokens are not {loaded.code.name}'s: {error}") from None


@sheltered
def indices_to_tokens(
    indices: Sequence[np.ndarray] | np.ndarray,
    width: int,
    height: int,
    *,
    quality: float,
    model: str | Path | None = None,
) -> Tokens:
    """Tokens of indices, the inverse of :func:`tokens_to_indices`.

    indices: of any integer type; one array (h, w) per stage, or all in one array (n,) in the order of the layout.
    width, height: of the image in pixels.
    quality: the dial, 1..100, that says how many stages there are.
    model: a name, a folder, or None for the default.

    Raises TokensError for numbers that are no integers or not in the vocabulary, for stages or tokens too many or too
    few, and for a token where the quality sends none; ConfigError for a quality out of range, TooLargeError, and
    ModelError for a model that cannot be loaded.
    """
    check_arguments(indices=indices, width=width, height=height, model=model)
    return _tokens(indices, width, height, quality, load_model(model))


def _tokens(
    indices: Sequence[np.ndarray] | np.ndarray, width: int, height: int, quality: float, loaded: LoadedModel
) -> Tokens:
    check_quality(quality)
    width, height = int(width), int(height)  # of numpy, too
    if min(width, height) < 1:
        raise TokensError(f"an image needs pixels, got {width} x {height}")
    check_size(width, height)
    size, quality = _vocabulary(loaded), header_quality(quality)
    layout = TokenLayout(loaded.config, quality, (height, width))
    shapes = [layout.grid(stage) for stage in range(layout.stages)]
    image = f"{width} x {height} pixels at quality {quality:g}"
    if isinstance(indices, np.ndarray):
        wanted = sum(h * w for h, w in shapes)
        if indices.shape != (wanted,):
            raise TokensError(f"indices of shape {indices.shape}, not ({wanted},), the tokens of {image}")
        indices = [
            part.reshape(shape)
            for part, shape in zip(np.split(indices, np.cumsum([h * w for h, w in shapes])[:-1]), shapes)
        ]
    if len(indices) != len(shapes):
        raise TokensError(f"{len(indices)} stages of tokens, not the {len(shapes)} of {image}")
    codes: list[np.ndarray] = []
    for stage, (found, shape) in enumerate(zip(indices, shapes)):
        if found.shape != shape:
            raise TokensError(f"stage {stage} has tokens of shape {found.shape}, not {shape} as {image} ask for")
        _check_values(found, size, stage)
        codes.append(loaded.code.codes_of(found.astype(np.int64)))
        if len(wrong := layout.unexpected_tokens(stage, codes[-1])):
            row, column = wrong[0]
            raise TokensError(
                f"stage {stage} has a token in row {row}, column {column}, where quality {quality:g} sends none: "
                f"only the origin's can stand there"
            )
    return Tokens(tuple(codes), width, height, quality, loaded.token_model)


def _check_values(indices: np.ndarray, size: int, stage: int) -> None:
    """Raises TokensError, which names the first, for values that are no indices."""
    if indices.dtype.kind not in "iu":
        raise TokensError(f"stage {stage} holds {indices.dtype} values, not integers")
    wrong = np.argwhere((indices < 0) | (indices >= size))
    if len(wrong):
        row, column = map(int, wrong[0])
        raise TokensError(
            f"stage {stage}, row {row}, column {column}: index {indices[row, column]} is not in 0..{size - 1}"
        )


# --- files -----------------------------------------------------------------------------------------------------


@sheltered
def describe(tokens: Tokens, *, model: str | Path | None = None) -> dict[str, str | int | float | list[int]]:
    """What a file says of its tokens beside them, in JSON's types.

    format, layout: "leechcodec-tokens", 1.
    width, height: pixels.
    quality: the dial.
    token_model: the model's id, 16 hexadecimal digits.
    quantizer: its name.
    vocabulary: how many codes it has.
    strides: for each stage, pixels along a token's side; it has ceil(height / 64) * 64 / stride rows, columns likewise.
    Raises what :func:`tokens_to_indices` raises.
    """
    check_arguments(tokens=tokens, model=model)
    return _describe(tokens, model_for_file(tokens.token_model, model))


def _describe(tokens: Tokens, loaded: LoadedModel) -> dict[str, str | int | float | list[int]]:
    return {
        "format": NAME,
        "layout": LAYOUT,
        "width": tokens.width,
        "height": tokens.height,
        "quality": header_quality(tokens.quality),
        "token_model": tokens.token_model.hex(),
        "quantizer": loaded.config.quantizer,
        "vocabulary": _vocabulary(loaded),
        "strides": _strides(loaded)[: len(tokens.codes)],
    }


@sheltered
def serialize_tokens(tokens: Tokens, form: str = "safetensors", *, model: str | Path | None = None) -> bytes:
    """The bytes of a file of tokens; the same tokens give the same bytes.

    form: "safetensors" or "npz", which describe themselves: an array (h, w) per stage, stage_00, stage_01, … and what
        :func:`describe` says; or "npy": one array (n,), all stages one after another, and nothing else.
    model: as for :func:`tokens_to_indices`, whose errors it raises.
    Raises TokensError where stages are missing, and ConfigError for another form.
    """
    check_arguments(tokens=tokens, form=form, model=model)
    if form not in FORMATS:
        raise ConfigError(f"no token format {form!r}; there are {', '.join(FORMATS)}")
    loaded = model_for_file(tokens.token_model, model)
    indices = _indices(tokens, loaded)
    if len(indices) != (wanted := tokens.layout(loaded.config).stages):
        raise TokensError(f"{len(indices)} stages of tokens, not the {wanted} of their quality")
    if form == "npy":
        return _write_npy(np.concatenate([stage.reshape(-1) for stage in indices]))
    arrays = {_stage_name(number): stage for number, stage in enumerate(indices)}
    write = _write_safetensors if form == "safetensors" else _write_npz
    return write(arrays, _describe(tokens, loaded))


@sheltered
def deserialize_tokens(
    data: bytes,
    *,
    size: tuple[int, int] | None = None,
    quality: float | None = None,
    model: str | Path | None = None,
) -> Tokens:
    """The tokens in a file's bytes, of whichever format they are; nothing is unpickled.

    size, quality: (width, height) in pixels, and the dial, of the image of a .npy, which holds neither. The other
        formats have their own and take none.
    model: a name, a folder, or None for the model that the file names (.npy: the default).

    Raises TokensError for a damaged file, or one that contradicts itself, its model or its image; UnknownModelError
    for tokens of a model that is not installed, or not the model given; ConfigError for a size or quality missing, out
    of range or too many; TooLargeError, ModelError.
    """
    check_arguments(data=data, image_size=size, model=model)
    data = bytes(data)  # a bytearray or a memoryview does, too
    if data[:6] == np.lib.format.MAGIC_PREFIX:
        if size is None or quality is None:
            raise ConfigError("a .npy file holds indices alone: give the image's size and the quality")
        return indices_to_tokens(_read_npy(data), *size, quality=quality, model=model)
    if size is not None or quality is not None:
        raise ConfigError("this file of tokens has its own size and quality")
    arrays, described = _read_npz(data) if data[:4] == b"PK\x03\x04" else _read_safetensors(data)
    width, height, quality, loaded = _image_of(described, model)
    names = [_stage_name(number) for number in range(len(arrays))]
    if set(names) != set(arrays):
        raise TokensError(f"holds {', '.join(sorted(arrays))} where stage_00, stage_01, … should be")
    try:
        return _tokens([arrays[name] for name in names], width, height, quality, loaded)
    except ConfigError as error:
        raise TokensError(str(error)) from None


def _strides(loaded: LoadedModel) -> list[int]:
    return [STRIDES[scale] for scale in loaded.config.stage_scales]


def _stage_name(number: int) -> str:
    return f"stage_{number:02}"


def _image_of(described: Mapping[str, Any], model: str | Path | None) -> tuple[int, int, float, LoadedModel]:
    """Width, height, quality and model that a file's description names; the rest of it must agree."""
    if described.get("format") != NAME:
        raise TokensError("not a file of tokens: its metadata do not say so")
    if described.get("layout") != LAYOUT:
        raise TokensError(f"tokens in layout {described.get('layout')}; this release knows layout {LAYOUT}")
    values: dict[str, Any] = {name: described.get(name) for name in ("width", "height", "quality")}
    for name, value in values.items():
        if type(value) not in ((int, float) if name == "quality" else (int,)):
            raise TokensError(f"{name} is {value!r}, not a number")
    try:
        token_model = bytes.fromhex(described["token_model"])
    except (KeyError, TypeError, ValueError):
        raise TokensError("its metadata name no token model") from None
    loaded = model_for_file(token_model, model)
    for name, wanted in (("quantizer", loaded.config.quantizer), ("vocabulary", _vocabulary(loaded))):
        if described.get(name) != wanted:
            raise TokensError(f"{name} is {described.get(name)!r}, but its token model's is {wanted!r}")
    strides = _strides(loaded)
    found: Any = described.get("strides")
    if not (isinstance(found, list) and found and found == strides[: len(cast("list[int]", found))]):
        raise TokensError(f"strides are {found!r}, but its token model's are {strides}")
    return values["width"], values["height"], values["quality"], loaded


# --- formats ---------------------------------------------------------------------------------------------------


def _write_safetensors(arrays: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> bytes:
    """By hand, because the library writes metadata in no fixed order."""
    strings = {name: value if isinstance(value, str) else json.dumps(value) for name, value in described.items()}
    header: dict[str, Any] = {"__metadata__": strings}
    first = 0
    for name, array in arrays.items():
        extent = [first, first + array.nbytes]
        header[name] = {"dtype": SAFETENSORS_TYPES[array.dtype.name], "shape": array.shape, "data_offsets": extent}
        first += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values()]
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def _read_safetensors(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        arrays = load(data)  # checks all of the header, and that every byte belongs to one tensor
        header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokensError(f"not a safetensors file of integers: {error}") from None
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return arrays, {name: value if name in TEXTS else _json(value) for name, value in metadata.items()}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise TokensError(f"its metadata are no JSON: {text[:40]!r}") from None


def _write_npz(arrays: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in {METADATA: np.array(json.dumps(described)), **arrays}.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _write_npy(array))
    return buffer.getvalue()


def _read_npz(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Entries that are stored only: a compressed one may be larger than memory."""
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise TokensError(f"an .npz of {len(entries)} arrays")
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
                    raise TokensError("a compressed .npz; write it with numpy.savez")
                arrays[entry.filename.removesuffix(".npy")] = _read_npy(archive.read(entry))
        described = _json(str(arrays.pop(METADATA)))
    except LqError:
        raise
    except KeyError:
        raise TokensError("not a file of tokens: the .npz has no metadata") from None
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        OverflowError,
        ValueError,
    ) as error:
        raise TokensError(f"a damaged .npz: {error}") from None
    if not isinstance(described, dict):
        raise TokensError("not a file of tokens: its metadata do not say so")
    return arrays, cast("dict[str, Any]", described)


def _write_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array.astype(array.dtype.newbyteorder("<")), allow_pickle=False)
    return buffer.getvalue()


def _read_npy(data: bytes) -> np.ndarray:
    """An array of numbers or text; its size is checked before anything is allocated, objects are refused."""
    file = io.BytesIO(data)
    try:
        shape, fortran, dtype = NPY_HEADERS[np.lib.format.read_magic(file)](file)
        if dtype.kind not in "iufbU":
            raise TokensError(f"a .npy of {dtype}, not integers")
        values = memoryview(data)[file.tell() :]
        if len(values) != math.prod(shape) * dtype.itemsize:
            raise TokensError(f"a damaged .npy: {len(values)} bytes for {dtype} of shape {shape}")
        return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")
    except LqError:
        raise
    except Exception as error:  # numpy's header parser raises whatever it trips over
        raise TokensError(f"a damaged .npy: {str(error).partition(chr(10))[0]}") from None
