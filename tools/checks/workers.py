"""What the checks of many images share: photographs in any number, and worker processes to be killed (Linux)."""

import contextlib
import random
import sys
import time
from pathlib import Path

from PIL import Image, ImageOps

from leechcodec.apps.batch.names import PHOTOGRAPHS
from leechcodec.formats.files import files_below

WORKERS = {"local": "multiprocessing.spawn", "ray": "ray::_Actor"}
"""What the command line of a worker process holds, by executor."""
POLL = 0.05
LINGER = 30.0
"""Seconds that the workers of a killed run get to notice."""


def pieces(photographs: Path, count: int, size: tuple[int, int], folder: Path) -> None:
    """Write so many different pieces of a photograph, or of a folder's, each of a size."""
    rng = random.Random(1)
    single = photographs.is_file()
    paths = [photographs] if single else [photographs / name for name in files_below(photographs, PHOTOGRAPHS, False)]
    if not paths:
        sys.exit(f"{photographs}: no photographs")
    for number in range(count):
        image = Image.open(paths[number % len(paths)]).convert("RGB")
        scale = max(1.0, size[0] / image.width, size[1] / image.height)
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        left, top = rng.randint(0, image.width - size[0]), rng.randint(0, image.height - size[1])
        piece = image.crop((left, top, left + size[0], top + size[1]))
        piece = ImageOps.mirror(piece) if rng.random() < 0.5 else piece
        piece = ImageOps.flip(piece) if rng.random() < 0.5 else piece
        piece.save(folder / f"{number:05}.png", compress_level=1)


def workers(root: int, executor: str) -> list[int]:
    """Worker processes among the descendants of a process, that at work for longest first."""
    parents, found = {}, []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parents[int(entry.name)] = int(fields[1])
                if WORKERS[executor] in command and fields[0] != "Z":
                    found.append((-int(fields[11]), int(entry.name)))  # user time

    def below(process: int) -> bool:
        while process in parents and process != root:
            process = parents[process]
        return process == root

    return [process for _, process in sorted(found) if below(process)]


def gone(processes: list[int], kind: str) -> bool:
    """Whether worker processes end within some time."""
    deadline = time.monotonic() + LINGER
    while time.monotonic() < deadline:
        left = []
        for process in processes:
            with contextlib.suppress(OSError):
                left.append(kind.encode() in Path(f"/proc/{process}/cmdline").read_bytes())
        if not any(left):
            return True
        time.sleep(POLL)
    return False
