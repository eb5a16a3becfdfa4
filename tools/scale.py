"""What archives of a million and a billion photographs take, worked out from measured figures: docs/scale.md.

    python -m tools.scale                          12 megapixels a photograph, q = 55
    python -m tools.scale --megapixels 0.393 --quality 10

Speeds are of one core (docs/results.md, Speed: kodim08, a detailed photograph of 0.393 megapixels), rates are Kodak's
means (Kodak: against other codecs, against leech-vbr). The other codecs' sizes follow from the BD-rates at equal PSNR
of the same page.
"""

import argparse
from dataclasses import dataclass

KODIM08 = 768 * 512 / 1e6
"""Megapixels."""
COUNTS = (1_000_000, 1_000_000_000)
LINE = 250
"""Bytes of a manifest's line, about."""


@dataclass(frozen=True)
class Point:
    """Seconds of one core for kodim08, and Kodak's mean bits per pixel, at about the same quality."""

    encode: float
    decode: float
    bpp: float


POINTS = {10: Point(0.22, 0.20, 0.0596), 55: Point(0.39, 0.30, 0.2764), 90: Point(0.46, 0.35, 0.7361)}
BD_RATES = {"JPEG 4:2:0": -0.587, "WebP": -0.329, "AVIF 4:4:4": -0.092}
"""Change in size at equal PSNR against each, q = 1 to 92."""


def number(value: float) -> str:
    """Three digits."""
    for limit, unit in ((1e9, " billion"), (1e6, " million")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(value: float) -> str:
    """Bytes."""
    for limit, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12.0, help="of a photograph")
    parser.add_argument("--quality", type=int, choices=POINTS, default=55)
    parser.add_argument("--source", type=float, default=3.0, help="bits per pixel of the originals, which are read")
    args = parser.parse_args()
    point = POINTS[args.quality]
    encode, decode = (args.megapixels * seconds / KODIM08 for seconds in (point.encode, point.decode))
    stored = args.megapixels * 1e6 * point.bpp / 8
    read = args.megapixels * 1e6 * args.source / 8
    print(f"A photograph of {args.megapixels:g} megapixels at q = {args.quality}:")
    print(f"encode {encode:.3g} s, decode {decode:.3g} s of one core; {size(stored)} stored, {size(read)} read\n")
    print("| photographs | " + " | ".join(number(count) for count in COUNTS) + " |")
    print("|---|" + "---|" * len(COUNTS))

    def row(what: str, cell) -> None:
        print(f"| {what} | " + " | ".join(cell(count) for count in COUNTS) + " |")

    row("core hours, encode", lambda count: number(count * encode / 3600))
    row("core hours, decode", lambda count: number(count * decode / 3600))
    row("days on 1,000 cores, encode", lambda count: number(count * encode / 86400 / 1000))
    row("stored", lambda count: size(count * stored))
    for name, rate in BD_RATES.items():
        other = stored / (1 + rate)
        row(f"{name} of equal PSNR", lambda count, other=other: size(count * other))
        row(f"saved against {name}", lambda count, other=other: size(count * (other - stored)))
    row("read through the network", lambda count: size(count * read))
    row("network of 1,000 cores", lambda count: f"{1000 * (read + stored) * 8 / encode / 1e9:.2g} Gbit/s")
    row("the manifest", lambda count: size(count * LINE))
    row("the driver's memory for it", lambda count: size(count * 8))


if __name__ == "__main__":
    main()
