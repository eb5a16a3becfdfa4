"""XMP packets as bytes of UTF-8: the orientation in them, and what they promise of the rest of a file.

Values are changed where they stand (ISO 16684-1 allows attributes and elements); a packet is never written anew.
"""

import re
from bisect import bisect_left
from collections import defaultdict

_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>)\s*)([0-9]+)""")
_EXTENDED = rb"xmpNote:HasExtendedXMP"
_PROMISES = rb"(?:(?:hdrgm|HDRGainMap|GDepth|GImage|GAudio):[A-Za-z]+|GCamera:(?:MotionPhoto|MicroVideo)[A-Za-z]*)"
"""Of Adobe's, Google's and Apple's schemes for gain maps, depth maps, videos and sounds behind a photograph."""
_LISTS = rb"G?Container:Directory"


def orientation(packet: bytes) -> int | None:
    """The orientation, 1..8, or None."""
    found = _ORIENTATION.search(packet)
    return int(found[2]) if found and found[2] in b"12345678" and len(found[2]) == 1 else None


def upright(packet: bytes) -> bytes:
    """The packet with every orientation 1."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)


def has_extension(packet: bytes) -> bool:
    """Whether a packet says that there is a second part."""
    return without_extension(packet) != packet


def without_extension(packet: bytes) -> bytes:
    """The packet without the reference to a second part."""
    return _without_elements(_without_attributes(packet, _EXTENDED), _EXTENDED)


def without_companions(packet: bytes) -> bytes:
    """The packet without what it says of gain maps, depth maps and videos in the same file."""
    packet = _without_attributes(packet, _PROMISES)
    for names in (_PROMISES, _LISTS):
        packet = _without_elements(packet, names)
    for prefix in (b"hdrgm", b"HDRGainMap"):
        if prefix + b":" not in packet:
            packet = _without_attributes(packet, b"xmlns:" + prefix)
    return packet


def has_gain_map(packet: bytes) -> bool:
    """Whether a packet speaks of a gain map."""
    return b"hdrgm:" in packet or b"HDRGainMap:" in packet


# Packets may be megabytes of anything: each is read through a few times, never again from each of its places.


def _without_attributes(packet: bytes, names: bytes) -> bytes:
    """names: a pattern. An attribute goes with all of the white space before it, which is tried at its start alone."""
    return re.sub(rb"""(?<!\s)\s+(?:%s)\s*=\s*(?:"[^"]*"|'[^']*')""" % names, b"", packet)


def _without_elements(packet: bytes, names: bytes) -> bytes:
    """names: a pattern. An element ends with the next closing tag of its name; one that never ends stays."""
    ends: defaultdict[bytes, list[int]] = defaultdict(list)
    for closing in re.finditer(rb"</(%s)>" % names, packet):
        ends[closing[1]].append(closing.end())
    kept: list[bytes] = []
    place = 0
    for opening in re.finditer(rb"<(%s)(?:\s[^<>]*|/)?>" % names, packet):
        if opening.start() < place:  # within an element that is left out
            continue
        end, others = opening.end(), ends[opening[1]]
        if not opening[0].endswith(b"/>"):
            following = bisect_left(others, end)
            if following == len(others):
                continue
            end = others[following]
        kept.append(packet[place : opening.start()])
        place = end
    return b"".join([*kept, packet[place:]])
