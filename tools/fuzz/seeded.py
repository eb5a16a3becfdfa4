"""Throw damaged files at the container and at the decoder: only LqError may come out, in bounded time and memory.

    python -m tools.fuzz.seeded containers --count 1000000
    python -m tools.fuzz.seeded decodes --count 20000
    python -m tools.fuzz.seeded prefixes

Files of a tiny untrained model: mutated by leechcodec.testing.mutations from a seed, or cut off after every byte. A
prefix must be refused, and the picture that is made of its whole chunks must be the one that their tokens make alone.
A case may take a second plus ten per declared megapixel, and the process may grow by 200 MB over all of them. An input
that breaks a rule is written to --keep, and the exit status is 1.
"""

import argparse
import contextlib
import io
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import save_model
from leechcodec.codec.token_coding import token_chunks
from leechcodec.errors import LqError
from leechcodec.formats.container import read_file, read_header, salvage
from leechcodec.formats.side_data import SideData
from leechcodec.testing.mutations import mutate
from leechcodec.testing.tiny import tiny_model

MAX_PIXELS = 300_000
"""A declared size beyond it is refused before the decoder works; within it a decode takes little time."""
GROWTH = 200
"""MB."""


SEEDS = (((1, 1), 1), ((70, 65), 100), ((64, 64), 50), ((130, 20), 30))
MORE_SEEDS = (((3, 200), 60), ((65, 64), 75), ((90, 40), 10), ((64, 129), 45), ((128, 64), 88), ((31, 31), 100),
              ((200, 3), 29.99), ((100, 100), 59.5))  # fmt: skip
"""Width and height in pixels, quality."""


def seeds(model: Path, kinds: Sequence[tuple[tuple[int, int], float]] = SEEDS) -> list[bytes]:
    """Sound files of several sizes and qualities, each with and without transparency and metadata."""
    files, rng = [], np.random.default_rng(0)
    for size, quality in kinds:
        image = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
        files.append(api.compress(image, quality=quality, model=model))
        image.putalpha(Image.linear_gradient("L").resize(size))
        image.info |= {"xmp": b"<x/>", "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}
        files.append(api.compress(image, quality=quality, model=model))
    return files


def container(data: bytes, model: Path) -> None:
    """What a reader does before it decodes."""
    _, chunks = read_file(data)
    extras = SideData.of_chunks(chunks)
    if extras.alpha is not None:
        extras.add_to(Image.new("RGB", (1, 1)))


def decode(data: bytes, model: Path) -> None:
    """Both decoders: the strict one last, because its error is the usual end."""
    with contextlib.suppress(LqError):
        api.decompress_partial(data, model=model, max_pixels=MAX_PIXELS)
    api.decompress(data, model=model, max_pixels=MAX_PIXELS).save(io.BytesIO(), "PPM")


class Prefixes:
    """Decodes what is left of a sound file and compares it with what the sound file's tokens make."""

    def __init__(self, files: list[bytes], model: Path) -> None:
        self.whole = [api.read_tokens(data, model=model) for data in files]
        self.config = api.load_model(model).config
        self.pictures: dict[tuple[int, int], np.ndarray] = {}

    def check(self, number: int, data: bytes, model: Path) -> str:
        """What is wrong with the answer to a prefix of file `number`; empty if nothing. LqError if it is refused."""
        tokens = self.whole[number]
        with contextlib.suppress(LqError):
            image, missing = api.decompress_partial(data, model=model)
            chunks = token_chunks(salvage(data)[1])
            layout, held = tokens.layout(self.config).as_encoded(), len(chunks)
            kept = sum(layout.chunk(stage) < held for stage in range(len(tokens.codes)))
            if (number, kept) not in self.pictures:
                coarse = replace(tokens, codes=tokens.codes[:kept])
                self.pictures[number, kept] = np.asarray(api.detokenize(coarse, model=model))
            if not missing:
                return "a partial picture without a word of what is missing"
            if not np.array_equal(np.asarray(image.convert("RGB")), self.pictures[number, kept]):
                return "a partial picture that its tokens do not make"
        api.decompress(data, model=model)
        return "a prefix decoded"


def limit_s(data: bytes) -> float:
    """Seconds that a file of its declared size may take."""
    try:
        header, _ = read_header(data, max_pixels=MAX_PIXELS)
    except LqError:
        return 1.0
    return 1.0 + 10 * header.width * header.height / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def cases(mode: str, files: list[bytes], count: int, seed: int) -> Iterator[tuple[str, int, bytes]]:
    """Name, number of the file it comes from, and bytes of every case."""
    if mode == "prefixes":
        for number, data in enumerate(files):
            for length in range(len(data)):
                yield f"prefix-{number}-{length}", number, data[:length]
        return
    rng = np.random.default_rng(seed)
    for case in range(count):
        number = int(rng.integers(len(files)))
        yield f"{mode}-{seed}-{case}", number, mutate(rng, files[number], files)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mode", choices=("containers", "decodes", "prefixes"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        model = Path(work) / "tiny"
        save_model(model, tiny_model())
        files = seeds(model, SEEDS + MORE_SEEDS if args.mode == "prefixes" else SEEDS)
        for data in files:
            decode(data, model)  # sound, and everything compiled before anything is timed
        prefixes = Prefixes(files, model)
        outcomes, broken, slowest, before = Counter(), 0, (0.0, ""), peak_mb()
        for name, number, data in cases(args.mode, files, args.count, args.seed):
            started, problem = time.perf_counter(), ""
            try:
                if args.mode == "prefixes":
                    problem = prefixes.check(number, data, model)
                else:
                    (container if args.mode == "containers" else decode)(data, model)
                    outcomes["decoded"] += 1
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
    print(f"{sum(outcomes.values()):,} cases of {len(files)} files: {dict(outcomes.most_common())}")
    if args.mode == "prefixes":
        print(f"{len(prefixes.pictures)} partial pictures, each as its tokens alone make it")
    print(f"{broken} broken; slowest {slowest[0]:.2f} s ({slowest[1]}); memory grew by {grown:.0f} MB")
    sys.exit(broken > 0 or grown > GROWTH)


if __name__ == "__main__":
    main()
