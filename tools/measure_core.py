"""What a whole process takes to encode and to decode a picture, with the interpreters of several environments.

    python -m tools.measure_core photo.png [--python OTHER/bin/python …] [--repeat 5] [--runtime onnx]

One line an environment: its size on disk, then seconds on the clock, seconds of processor time (both the least of all
runs) and the peak of memory of `leechcodec encode` and `decode`. The first run, which compiles, is not counted.
Processor time is what the clock would show on one idle core; with other work beside it the clock shows more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import json, os, resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run([sys.executable, "-m", "leechcodec", *sys.argv[1:]], capture_output=True)
seconds = time.monotonic() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
if done.returncode:
    sys.exit(done.stderr.decode())
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def measured(python: str, environment: dict[str, str], *arguments: str) -> list[float]:
    """Seconds on the clock, seconds of processor time and peak memory in MB of one run."""
    command = [python, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return json.loads(done.stdout)


def size(python: str) -> float:
    """Bytes of an interpreter's environment, in MB."""
    program = "import sys; print(sys.prefix)"
    folder = Path(subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip())
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_blocks * 512 for path in paths) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--python", action="append", help="an interpreter that has leechcodec  [default: this one]")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--runtime", choices=("torch", "onnx"))
    args = parser.parse_args()
    environment = {"LEECHCODEC_RUNTIME": args.runtime} if args.runtime else {}
    print("environment | MB on disk | encode: clock, processor, MB | decode: clock, processor, MB")
    for python in args.python or [sys.executable]:
        cells = []
        with tempfile.TemporaryDirectory() as folder:
            coded, decoded = f"{folder}/coded.lq", f"{folder}/decoded.png"
            encode = "encode", "-f", "--quiet", args.image, "-o", coded
            for command in (encode, ("decode", "-f", coded, "-o", decoded)):
                runs = [measured(python, environment, *command) for _ in range(args.repeat + 1)][1:]
                clocks, processors, peaks = zip(*runs)
                clock, processor, memory = min(clocks), min(processors), max(peaks)
                cells.append(f"{clock:.2f} s, {processor:.2f} s, {memory:.0f} MB")
        print(" | ".join([python, f"{size(python):.0f}", *cells]))


if __name__ == "__main__":
    main()
