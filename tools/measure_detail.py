"""The dial above its entry beside other codecs: BD-rates of each picture, in PSNR and SSIMULACRA2.

    python -m tools.measure_detail KODAK/*.png
    python -m tools.measure_detail KODAK/*.png --every 4       SSIMULACRA2 of every fourth picture alone

Against AVIF 4:4:4 at speed 4, JPEG XL at effort 7, and WebP, over what both reach: the settings lie about 37 to 47 dB.
Times are CPU seconds of one thread.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.detail_layer import with_detail
from leechcodec.codec.distortion import psnr
from leechcodec.codec.drafts import Drawing
from leechcodec.codec.model_store import load_model
from leechcodec.formats.container import read_file
from leechcodec.lab.bdrate import bd_rate
from leechcodec.lab.curves import PSNR, SSIMULACRA2, Curve
from leechcodec.lab.metrics import ssimulacra2
from leechcodec.lab.peers.registry import adapter

QUALITIES = (91, 92, 93.5, 95, 97)
PEERS = {"avif": (77, 88, 94, 99), "jxl-7": (89, 94, 97, 99), "webp": (86, 92, 97, 100)}
TIMED = 95
"""The quality whose decoding is timed: about 42 dB."""
Point = tuple[int, Image.Image]
"""Bytes of a file, and the picture in it."""


def own(picture: Image.Image) -> tuple[list[Point], float, float]:
    """The points of the dial; seconds to decode a file's tokens to their picture, and its layer."""
    drawing, points, times = Drawing(load_model(), pipeline.prepare(picture)), [], (0.0, 0.0)
    for quality in QUALITIES:
        draft = drawing.draft(quality, shown=True)
        data = drawing.file(draft)
        points.append((len(data), draft.picture))
        if quality == TIMED:
            times = decoding_times(drawing, data)
    return points, *times


def decoding_times(drawing: Drawing, data: bytes) -> tuple[float, float]:
    started, (header, chunks) = time.process_time(), read_file(data)
    below = pipeline.synthesise(drawing.loaded, pipeline.unpack(drawing.loaded, header, chunks))
    between = time.process_time()
    with_detail(below, chunks)
    return between - started, time.process_time() - between


def of_peer(key: str, picture: Image.Image) -> Iterator[Point]:
    peer = adapter(key)
    for value in PEERS[key]:
        data = peer.encode(picture, peer.setting(value))
        yield len(data), peer.decode(data)


def curve(key: str, picture: Image.Image, points: list[Point], judged: bool) -> Curve:
    """judged: in SSIMULACRA2 too."""
    pixels = np.asarray(picture)
    metrics: dict[str, tuple[float | None, ...]] = {PSNR: tuple(psnr(pixels, np.asarray(found)) for _, found in points)}
    if judged:
        metrics[SSIMULACRA2] = tuple(ssimulacra2(pixels, np.asarray(found)) for _, found in points)
    bpp = tuple(8 * size / (picture.width * picture.height) for size, _ in points)
    return Curve(key, key, False, bpp, metrics)


def told(name: str, of: Curve) -> str:
    points = zip(of.bpp, of.metrics[PSNR], of.values(SSIMULACRA2))
    return f"{name} {of.key}: " + ", ".join(
        f"{bpp:.3f} bpp {level:.2f} dB" + ("" if score is None else f" {score:.1f}") for bpp, level, score in points
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="SSIMULACRA2 of each so many-th picture alone.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rates: dict[tuple[str, str], list[float]] = {}
    for number, path in enumerate(args.images):
        picture, judged = Image.open(path).convert("RGB"), number % args.every == 0
        points, tokens, layer = own(picture)
        ours = curve("leechcodec", picture, points, judged)
        print(told(path.name, ours), flush=True)
        for key in PEERS:
            other = curve(key, picture, list(of_peer(key, picture)), judged)
            print(told(path.name, other))
            for metric in (PSNR, SSIMULACRA2)[: 1 + judged]:
                delta = bd_rate(other, ours, metric)
                if delta.rate is None:
                    print(f"{path.name} against {key} in {metric}: no BD-rate, {delta.reason}")
                    continue
                rates.setdefault((key, metric), []).append(delta.rate)
                print(
                    f"{path.name} against {key} in {metric}: {delta.rate:+.1f} %, {delta.low:.1f} to {delta.high:.1f}"
                )
        print(f"{path.name}: tokens decoded in {tokens:.2f} s, layer in {layer:.2f} s", flush=True)
    for (key, metric), found in rates.items():
        least, most = min(found), max(found)
        print(
            f"against {key} in {metric}: mean {statistics.mean(found):+.1f} %, {least:+.1f} to {most:+.1f} "
            f"({len(found)} pictures)"
        )


if __name__ == "__main__":
    main()
