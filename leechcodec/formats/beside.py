"""What a file holds beside its picture that an .lq file has no place for: named, so that nothing goes unnoticed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from leechcodec.formats import jpeg, png, xmp
from leechcodec.formats.boxes import boxes

Info = Mapping[str | tuple[int, int], Any]
"""Of Pillow's ``Image.info``."""
LEAST = 16
"""Bytes behind a picture from which on they are something."""
GAIN_MAPS = (b"hdr-gain-map", b"HDRGainMap", b"urn:iso:std:iso:ts:21496:-1")
_TECHNICAL = re.compile(
    r"(raw profile type .*|software|date:.*|exif:.*|xmp:.*|tiff:.*|png:.*|icc:.*|jpeg:.*|signature|thumb::.*|"
    r"xml:com\.adobe\.xmp|creation time|modify-.*|create-date.*)$",
    re.IGNORECASE,
)
"""Keywords of PNG text that say nothing of the picture, or nothing that is not kept elsewhere."""
_DEPTH = ("depth_images", "depth")


def lost(kind: str | None, data: bytes | None, info: Info, text: Mapping[str, Any]) -> list[str]:
    """Names of what is not kept. kind: Pillow's format. data: the file where it is to be had. info: the image's.
    text: of a PNG, keywords and values."""
    found = list(_texts(kind, data, info, text))
    if data is not None:
        if kind in ("JPEG", "MPO"):
            found += _behind_jpeg(data, info)
        elif kind == "PNG":
            found += _trailing(data[png.end(data) :])
        elif kind in ("AVIF", "HEIF", "JXL"):
            found += _boxes(data)
    if kind == "HEIF":
        found += ["a depth map"] if any(info.get(name) for name in _DEPTH) else []
    return list(dict.fromkeys(found))


def _texts(kind: str | None, data: bytes | None, info: Info, text: Mapping[str, Any]) -> Iterator[str]:
    if kind in ("JPEG", "MPO"):
        layout = jpeg.layout(data) if data is not None else None
        photoshop = info.get("photoshop")
        if layout.iptc if layout else isinstance(photoshop, Mapping) and 0x0404 in photoshop:
            yield "IPTC data"
        if layout.comment if layout else bool(info.get("comment")):
            yield "the comment"
        if layout and layout.extended > 0:
            yield "the second part of the XMP"
        return
    if kind == "PNG":
        if any(f"raw profile type {name}" in map(str.lower, text) for name in ("iptc", "8bim")):
            yield "IPTC data"
        names = [name for name in text if not _TECHNICAL.match(name)]
        if names:
            yield f"text ({', '.join(sorted(names)[:5])}{', …' if len(names) > 5 else ''})"
    elif kind == "GIF" and info.get("comment"):
        yield "the comment"


def _behind_jpeg(data: bytes, info: Info) -> Iterator[str]:
    layout = jpeg.layout(data)
    last, views = layout.end, 0
    packet = info.get("xmp")
    packet = packet if isinstance(packet, bytes) else b""
    for kind, offset, size in layout.others:
        last = max(last, min(offset + size, len(data)))
        if kind in jpeg.PREVIEWS:
            continue
        if xmp.has_gain_map(packet) or any(mark in data[offset : offset + size] for mark in GAIN_MAPS):
            yield "the gain map (HDR)"
        else:
            views += 1
    if views:
        yield "the second picture" if views == 1 else f"{views} further pictures"
    yield from _trailing(data[last:], xmp.has_gain_map(packet))


def _trailing(rest: bytes, gain_map: bool = False) -> list[str]:
    size = len(rest.strip(b"\0"))
    if size < LEAST:
        return []
    if b"ftyp" in rest[:4096] or b"MotionPhoto_Data" in rest or b"moov" in rest:
        return [f"the video behind the picture ({len(rest):,} bytes)"]
    if rest.lstrip(b"\0").startswith(b"\xff\xd8"):
        return ["the gain map (HDR)" if gain_map else "the second picture"]
    return [f"{len(rest):,} bytes behind the picture"]


def _boxes(data: bytes) -> Iterator[str]:
    """Of a file of boxes: a gain map, a video, metadata of JPEG XL that are compressed."""
    for kind, content in boxes(data):
        body = content if kind == b"meta" else b""
        if kind == b"jhgm" or b"tmap" in body or b"hdrgainmap" in body:
            yield "the gain map (HDR)"
        elif kind == b"mpvd":
            yield "the video behind the picture"
        elif kind == b"brob" and content[:4] in (b"Exif", b"xml "):
            yield f"compressed {'EXIF' if content[:4] == b'Exif' else 'XMP'}"


def nclx(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristics of an AVIF or HEIC file, or None."""
    place = data.find(b"colrnclx", 0, 1 << 20)
    if place < 0 or place + 12 > len(data):
        return None
    return int.from_bytes(data[place + 8 : place + 10], "big"), int.from_bytes(data[place + 10 : place + 12], "big")
