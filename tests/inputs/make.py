"""Pictures, PNG and JPEG files, profiles and EXIF data for the tests, byte by byte."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def photo(width=96, height=64, seed=0, mean=120.0, contrast=38.0):
    """Soft noise with the spectrum of a photograph: uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    freq = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    spectrum = np.fft.rfft2(noise, axes=(0, 1)) / np.maximum(freq, 1 / max(width, height))[:, :, None] ** 1.6
    picture = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    picture = 0.7 * picture.mean(2, keepdims=True) + 0.3 * picture
    return (mean + contrast * picture / picture.std()).clip(0, 255).astype(np.uint8)


def half_dark(width=96, height=64, seed=0):
    """A photograph whose left third is almost black and right third almost white: which way is up is easy to see."""
    pixels = photo(width, height, seed).astype(int)
    pixels[:, : width // 3] //= 6
    pixels[: height // 3, -width // 3 :] = 255 - (255 - pixels[: height // 3, -width // 3 :]) // 6
    return pixels.astype(np.uint8)


def grey16(width=96, height=64, seed=0):
    return (photo(width, height, seed)[..., 1].astype(np.uint16) * 257).astype(np.uint16)


def ramp_alpha(width=96, height=64):
    return np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_rows(samples, depth):
    """Samples (height, width * channels) of a depth as bytes with filter 0."""
    if depth == 16:
        rows = samples.astype(">u2").tobytes()
        step = samples.shape[1] * 2
        return b"".join(b"\0" + rows[i : i + step] for i in range(0, len(rows), step))
    if depth == 8:
        return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in samples)
    out = []
    for row in samples:
        bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)
        out.append(b"\0" + np.packbits(bits).tobytes())
    return b"".join(out)


def png(samples, depth, colour, before=(), after=()):
    """samples: (height, width) or (height, width, channels). before: chunks ahead of IDAT, after: behind it."""
    height, width = samples.shape[:2]
    raw = pack_rows(samples.reshape(height, -1), depth)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = b"".join(before) + chunk(b"IDAT", zlib.compress(raw)) + b"".join(after)
    return SIGNATURE + head + body + chunk(b"IEND")


def iccp(profile):
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile, 9))


def gama(value):
    return chunk(b"gAMA", struct.pack(">I", round(value * 100000)))


def chrm(*xy):
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100000) for value in xy)))


P3_XY = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def raw_profile(kind, data):
    """The text chunk in which ImageMagick keeps EXIF, XMP and IPTC."""
    digits = data.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(data):8d}\n{lines}\n"
    return chunk(b"zTXt", b"Raw profile type " + kind.encode() + b"\0\0" + zlib.compress(text.encode("latin1"), 9))


def _s15(value):
    return struct.pack(">i", round(value * 65536))


def _tags(space, pcs, tags, kind=b"mntr", version=0x02400000):
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, payload in tags:
        payload += b"\0" * (-len(payload) % 4)
        table += name + struct.pack(">II", start + len(data), len(payload))
        data += payload
    head = struct.pack(">I4sI4s4s4s", 0, b"lcms", version, kind, space, pcs)
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += _s15(0.9642) + _s15(1) + _s15(0.8249)
    head = head.ljust(128, b"\0")
    profile = head + struct.pack(">I", len(tags)) + table + data
    return struct.pack(">I", len(profile)) + profile[4:]


def _desc(text):
    text = text.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78


def _curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _xyz(x, y, z):
    return b"XYZ \0\0\0\0" + _s15(x) + _s15(y) + _s15(z)


def rgb_profile(gamma=2.2, swap=False):
    """A matrix profile with sRGB's columns. swap: red and blue exchanged, so that whether it is applied is plain."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    if swap:
        red, blue = blue, red
    tags = [(b"desc", _desc("test")), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", _xyz(0.9642, 1, 0.8249))]
    tags += [(b"rXYZ", _xyz(*red)), (b"gXYZ", _xyz(*green)), (b"bXYZ", _xyz(*blue))]
    return _tags(b"RGB ", b"XYZ ", tags + [(name, _curve(gamma)) for name in (b"rTRC", b"gTRC", b"bTRC")])


def grey_profile(gamma=1.0):
    tags = [(b"desc", _desc("test grey")), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", _xyz(0.9642, 1, 0.8249))]
    return _tags(b"GRAY", b"XYZ ", [*tags, (b"kTRC", _curve(gamma))])


def padded_profile(size):
    """A good RGB profile of so many bytes, by a private tag that nothing reads."""
    base = rgb_profile()
    count = struct.unpack(">I", base[128:132])[0]
    tags = []
    for i in range(count):
        name, offset, length = struct.unpack(">4sII", base[132 + 12 * i : 144 + 12 * i])
        tags.append((name, base[offset : offset + length]))
    noise = np.random.default_rng(9).integers(0, 256, size - len(base) - 20, dtype=np.uint8).tobytes()
    return _tags(b"RGB ", b"XYZ ", [*tags, (b"pad ", b"data\x00\x00\x00\x00" + noise[8:])])


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7


def _value(kind, value, order):
    if kind in (ASCII, UNDEFINED, BYTE):
        data = value.encode() + b"\0" if isinstance(value, str) else bytes(value)
        return len(data), data
    if kind == RATIONAL:
        return len(value), b"".join(struct.pack(order + "II", *pair) for pair in value)
    values = value if isinstance(value, (list, tuple)) else [value]
    return len(values), struct.pack(order + {SHORT: "H", LONG: "I"}[kind] * len(values), *values)


def exif(first, sub=(), gps=(), thumbnail=None, order="<", prefix=b"Exif\0\0"):
    """EXIF data. first, sub, gps: entries (tag, type, value). thumbnail: a JPEG for the second directory."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    directories = [list(first)]
    if sub:
        directories[0].append((0x8769, LONG, "sub"))
    if gps:
        directories[0].append((0x8825, LONG, "gps"))
    places, position = {}, 8

    def size(entries):
        extra = sum(
            len(_value(k, v, order)[1])
            for _, k, v in entries
            if not (k == LONG and isinstance(v, str)) and len(_value(k, v, order)[1]) > 4
        )
        return 2 + 12 * len(entries) + 4 + extra

    position += size(directories[0])
    for name, entries in (("sub", sub), ("gps", gps)):
        if entries:
            places[name] = position
            position += size(entries)
    second = [] if thumbnail is None else [(0x0103, SHORT, 6), (0x0201, LONG, 0), (0x0202, LONG, len(thumbnail))]
    if second:
        places["second"] = position
        second[1] = (0x0201, LONG, position + size(second))

    def block(entries, start, following):
        entries = sorted(entries)
        out, extra = struct.pack(order + "H", len(entries)), b""
        at = start + 2 + 12 * len(entries) + 4
        for tag, kind, value in entries:
            if kind == LONG and isinstance(value, str):
                value = places[value]
            count, data = _value(kind, value, order)
            out += struct.pack(order + "HHI", tag, kind, count)
            if len(data) <= 4:
                out += data.ljust(4, b"\0")
            else:
                out += struct.pack(order + "I", at + len(extra))
                extra += data
        return out + struct.pack(order + "I", following) + extra

    out = head + block(directories[0], 8, places.get("second", 0))
    for name, entries in (("sub", sub), ("gps", gps)):
        if entries:
            out += block(entries, places[name], 0)
    if second:
        out += block(second, places["second"], 0) + thumbnail
    return prefix + out


def camera_exif(orientation=6, order="<", maker=None, thumbnail=None, prefix=b"Exif\0\0"):
    """What a camera writes: orientation, its name, a date, a place; a maker note and a thumbnail where wanted."""
    first = [(0x010F, ASCII, "Maker"), (0x0110, ASCII, "Model 1"), (0x0112, SHORT, orientation)]
    first += [(0x011A, RATIONAL, [(72, 1)]), (0x011B, RATIONAL, [(72, 1)]), (0x0128, SHORT, 2)]
    sub = [(0x829A, RATIONAL, [(1, 250)]), (0x9003, ASCII, "2024:05:06 07:08:09")]
    if maker is not None:
        sub.append((0x927C, UNDEFINED, maker))
    gps = [(0x0001, ASCII, "N"), (0x0002, RATIONAL, [(47, 1), (22, 1), (30, 1)]), (0x0003, ASCII, "E")]
    gps.append((0x0004, RATIONAL, [(8, 1), (32, 1), (15, 1)]))
    return exif(first, sub, gps, thumbnail, order, prefix)


def tiny_jpeg(seed=1, size=(32, 24)):
    buffer = io.BytesIO()
    Image.fromarray(photo(*size, seed)).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def xmp(extra="", rating=5):
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{rating}"{extra}/></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def jpeg(pixels, mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    (image.convert(mode) if mode else image).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def app(number, data):
    return bytes((0xFF, 0xE0 + number)) + struct.pack(">H", len(data) + 2) + data


def jpeg_with(data, *segments):
    """A JPEG file with segments right behind its start."""
    return data[:2] + b"".join(segments) + data[2:]


def icc_segments(profile):
    parts = [profile[i : i + 65000] for i in range(0, len(profile), 65000)]
    return [app(2, b"ICC_PROFILE\0" + bytes((n + 1, len(parts))) + part) for n, part in enumerate(parts)]


def mpf(primary, others):
    """A multi-picture JPEG: primary has no such segment yet. others: JPEG files behind it."""
    count = 1 + len(others)

    def index(first, offsets):
        entries = struct.pack("<IIIHH", 0x030000, first, 0, 0, 0)
        for other, offset in zip(others, offsets):
            entries += struct.pack("<IIIHH", 0, len(other), offset, 0, 0)
        body = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 3)
        body += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, count)
        body += struct.pack("<HHII", 0xB002, 7, 16 * count, 8 + 2 + 36 + 4) + struct.pack("<I", 0) + entries
        return app(2, b"MPF\0" + body)

    length = len(primary) + len(index(0, [0] * len(others)))
    base = 2 + 4 + 4  # offsets count from the "II"
    offsets, at = [], length
    for other in others:
        offsets.append(at - base)
        at += len(other)
    return jpeg_with(primary, index(length, offsets)) + b"".join(others)


def save(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(count):
    return np.random.default_rng(5).integers(0, 256, count, dtype=np.uint8).tobytes()
