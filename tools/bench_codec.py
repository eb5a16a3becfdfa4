"""Seconds of encoding and decoding pictures, beside another checkout, the two taking turns.

    taskset -c 0 python -m tools.bench_codec IMAGE... --beside CHECKOUT [--quality 10 55 90] [--repeats 3] [--threads 1]

With one thread the seconds are the processor's, with more the clock's. Each checkout codes with its own model in a
process of its own, its kernels compiled before. The best of the repeats counts. "tokens" is decoding a file to its
tokens: prior, masses and coding, without the picture.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

WORKER = """
import json, sys, time
import torch
from PIL import Image
try:
    from leechcodec.codec import api
except ImportError:  # before 2026-11-28
    from leechcodec import codec as api
threads = int(sys.argv[1])
torch.set_num_threads(threads)
now = time.process_time if threads == 1 else time.perf_counter

def seconds(function, *inputs, **options):
    start = now()
    result = function(*inputs, **options)
    return now() - start, result

for line in sys.stdin:
    path, quality = json.loads(line)
    with Image.open(path) as file:
        image = file.convert("RGB")
    encoding, data = seconds(api.compress, image, quality=quality)
    print(json.dumps([encoding, seconds(api.decompress, data)[0], seconds(api.read_tokens, data)[0], len(data)]))
    sys.stdout.flush()
"""


class Checkout:
    """A process that codes with the package of a folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        environment["PYTHONPATH"] = str(folder)
        command = [sys.executable, "-c", WORKER, str(threads)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, image: Path, quality: float) -> list[float]:
        """Seconds of encoding, decoding and reading tokens, and the bytes of the file."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(image), quality]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--beside", type=Path, required=True)
    parser.add_argument("--quality", type=float, nargs="+", default=[10.0, 55.0, 90.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    checkouts = [
        Checkout(folder, args.threads) for folder in (args.beside.resolve(), Path(__file__).resolve().parents[1])
    ]
    print("| image | q | checkout | encode | decode | tokens | bytes |\n|" + "---|" * 7)
    for image in (path.resolve() for path in args.images):
        for quality in args.quality:
            runs: list[list[list[float]]] = [[], []]
            for _ in range(args.repeats + 1):
                for found, checkout in zip(runs, checkouts, strict=True):
                    found.append(checkout.measure(image, quality))
            best = [[min(column) for column in zip(*found[1:], strict=True)] for found in runs]
            for name, row in zip(("beside", "this"), best, strict=True):
                times = " | ".join(f"{value:.3f} s" for value in row[:3])
                print(f"| {image.stem} | {quality:g} | {name} | {times} | {row[3]:.0f} |")
            ratios = " | ".join(f"{a / b:.2f}" for a, b in zip(best[0][:3], best[1][:3], strict=True))
            print(f"| {image.stem} | {quality:g} | ratio | {ratios} | {best[1][3] / best[0][3]:.4f} |", flush=True)
    for checkout in checkouts:
        checkout.close()


if __name__ == "__main__":
    main()
