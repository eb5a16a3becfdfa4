"""XMP packets as bytes of UTF-8: the orientation in them, and what they promise of the rest of a file.

Values are changed where they stand (ISO 16684-1 allows attributes and elements); a packet is never written anew.
"""

import re

_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>)\s*)([0-9]+)""")
_EXTENDED = (
    re.compile(rb"""\s+xmpNote:HasExtendedXMP\s*=\s*(?:"[^"]*"|'[^']*')"""),
    re.compile(rb"<xmpNote:HasExtendedXMP>.*?</xmpNote:HasExtendedXMP>", re.DOTALL),
)
_PROMISES = rb"(?:(?:hdrgm|HDRGainMap|GDepth|GImage|GAudio):[A-Za-z]+|GCamera:(?:MotionPhoto|MicroVideo)[A-Za-z]*)"
"""Of Adobe's, Google's and Apple's schemes for gain maps, depth maps, videos and sounds behind a photograph."""
_COMPANIONS = (
    re.compile(rb"\s+" + _PROMISES + rb"""\s*=\s*(?:"[^"]*"|'[^']*')"""),
    re.compile(rb"<(" + _PROMISES + rb")(?:\s[^>]*)?(?:/>|>.*?</\1>)", re.DOTALL),
    re.compile(rb"<((?:G?Container):Directory)(?:\s[^>]*)?(?:/>|>.*?</\1>)", re.DOTALL),
)
_NAMESPACE = rb"""\s+xmlns:%s\s*=\s*(?:"[^"]*"|'[^']*')"""


def orientation(packet: bytes) -> int | None:
    """The orientation, 1..8, or None."""
    found = _ORIENTATION.search(packet)
    return int(found[2]) if found and found[2] in b"12345678" and len(found[2]) == 1 else None


def upright(packet: bytes) -> bytes:
    """The packet with every orientation 1."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)


def has_extension(packet: bytes) -> bool:
    """Whether a packet says that there is a second part."""
    return any(pattern.search(packet) for pattern in _EXTENDED)


def without_extension(packet: bytes) -> bytes:
    """The packet without the reference to a second part."""
    return _without(packet, _EXTENDED)


def without_companions(packet: bytes) -> bytes:
    """The packet without what it says of gain maps, depth maps and videos in the same file."""
    packet = _without(packet, _COMPANIONS)
    for prefix in (b"hdrgm", b"HDRGainMap"):
        if prefix + b":" not in packet:
            packet = re.sub(_NAMESPACE % prefix, b"", packet)
    return packet


def has_gain_map(packet: bytes) -> bool:
    """Whether a packet speaks of a gain map."""
    return b"hdrgm:" in packet or b"HDRGainMap:" in packet


def _without(packet: bytes, patterns: tuple[re.Pattern[bytes], ...]) -> bytes:
    for pattern in patterns:
        packet = pattern.sub(b"", packet)
    return packet
