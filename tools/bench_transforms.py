"""The transforms within a process, torch's and ONNX Runtime's: processor time of a picture, in turns.

    taskset -c 0 python -m tools.bench_transforms photo.png [--quality 50] [--repeat 9]

A line for each runtime: the least and the median of encoding (analysis, questions and answers, to the last stage) and
of decoding (synthesis). The first run of each, which builds what it needs, is not counted.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from PIL import Image

from leechcodec.codec.canvas import padded_pixels
from leechcodec.codec.model_store import LoadedModel, load_model
from leechcodec.networks.runtime import RUNTIMES, use_runtime


def seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def runs(loaded: LoadedModel, image: Image.Image, quality: float) -> tuple[float, float]:
    """Seconds to encode and to decode."""
    pixels = padded_pixels(image)
    codes = loaded.transforms.encode(pixels, quality)
    encoding = seconds(lambda: loaded.transforms.encode(pixels, quality))
    height, width = pixels.shape[2:]
    return encoding, seconds(lambda: loaded.transforms.decode(codes, height, width, quality, lambda _: None))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--quality", type=float, default=50.0)
    parser.add_argument("--repeat", type=int, default=9)
    args = parser.parse_args()
    image, models, found = Image.open(args.image).convert("RGB"), {}, {name: [] for name in RUNTIMES}
    for name in RUNTIMES:
        use_runtime(name)
        models[name] = load_model()
    for turn in range(args.repeat + 1):
        for name, rows in found.items():
            row = runs(models[name], image, args.quality)
            rows += [row] if turn else []
    for name, rows in found.items():
        told = (f"{min(column):.2f}, {statistics.median(column):.2f} s" for column in zip(*rows))
        print(f"{name:<6}" + "".join(f"{cell:>16}" for cell in told))


if __name__ == "__main__":
    main()
