"""Shards of tokens by one worker and by two, here and through Ray, undisturbed and with a kill halfway.

    python -m tools.checks.tokenize photos/                                      1,000 images of 768 x 512
    python -m tools.checks.tokenize photos/ --images 12 --shard-size 4 --ratio 0      whether it works
    python -m tools.checks.tokenize photos/ --executor local                     without Ray

Images are pieces of the photographs of a folder, mirrored and turned over. Every run is a `leechcodec tokenize` process
of its own, start and weights included. "worker killed" is SIGKILL to one of its workers when half of the images are
done; "run killed" is SIGKILL to the process itself then, and the command again. Exit status 1 where an image is missing
or there twice, a shard's bytes are not those of the first run, a killed run leaves workers behind, or two workers are
less than --ratio times as fast as one. Linux: workers are looked up in /proc.
"""

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.checks.workers import POLL, WORKERS, gone, pieces, workers


@dataclass(frozen=True)
class Run:
    """A command over the images. out: the shards' folder."""

    source: Path
    out: Path
    executor: str
    jobs: int
    options: tuple[str, ...]

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "leechcodec", "tokenize", str(self.source)]
        command += ["-o", str(self.out / "tokens-%06d.tar"), "--jobs", str(self.jobs), *self.options]
        log = open(self.out.with_suffix(".log"), "ab")  # noqa: SIM115 (the process's)
        with log:
            return subprocess.Popen(command + ["--ray"] * (self.executor == "ray"), stdout=log, stderr=log)

    def finish(self, process: subprocess.Popen) -> None:
        if process.wait():
            sys.exit(f"{self.executor}, {self.jobs} jobs: {self.out.with_suffix('.log').read_text()[-2000:]}")

    def done(self, shard_size: int) -> int:
        """Images that are on disk."""
        parts = list((self.out / "tokens-parts").glob("*.tar"))
        return len(parts) + shard_size * len(list(self.out.glob("*.tar")))


def kill_halfway(process: subprocess.Popen, run: Run, images: int, shard_size: int, whole: bool) -> list[int]:
    """Kill a worker, or the whole run; returns the workers there were."""
    while process.poll() is None and run.done(shard_size) < images / 2:
        time.sleep(POLL)
    there = workers(process.pid, run.executor)
    if process.poll() is not None or not there:
        sys.exit(f"{run.executor}: no worker to kill; give it more images")
    os.kill(process.pid if whole else there[0], signal.SIGKILL)
    return there


def shards(folder: Path, images: int) -> dict[str, bytes]:
    """Contents of the shards by name; ends the program where a sample is missing or doubled."""
    names = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            names += archive.getnames()
    wanted = [f"{number:09}.{ending}" for number in range(images) for ending in ("json", "safetensors")]
    if names != wanted:
        missing, doubled = set(wanted) - set(names), {name for name in names if names.count(name) > 1}
        sys.exit(f"{folder}: missing {sorted(missing)[:5]}, doubled {sorted(doubled)[:5]}, of {len(names)} members")
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs=2, default=(768, 512), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--shard-size", type=int, default=250)
    parser.add_argument("--quality", default="50")
    parser.add_argument("--model", help="name or folder")
    parser.add_argument("--executor", choices=WORKERS, action="append", help="default: both")
    parser.add_argument("--ratio", type=float, default=1.6, help="fail below this one")
    args = parser.parse_args()
    options = ("-q", args.quality, "--shard-size", str(args.shard_size))
    options += ("--model", args.model) if args.model else ()
    failed, first = False, None
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "in")
        source.mkdir()
        pieces(args.photographs, args.images, tuple(args.size), source)

        def timed(executor: str, jobs: int, what: str, disturb: Callable | None = None) -> float:
            nonlocal failed, first
            run = Run(source, Path(name, f"{executor}-{jobs}-{what.replace(' ', '-')}"), executor, jobs, options)
            started, process = time.perf_counter(), run.start()
            if disturb:
                process = disturb(run, process)
            run.finish(process)
            seconds = time.perf_counter() - started
            found = shards(run.out, args.images)
            first = first or found
            failed |= found != first
            equal = "equal" if found == first else "**other**"
            print(
                f"| {executor} | {jobs} | {what} | {seconds:.1f} s | {args.images / seconds:.2f} | {equal} |",
                flush=True,
            )
            return seconds

        def worker_killed(run: Run, process: subprocess.Popen) -> subprocess.Popen:
            kill_halfway(process, run, args.images, args.shard_size, whole=False)
            return process

        def run_killed(run: Run, process: subprocess.Popen) -> subprocess.Popen:
            nonlocal failed
            left = kill_halfway(process, run, args.images, args.shard_size, whole=True)
            process.wait()
            if not gone(left, WORKERS[run.executor]):
                failed = True
                print(f"{run.executor}: workers {left} outlive their run", file=sys.stderr)
            return run.start()

        print(f"{args.images} images of {args.size[0]} x {args.size[1]}, quality {args.quality}:\n")
        print("| executor | workers | | time | images/s | shards |")
        print("|---|---|---|---|---|---|", flush=True)
        for executor in args.executor or WORKERS:
            alone, both = (timed(executor, jobs, "undisturbed") for jobs in (1, 2))
            timed(executor, 2, "worker killed", worker_killed)
            timed(executor, 2, "run killed", run_killed)
            failed |= alone / both < args.ratio
            print(f"| {executor} | | two against one | {alone / both:.2f} | | |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
