"""Files of boxes (ISO/IEC 14496-12, as AVIF, HEIC and JPEG XL have them), and how large a JPEG XL picture is."""

from collections.abc import Iterator

SIGNATURE = b"\xff\x0a"
"""How a codestream of JPEG XL begins, bare or in a box."""
_HEIGHT_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, by the number that stands for it less one."""


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each box, as far as they make sense."""
    position = 0
    while position + 8 <= len(data):
        size, kind, begin = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8], 8
        if size == 1:
            size, begin = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        size = size or len(data) - position
        yield kind, data[position + begin : position + size]
        if size < 8:
            return
        position += size


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG XL picture, by its codestream's first bits (ISO/IEC 18181-1, SizeHeader); None where
    there is none. Its plugin decodes all pixels before it says so."""
    if not data.startswith(SIGNATURE):
        parts = (body[4 * (kind == b"jxlp") :] for kind, body in boxes(data) if kind in (b"jxlc", b"jxlp"))
        data = next(parts, b"")
    if not data.startswith(SIGNATURE):
        return None
    bits = int.from_bytes(data[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take(_HEIGHT_BITS[take(2)])

    height, ratio = side(), take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height
