"""Colour spaces: ICC profiles applied and judged, and profiles made of what files say in other ways.

PNG's gAMA, cHRM and cICP chunks and the nclx box of AVIF and HEIC (ITU-T H.273) name a colour space by numbers. A
matrix profile of the same meaning (ICC.1:2022, with its ``cicp`` tag) is made of them, which every format can carry.
"""

import io
import struct
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
from PIL import Image

SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of white, red, green and blue."""
_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
PRIMARIES = {
    1: SRGB_XY,
    2: SRGB_XY,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (*_DCI, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""Of H.273, table 2."""
SRGB_TRANSFERS = (1, 2, 6, 11, 12, 13, 14, 15)
"""Of H.273, table 3: sRGB, unspecified, and the cameras' curves of BT.709 that screens show as sRGB."""
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
PQ, HLG = 16, 18
HDR = {PQ: "PQ", HLG: "HLG"}
SDR_WHITE = 203
"""Of HDR pictures, cd/m² of paper white (ITU-R BT.2408)."""
_D50 = np.array((0.9642, 1.0, 0.8249))
_BRADFORD = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))


def space_of(profile: bytes) -> bytes:
    """The profile's colour space, four letters: b"RGB ", b"GRAY", b"CMYK", …"""
    return profile[16:20]


def is_damaged(profile: bytes) -> bool:
    """Whether a colour profile is cut or cannot be read."""
    return len(profile) < 132 or int.from_bytes(profile[:4], "big") > len(profile) or _opened(profile) is None


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """An opaque image's colours from a profile to sRGB, mode RGB; None where the profile does not fit."""
    from PIL import ImageCms  # seldom needed

    source = _opened(profile)
    if source is None:
        return None
    for candidate in _in_space(image, space_of(profile)):
        try:
            return ImageCms.profileToProfile(candidate, source, _srgb(), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            continue
    return None


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """:func:`to_srgb`, or the image as it is, with a warning."""
    converted = to_srgb(image, profile)
    if converted is None:
        warnings.warn("the colour profile does not fit the image and is ignored", stacklevel=3)
        return image
    return converted


def _in_space(image: Image.Image, space: bytes) -> list[Image.Image]:
    """An image in the modes in which a profile of a colour space may be applied to it, the best first."""
    from leechcodec.formats.modes import is_grey, opaque_rgb

    if space == b"RGB ":
        return [] if image.mode in ("CMYK", "LAB") else [opaque_rgb(image)]
    if space == b"GRAY":
        if image.mode.startswith("I;16"):
            return [image, opaque_rgb(image).convert("L")]
        if image.mode in ("1", "L", "I") or is_grey(image):
            return [opaque_rgb(image).convert("L")]
    return [image]


def _opened(profile: bytes):
    from PIL import ImageCms

    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def _srgb():
    from PIL import ImageCms

    made = ImageCms.createProfile("sRGB")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return ImageCms.ImageCmsProfile(made)  # pyright: ignore[reportUnknownArgumentType]


# --- profiles of numbers --------------------------------------------------------------------------------


def of_gamma_and_chromaticities(gamma: float | None, xy: Sequence[float] | None) -> bytes | None:
    """A profile of PNG's gAMA (the encoding exponent, 0.45455) and cHRM (white, red, green, blue); None for sRGB.

    Raises ValueError for numbers that make no colour space.
    """
    srgb_curve = gamma is None or abs(gamma - 1 / 2.2) < 0.005
    srgb_xy = xy is None or max(abs(a - b) for a, b in zip(xy, SRGB_XY)) < 0.002
    if srgb_curve and srgb_xy:
        return None
    if gamma is not None and not 0.05 <= gamma <= 10:
        raise ValueError(f"a gamma of {gamma:g}")
    curve = _SRGB_CURVE if gamma is None else _gamma_curve(1 / gamma)
    return _profile(SRGB_XY if xy is None or srgb_xy else xy, curve, "from gAMA and cHRM")


def of_cicp(primaries: int, transfer: int) -> bytes | None:
    """A profile of H.273's code points; None for sRGB. Of PQ and HLG its curve is a rendering for ordinary screens,
    and its cicp tag says what it is. Raises ValueError for unknown ones."""
    if primaries not in PRIMARIES:
        raise ValueError(f"colour primaries {primaries}")
    xy = PRIMARIES[primaries]
    if transfer in SRGB_TRANSFERS:
        return None if xy is SRGB_XY else _profile(xy, _SRGB_CURVE, f"H.273 {primaries}/13", (primaries, 13))
    if transfer in GAMMAS:
        curve = _gamma_curve(GAMMAS[transfer])
    elif transfer in HDR:
        curve = _table_curve(_rendered(transfer))
    else:
        raise ValueError(f"transfer characteristics {transfer}")
    return _profile(xy, curve, f"H.273 {primaries}/{transfer}", (primaries, transfer))


def _rendered(transfer: int, points: int = 1024) -> np.ndarray:
    """An HDR curve with highlights rolled off so that all fits 0..1 (extended Reinhard; half of it below SDR white)."""
    signal = np.linspace(0, 1, points)
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = signal ** (1 / m2)
        light = 10_000 / SDR_WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    else:  # ARIB STD-B67, on a screen of 1,000 cd/m²
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        light = 1_000 / SDR_WHITE * scene**1.2
    brightest = 1_000 / SDR_WHITE
    return np.minimum(light * (1 + light / brightest**2) / (1 + light), 1)


def _profile(xy: Sequence[float], curve: bytes, name: str, cicp: tuple[int, int] | None = None) -> bytes:
    """A matrix profile of version 4.4, its colours adapted to D50 (Bradford)."""
    columns = _columns(xy)
    tags = [(b"desc", _text(name)), (b"cprt", _text("No copyright")), (b"wtpt", _xyz(_D50))]
    tags += [(name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T)]
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    if cicp:
        tags.append((b"cicp", b"cicp\0\0\0\0" + bytes((*cicp, 0, 1))))
    table, data, places = b"", b"", {}
    start = 128 + 4 + 12 * len(tags)
    for tag, payload in tags:
        if payload not in places:
            places[payload] = start + len(data)
            data += payload + b"\0" * (-len(payload) % 4)
        table += tag + struct.pack(">II", places[payload], len(payload))
    size = start + len(data)
    head = struct.pack(">I4xI4s4s4s12x4s24x", size, 0x04400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = (head[:64] + struct.pack(">I", 0) + _numbers(_D50)).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + data


def _columns(xy: Sequence[float]) -> np.ndarray:
    """XYZ of red, green and blue as columns, under D50. Raises ValueError where the primaries span nothing."""
    points = np.array(xy, dtype=float).reshape(4, 2)
    if (points[:, 1] <= 0).any():
        raise ValueError("chromaticities without luminance")
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]], 1)
    matrix = xyz[1:].T
    if abs(np.linalg.det(matrix)) < 1e-6:
        raise ValueError("chromaticities that span no colours")
    matrix = matrix * cast("np.ndarray", np.linalg.solve(matrix, xyz[0]))  # numpy's overloads leave it unknown
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ xyz[0])
    columns = cast("np.ndarray", np.linalg.solve(_BRADFORD, np.diag(scale) @ _BRADFORD)) @ matrix
    if not np.isfinite(columns).all() or np.abs(columns).max() > 100:
        raise ValueError("chromaticities that make no colour space")
    return columns


def _numbers(values: Sequence[float] | np.ndarray) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + _numbers(values)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data


def _gamma_curve(exponent: float) -> bytes:
    return b"para\0\0\0\0\0\0\0\0" + _numbers((exponent,))


_SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + _numbers((2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))


def _table_curve(values: np.ndarray) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + (values * 65535).round().astype(">u2").tobytes()
