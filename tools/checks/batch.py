"""Many photographs encoded and decoded by one worker and by two, undisturbed and with kills.

    python -m tools.checks.batch photos/                             1,000 images of 768 x 512 through Ray
    python -m tools.checks.batch --images 20 --jobs 1                the sample's pieces, one worker: whether it works
    python -m tools.checks.batch photos/ --kill                      also: a worker killed every 30 s, the run once
    python -m tools.checks.batch photos/ --driver local              processes of this machine
    python -m tools.checks.batch --listed 1000 --listed 100000       the driver's memory, with workers that do nothing

Images are pieces of a photograph, or of a folder's, mirrored and turned over. Every run is a `leechcodec` process of
its own, start and weights included, with a manifest and --skip-existing. With --kill one of its workers is sent SIGKILL
every so many seconds, and half of the way through the run itself; the same command then goes on. Exit status 1 where a
file is missing or not that of the first run, where something else is left beside them, where the manifest does not have
each image once, where a killed run leaves workers behind, or two workers are less than --ratio times as fast as one.
Linux: workers are looked up in /proc.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from leechcodec.apps.batch.drivers import Workers
from leechcodec.apps.batch.files import Existing, run_files
from leechcodec.apps.batch.manifest import Manifest
from leechcodec.apps.batch.names import Names
from leechcodec.apps.batch.tasks import Outcome, Task
from tools.checks.workers import POLL, WORKERS, gone, pieces, workers

A_FOLDER = 1000
"""Files of a simulated folder."""
NOTHING = {
    "width": 1, "height": 1, "bytes": 1, "bpp": 8.0, "quality": 50.0, "seconds": 0.0, "effort": 1, "psnr": 30.0,
    "remarks": [], "missing": [], "read": 1, "written": 1, "warnings": [],
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A command over the files of a folder, all in the same order."""

    verb: str
    source: Path
    out: Path
    driver: str
    jobs: int
    options: tuple[str, ...]

    @property
    def manifest(self) -> Path:
        return self.out.with_suffix(".jsonl")

    @property
    def log(self) -> Path:
        return self.out.with_suffix(".log")

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "leechcodec", self.verb, str(self.source), "-o", str(self.out)]
        command += ["--skip-existing", "--manifest", str(self.manifest), "--jobs", str(self.jobs), *self.options]
        with open(self.log, "ab") as log:
            return subprocess.Popen(command + ["--ray"] * (self.driver == "ray"), stdout=log, stderr=log)

    def finish(self, process: subprocess.Popen) -> None:
        if process.wait():
            sys.exit(f"{self.verb}, {self.driver}, {self.jobs} jobs: {self.log.read_text()[-2000:]}")

    def done(self) -> int:
        """Images in the manifest."""
        return self.manifest.read_bytes().count(b"\n") if self.manifest.exists() else 0


@dataclass
class Kills:
    """workers, runs: killed. outlived: whether workers outlived their run."""

    workers: int = 0
    runs: int = 0
    outlived: bool = False


def disturbed(run: Run, process: subprocess.Popen, images: int, every: float) -> tuple[subprocess.Popen, Kills]:
    """Kill a worker every so many seconds, and the run once; returns the process that ended by itself."""
    kills, last = Kills(), time.monotonic()
    while process.poll() is None:
        time.sleep(POLL)
        if not kills.runs and run.done() >= images / 2:
            left = workers(process.pid, run.driver)
            process.kill()
            process.wait()
            kills.runs, kills.outlived = 1, not gone(left, WORKERS[run.driver])
            process = run.start()
        elif time.monotonic() - last >= every and (there := workers(process.pid, run.driver)):
            os.kill(there[0], signal.SIGKILL)
            kills.workers, last = kills.workers + 1, time.monotonic()
    return process, kills


def problems(run: Run, images: int, wanted: dict[str, bytes] | None) -> list[str]:
    """What is wrong with a run's files and its manifest. wanted: the files' contents, where they are known."""
    found = {path.name: path.read_bytes() for path in run.out.iterdir()}
    names = [json.loads(line)["name"] for line in run.manifest.read_text().splitlines()]
    wrong = []
    if len(found) != images or any(name.startswith(".") for name in found):
        wrong.append(f"{len(found)} files in place of {images}: {sorted(found)[:3]}")
    if len(names) != images or len(set(names)) != images:
        wrong.append(f"{len(names)} lines in the manifest, {len(set(names))} names, in place of {images}")
    if wanted is not None and found != wanted:
        wrong.append(f"other contents: {[name for name in sorted(found) if wanted.get(name) != found[name]][:3]}")
    return wrong


def compared(args: argparse.Namespace, folder: Path) -> bool:
    """Whether anything is wrong: every verb, by one worker and by several."""
    failed, source = False, folder / "in"
    source.mkdir()
    pieces(args.photographs, args.images, tuple(args.size), source)
    options = ("--model", args.model) if args.model else ()
    print(f"{args.images} images of {args.size[0]} x {args.size[1]}, quality {args.quality}, driver {args.driver}:\n")
    print("| verb | workers | killed | time | images/s | files |\n|---|---|---|---|---|---|", flush=True)
    for verb in ("encode", "decode"):
        own = (*options, "-q", args.quality) if verb == "encode" else options
        first, times = None, []
        for jobs, kill in [*((jobs, False) for jobs in args.jobs), *[(args.jobs[-1], True)] * args.kill]:
            run = Run(verb, source, folder / f"{verb}-{jobs}-{kill}", args.driver, jobs, own)
            started, process, kills = time.perf_counter(), run.start(), Kills()
            if kill:
                process, kills = disturbed(run, process, args.images, args.every)
            run.finish(process)
            seconds = time.perf_counter() - started
            wrong = problems(run, args.images, first) + ["workers outlive their run"] * kills.outlived
            wrong += ["nothing was killed: give it more images"] * (kill and not (kills.workers and kills.runs))
            failed |= bool(wrong)
            first = first or {path.name: path.read_bytes() for path in run.out.iterdir()}
            times += [] if kill else [seconds]
            killed = f"{kills.workers} workers, {kills.runs} run" if kill else "–"
            speed = f"{seconds:.1f} s | {args.images / seconds:.2f}"
            print(f"| {verb} | {jobs} | {killed} | {speed} | {'; '.join(wrong) or 'equal'} |", flush=True)
        if len(times) > 1:
            failed |= times[0] / times[-1] < args.ratio
            print(f"| {verb} | {args.jobs[-1]} against {args.jobs[0]} | | {times[0] / times[-1]:.2f} | | |", flush=True)
        source = folder / f"encode-{args.jobs[0]}-False"
    return failed


# --- memory ----------------------------------------------------------------------------------------------------


class Idle:
    """Does nothing, and says that all went well."""

    def __call__(self, task: Task) -> Outcome:
        return Outcome(task.number, about=json.dumps(NOTHING).encode())


def listed(driver: str, jobs: int, folder: Path, manifest: Path) -> None:
    """A run over a tree of files in this process; prints how many images, seconds, and its peak of memory in kB."""
    execute = Workers(jobs, by_ray=driver == "ray").executor(Idle, 1)
    names = Names((str(folder),), str(folder / "out"), ".lq", {".png"}, recursive=True)
    lines = Manifest(manifest)
    summary = run_files(names, execute, Existing(skip=True), manifest=lines)
    lines.close()
    print(json.dumps([summary.done, summary.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


def measured_memory(args: argparse.Namespace, folder: Path) -> bool:
    """Whether images are lost, or the driver's memory grows by more than --growth from the first count to the last."""
    print("| driver | listed images | time | peak memory of the driver |\n|---|---|---|---|", flush=True)
    peaks, failed = [], False
    for count in args.listed:
        tree = folder / str(count)
        for number in range(count):
            if number % A_FOLDER == 0:
                (tree / f"{number // A_FOLDER:06}").mkdir(parents=True)
            (tree / f"{number // A_FOLDER:06}" / f"photograph-{number:09}.png").touch()
        command = [sys.executable, "-m", "tools.checks.batch", "--driver", args.driver, "--jobs", str(args.jobs[0])]
        command += ["--of", str(tree), str(folder / f"{count}.jsonl")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        images, seconds, peak = json.loads(done.stdout.splitlines()[-1])
        failed |= images != count
        peaks.append(peak)
        print(f"| {args.driver} | {images:,} | {seconds:.1f} s | {peak / 1000:.1f} MB |", flush=True)
    return failed or peaks[-1] > args.growth * peaks[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photographs", type=Path, nargs="?", default=Path("data/sample.png"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs=2, default=(768, 512), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--quality", default="50")
    parser.add_argument("--model", help="name or folder")
    parser.add_argument("--driver", choices=WORKERS, default="ray")
    parser.add_argument("--jobs", type=int, nargs="+", default=(1, 2), help="worker counts to compare")
    parser.add_argument("--ratio", type=float, default=1.8, help="fail below this one")
    parser.add_argument("--kill", action="store_true", help="also a run with kills")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two kills of a worker")
    parser.add_argument("--listed", type=int, action="append", help="measure memory with so many tiny files")
    parser.add_argument("--growth", type=float, default=1.05, help="fail where memory grows by more than this factor")
    parser.add_argument("--of", type=Path, nargs=2, metavar=("FOLDER", "MANIFEST"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of:
        listed(args.driver, args.jobs[0], *args.of)
        return
    work = partial(measured_memory if args.listed else compared, args)
    with tempfile.TemporaryDirectory() as name:
        failed = work(Path(name))
    sys.exit(failed)


if __name__ == "__main__":
    main()
