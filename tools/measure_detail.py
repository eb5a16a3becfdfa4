"""The detail layer beside AVIF: rate and PSNR above the dial, and the BD-rate over a range of PSNR.

    python -m tools.measure_detail KODAK/05.png KODAK/23.png …

Tokens of quality 85 and a layer of each step, in the bytes of a file; AVIF is Pillow's, 4:4:4 at speed 4. Times are CPU
seconds of one thread. The BD-rate of each picture is taken over the PSNR that both reach.
"""

import argparse
import io
import statistics
import time
from pathlib import Path

import bjontegaard
import numpy as np
import torch
from PIL import Image

from leechcodec.codec import pipeline
from leechcodec.codec.detail_layer import BASE_QUALITY, detail_chunk, with_detail
from leechcodec.codec.distortion import psnr
from leechcodec.codec.model_store import load_model

STEPS = (8.0, 5.0, 3.0, 2.0, 1.2, 0.7)
QUALITIES = (55, 70, 80, 87, 92, 95, 98)
Curve = list[tuple[float, float]]
"""Points (bpp, dB)."""


def layered(picture: Image.Image) -> tuple[Curve, float, float]:
    """The curve of the layer; seconds to decode base and layer at the step nearest to 42 dB, and the base alone."""
    loaded, prepared = load_model(), pipeline.prepare(picture)
    tokens = pipeline.analyse(loaded, prepared.pixels, prepared.size, quality=BASE_QUALITY)
    started = time.process_time()
    decoded = pipeline.synthesise(loaded, tokens)
    base, curve, times = time.process_time() - started, [], []
    for step in STEPS:
        chunk, found = detail_chunk(prepared.colours, decoded, step)
        data = pipeline.pack(loaded, tokens, prepared.side_data, detail=chunk)
        started = time.process_time()
        with_detail(decoded, [chunk])
        curve.append((8 * len(data) / (picture.width * picture.height), psnr(prepared.colours, np.asarray(found))))
        times.append((abs(curve[-1][1] - 42), time.process_time() - started))
    return curve, base, min(times)[1]


def avif(picture: Image.Image) -> Curve:
    curve = []
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, "AVIF", quality=quality, speed=4, subsampling="4:4:4")
        decoded = np.asarray(Image.open(file).convert("RGB"))
        bpp = 8 * len(file.getvalue()) / (picture.width * picture.height)
        curve.append((bpp, psnr(np.asarray(picture), decoded)))
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rates = []
    for path in args.images:
        picture = Image.open(path).convert("RGB")
        (own, base, layer), other = layered(picture), avif(picture)
        points = [np.array(column) for curve in (other, own) for column in zip(*curve)]
        rates.append(
            bjontegaard.bd_rate(*points, method="akima", require_matching_points=False, min_overlap=0)  # pyright: ignore[reportArgumentType]
        )
        for name, curve in (("layer", own), ("AVIF", other)):
            print(f"{path.name} {name}: " + ", ".join(f"{bpp:.3f} bpp {level:.2f} dB" for bpp, level in curve))
        print(f"{path.name}: BD-rate {rates[-1]:+.1f} %; synthesis {base:.2f} s, layer {layer:.2f} s", flush=True)
    print(f"mean BD-rate {statistics.mean(rates):+.1f} %")


if __name__ == "__main__":
    main()
