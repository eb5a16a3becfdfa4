"""JPEG files segment by segment (ITU-T T.81 annex B): what lies beside and behind the photograph."""

import re
import struct
from dataclasses import dataclass, field

from leechcodec.formats.exif import Directories

EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
PREVIEWS = (0x010001, 0x010002)
"""Types of pictures (CIPA DC-007) that show the photograph again, smaller."""
MAX_PICTURES = 32
"""That a multi-picture segment is believed to name: each is searched for what it is."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In entropy-coded data: anything but a stuffed byte and a restart."""
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA


@dataclass
class Layout:
    """end: bytes of the photograph itself. comment, iptc: whether there are any. extended: bytes of XMP in further
    segments. others: (type, offset, size) of each further picture that the multi-picture segment names."""

    end: int = 0
    comment: bool = False
    iptc: bool = False
    extended: int = 0
    others: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])


def layout(data: bytes) -> Layout:
    """What a JPEG file holds; as far as it can be followed, where it is damaged."""
    found, position = Layout(end=len(data)), 2
    while position + 2 <= len(data):
        if data[position] != 0xFF:
            return found
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == EOI:
            found.end = position + 2
            return found
        if marker == SOI or marker == 1 or 0xD0 <= marker <= 0xD7:
            position += 2
            continue
        if position + 4 > len(data):
            return found
        (length,) = struct.unpack_from(">H", data, position + 2)
        payload = data[position + 4 : position + 2 + length]
        _note(found, marker, payload, position + 4)
        position += 2 + length
        if marker == SOS:
            following = _MARKER.search(data, position)
            if following is None:
                return found
            position = following.start()
    return found


def _note(found: Layout, marker: int, payload: bytes, place: int) -> None:
    if marker == 0xFE:
        found.comment = found.comment or bool(payload.strip(b"\0 \r\n\t"))
    elif marker == 0xED and payload.startswith(PHOTOSHOP):
        found.iptc = found.iptc or b"8BIM\x04\x04" in payload
    elif marker == 0xE1 and payload.startswith(EXTENDED_XMP):
        found.extended += len(payload) - len(EXTENDED_XMP) - 40
    elif marker == 0xE2 and payload.startswith(b"MPF\0"):
        found.others = _pictures(payload[4:], place + 4)


def _pictures(index: bytes, place: int) -> list[tuple[int, int, int]]:
    """(type, offset in the file, size) of each picture but the first. index: of the segment, from its TIFF header."""
    directories = Directories(index)
    entry = directories.entries.get(0xB002)
    if entry is None or entry.place is None:
        return []
    found: list[tuple[int, int, int]] = []
    for number in range(1, min(entry.count // 16, MAX_PICTURES)):
        attributes, size, offset = struct.unpack_from(directories.order + "III", index, entry.place + 16 * number)
        found.append((attributes & 0xFFFFFF, place + offset, size))
    return found
