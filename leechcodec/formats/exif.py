"""EXIF data read where it stands: orientation, resolution, soundness; changed in place, so that nothing else moves.

EXIF is a TIFF structure (CIPA DC-008, TIFF 6.0 section 2): a header, then directories of entries of 12 bytes. Maker
notes and thumbnails are addressed by offsets that only their makers know, so nothing is ever written anew: a value is
replaced where it stands, and what is added goes to the end.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PREFIX = b"Exif\0\0"
"""Before EXIF data in a JPEG segment; other formats leave it out."""
ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
"""Tags of directories: two in the first one, the last one in EXIF's own."""
SHORT, LONG, RATIONAL = 3, 4, 5
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
"""Bytes of a value of each type."""
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
INCH = 2
"""RESOLUTION_UNIT of pixels per inch."""


@dataclass(frozen=True)
class Entry:
    """One entry of a directory. place: of its value, in bytes from the TIFF header, or None where it lies outside."""

    tag: int
    type: int
    count: int
    place: int | None


class Directories:
    """A lenient reader of EXIF data: what is broken is passed over, and ``damaged`` says that something was.

    data: with or without PREFIX. ``entries`` are those of the first directory by tag, ``all`` those of every one.
    """

    def __init__(self, data: bytes):
        self.start = len(PREFIX) if data.startswith(PREFIX) else 0
        self.data = data
        self.damaged = False
        self.entries: dict[int, Entry] = {}
        self.all: list[Entry] = []
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[self.start : self.start + 4], "")
        if not self.order or len(data) < self.start + 8:
            self.damaged = True
            return
        (first,) = self.unpack("I", 4)
        for entry in self._directory(first):
            self.entries.setdefault(entry.tag, entry)
        self.all += self.entries.values()
        own = self._below(self.entries.get(EXIF))
        self.all += own
        self.all += self._below(self.entries.get(GPS))
        self.all += self._below(next((entry for entry in own if entry.tag == INTEROPERABILITY), None))

    @property
    def readable(self) -> bool:
        """Whether there is a first directory at all."""
        return bool(self.entries)

    def integer(self, tag: int) -> int | None:
        """A whole number of the first directory, or None."""
        return self._integer(self.entries.get(tag))

    def _integer(self, entry: Entry | None) -> int | None:
        if entry is None or entry.place is None or entry.type not in INTEGERS or entry.count < 1:
            return None
        return self.unpack(INTEGERS[entry.type], entry.place)[0]

    def ratio(self, tag: int) -> float | None:
        """A fraction of the first directory, or None."""
        entry = self.entries.get(tag)
        if entry is None or entry.place is None or entry.type != RATIONAL or entry.count < 1:
            return None
        above, below = self.unpack("II", entry.place)
        return above / below if below else None

    def unpack(self, form: str, place: int) -> tuple[int, ...]:
        """Whole numbers of a form of struct's, place bytes from the TIFF header."""
        return struct.unpack_from(self.order + form, self.data, self.start + place)

    def _below(self, entry: Entry | None) -> list[Entry]:
        """The entries of the directory that an entry leads to."""
        place = self._integer(entry)
        return [] if place is None else list(self._directory(place))

    def _directory(self, place: int) -> Iterator[Entry]:
        room = len(self.data) - self.start
        if not 8 <= place <= room - 2:
            self.damaged = True
            return
        (count,) = self.unpack("H", place)
        if place + 2 + 12 * count > room:
            self.damaged = True
        for number in range(min(count, (room - place - 2) // 12)):
            at = place + 2 + 12 * number
            tag, kind, values = self.unpack("HHI", at)
            size = SIZES.get(kind, 0) * values
            where = at + 8 if size <= 4 else self.unpack("I", at + 8)[0]
            if kind not in SIZES or where + size > room:
                self.damaged, where = True, None
            elif tag in (X_RESOLUTION, Y_RESOLUTION) and kind != RATIONAL:
                self.damaged = True
            yield Entry(tag, kind, values, where)


def orientation(data: bytes) -> int | None:
    """The orientation, 1..8, however broken the rest is; None where there is none."""
    value = Directories(data).integer(ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else None


def upright(data: bytes) -> bytes:
    """The same bytes with the orientation 1, where there is one to be read."""
    found = Directories(data)
    entry = found.entries.get(ORIENTATION)
    if entry is None or entry.place is None or found.integer(ORIENTATION) in (None, 1):
        return data
    changed = bytearray(data)
    struct.pack_into(found.order + INTEGERS[entry.type], changed, found.start + entry.place, 1)
    return bytes(changed)


def is_damaged(data: bytes) -> bool:
    """Whether some of it cannot be read: the header, a directory, or a value of one."""
    return Directories(data).damaged


def resolution(data: bytes) -> tuple[float, float] | None:
    """Pixels per inch across and down, or None."""
    found = Directories(data)
    across, down = found.ratio(X_RESOLUTION), found.ratio(Y_RESOLUTION)
    if not across or not down:
        return None
    scale = {None: 1.0, INCH: 1.0, 3: 2.54}.get(found.integer(RESOLUTION_UNIT))
    return None if scale is None else (across * scale, down * scale)


def is_resolution_alone(data: bytes) -> bool:
    """Whether EXIF data say nothing but a resolution."""
    return set(Directories(data).entries) <= {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}


def with_resolution(data: bytes, dots: tuple[float, float]) -> bytes:
    """EXIF data, b"" for none, with a resolution in pixels per inch. What has one, or is broken, stays as it is."""
    found = Directories(data or PREFIX + b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    if data and (not found.readable or found.damaged or X_RESOLUTION in found.entries):
        return data
    fractions = {tag: (round(value * 1000), 1000) for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), dots)}
    return _with_entries(found, fractions, {RESOLUTION_UNIT: INCH})


def _with_entries(found: Directories, fractions: Mapping[int, tuple[int, int]], shorts: Mapping[int, int]) -> bytes:
    """The data with a first directory at its end that holds the old one's entries and these besides."""
    order, start = found.order, found.start
    (old,) = found.unpack("I", 4)
    (count,) = found.unpack("H", old)
    raw = found.data[start + old + 2 : start + old + 2 + 12 * count]
    kept = [raw[i : i + 12] for i in range(0, len(raw), 12)]
    kept = [entry for entry in kept if struct.unpack_from(order + "H", entry)[0] not in {*fractions, *shorts}]
    following = found.unpack("I", old + 2 + 12 * count)[0] if len(found.data) >= start + old + 6 + 12 * count else 0
    body = bytearray(found.data if count else found.data[: start + 8])
    body += b"\0" * ((len(body) - start) % 2)
    place = len(body) - start
    values = place + 2 + 12 * (len(kept) + len(fractions) + len(shorts)) + 4
    tail = b""
    for tag, pair in fractions.items():
        kept.append(struct.pack(order + "HHII", tag, RATIONAL, 1, values + len(tail)))
        tail += struct.pack(order + "II", *pair)
    kept += [struct.pack(order + "HHIHH", tag, SHORT, 1, value, 0) for tag, value in shorts.items()]
    kept.sort(key=lambda entry: struct.unpack_from(order + "H", entry)[0])
    body += struct.pack(order + "H", len(kept)) + b"".join(kept) + struct.pack(order + "I", following) + tail
    struct.pack_into(order + "I", body, start + 4, place)
    return bytes(body)
