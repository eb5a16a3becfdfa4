"""Throw damaged files at the container and at the decoder: only LqError may come out, in bounded time and memory.

    python tools/fuzz.py containers --count 1000000
    python tools/fuzz.py decodes --count 20000
    python tools/fuzz.py prefixes

Files of a tiny untrained model, mutated by tests/mutations.py from a seed. A case may take a second plus ten a
declared megapixel, and the process may grow by 200 MB over all of them. An input that breaks a rule is written to
--keep, and the exit status is 1.
"""

import argparse
import contextlib
import io
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leechcodec import codec
from leechcodec.bitstream import read_file, read_header
from leechcodec.checkpoint import save_model
from leechcodec.errors import LqError
from leechcodec.extras import Extras
from tests.mutations import mutate
from tests.tiny import tiny_model

MAX_PIXELS = 300_000
"""A declared size beyond it is refused before the decoder works; within it a decode takes little time."""
GROWTH = 200
"""MB."""


def seeds(model: Path) -> list[bytes]:
    """Sound files of several sizes and qualities, with and without transparency and metadata."""
    files, rng = [], np.random.default_rng(0)
    for size, quality in (((1, 1), 1), ((70, 65), 100), ((64, 64), 50), ((130, 20), 30)):
        image = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
        files.append(codec.compress(image, quality=quality, model=model))
        image.putalpha(Image.linear_gradient("L").resize(size))
        image.info |= {"xmp": b"<x/>", "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}
        files.append(codec.compress(image, quality=quality, model=model))
    return files


def container(data: bytes, model: Path) -> None:
    """What a reader does before it decodes."""
    _, chunks = read_file(data)
    extras = Extras.of_chunks(chunks)
    if extras.alpha is not None:
        extras.add_to(Image.new("RGB", (1, 1)))


def decode(data: bytes, model: Path) -> None:
    """Both decoders: the strict one last, because its error is the usual end."""
    with contextlib.suppress(LqError):
        codec.decompress_partial(data, model=model, max_pixels=MAX_PIXELS)
    codec.decompress(data, model=model, max_pixels=MAX_PIXELS).save(io.BytesIO(), "PPM")


def limit_s(data: bytes) -> float:
    """Seconds that a file of its declared size may take."""
    try:
        header, _ = read_header(data, max_pixels=MAX_PIXELS)
    except LqError:
        return 1.0
    return 1.0 + 10 * header.width * header.height / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def cases(mode: str, files: list[bytes], count: int, seed: int):
    """(name, bytes) of every case."""
    if mode == "prefixes":
        for number, data in enumerate(files):
            for length in range(len(data)):
                yield f"prefix-{number}-{length}", data[:length]
        return
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield f"{mode}-{seed}-{number}", mutate(rng, files[rng.integers(len(files))], files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=("containers", "decodes", "prefixes"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        model = Path(work) / "tiny"
        save_model(model, tiny_model())
        files = seeds(model)
        target = container if args.mode == "containers" else decode
        for data in files:
            decode(data, model)  # sound, and everything compiled before anything is timed
        outcomes, broken, slowest, before = Counter(), 0, (0.0, ""), peak_mb()
        for name, data in cases(args.mode, files, args.count, args.seed):
            started, problem = time.perf_counter(), None
            try:
                target(data, model)
                outcomes["decoded"] += 1
                problem = "a prefix decoded" if args.mode == "prefixes" else None
            except LqError as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            elapsed = time.perf_counter() - started
            slowest = max(slowest, (elapsed, name))
            if elapsed > limit_s(data):
                problem = problem or f"{elapsed:.1f} s"
            if problem:
                broken += 1
                args.keep.mkdir(parents=True, exist_ok=True)
                (args.keep / f"{name}.lq").write_bytes(data)
                print(f"{name}: {problem}", flush=True)
        grown = peak_mb() - before
    print(f"{sum(outcomes.values()) + broken:,} cases: {dict(outcomes.most_common())}")
    print(f"{broken} broken; slowest {slowest[0]:.2f} s ({slowest[1]}); memory grew by {grown:.0f} MB")
    sys.exit(broken > 0 or grown > GROWTH)


if __name__ == "__main__":
    main()
