"""Kill an encoder at random moments over an existing output: the old file or the new one, never anything else.

    python -m tools.checks.kill photo.png --count 200

Every run is a process of its own, killed (SIGKILL) after a random time of up to half as long again as a whole run
takes. Temporary files that a killed process leaves behind are counted and removed; they never have the output's name.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, counts = random.Random(args.seed), {"old": 0, "new": 0, "other": 0}
    with tempfile.TemporaryDirectory() as work:
        target, leftovers = Path(work) / "out.lq", 0

        def command(quality: int) -> list[str]:
            program = [sys.executable, "-m", "leechcodec", "encode", str(args.image)]
            return [*program, "-f", "-q", str(quality), "-o", str(target)]

        contents = {}
        for quality in (20, 30):
            started = time.perf_counter()
            subprocess.run(command(quality), check=True)
            whole = time.perf_counter() - started
            contents[quality] = target.read_bytes()
        quality, old = 20, contents[30]
        for _ in range(args.count):
            process = subprocess.Popen(command(quality))
            time.sleep(rng.uniform(0, 1.5 * whole))
            process.kill()
            process.wait()
            found = target.read_bytes() if target.exists() else b""
            kind = "old" if found == old else "new" if found == contents[quality] else "other"
            counts[kind] += 1
            if kind == "new":  # the next run writes the other one over it
                old, quality = contents[quality], 50 - quality
            for path in Path(work).iterdir():
                if path != target:
                    leftovers += 1
                    path.unlink()
    print(f"{args.count} kills: {counts}; {leftovers} temporary files left behind")
    sys.exit(counts["other"] > 0)


if __name__ == "__main__":
    main()
