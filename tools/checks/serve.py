"""The page's server under a busy hand and a crowd: how long a slider move takes, and whether an upload is ever lost.

    python -m tools.checks.serve

A real server process over loopback. First a photograph of about a megapixel, made of data/sample.png, and --moves moves
of the dial, twice. Once as by somebody who looks: the picture, its file, and while the other codecs are being tried at
its size, the next move. Once as by somebody who moves on as soon as there is a picture. Then --uploads at the same
moment; each must be answered or politely refused (503 with Retry-After). Exit status 1 where 95 % of the moves do not
have their picture within --limit seconds, or an upload is lost.
"""

import argparse
import http.client
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, cast

from PIL import Image

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample.png"
PEERS = ("jpeg", "webp", "avif")
PATIENCE = 600
"""Seconds until an answer counts as lost."""


def photograph(megapixels: float) -> bytes:
    """The sample enlarged to so many million pixels, as PNG."""
    image = Image.open(SAMPLE).convert("RGB")
    scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Client:
    """One connection to the server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict, dict]:
        """Status, headers and facts, once the whole answer is here."""
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        response.read()
        return response.status, dict(response.getheaders()), json.loads(response.getheader("X-Leechcodec") or "{}")


def upload(port: int, data: bytes) -> str:
    status, _, facts = Client(port).ask("POST", "/api/pictures", data)
    if status != 200:
        sys.exit(f"the upload was answered {status}")
    return facts["id"]


def compare(port: int, picture: str, size: int) -> None:
    """What the page asks for while the dial rests; stops where the next move makes it pointless."""
    client = Client(port)
    for peer in PEERS:
        if client.ask("GET", f"/api/pictures/{picture}/peers/{peer}?size={size}")[0] != 200:
            return


def move(port: int, picture: str, qualities: list[float], hasty: bool) -> tuple[list[float], list[float]]:
    """Seconds from each move of the dial to its picture, and to its file's size."""
    client, pictures, files, comparing = Client(port), [], [], None
    for quality in qualities:
        started = time.perf_counter()
        status, _, _ = client.ask("GET", f"/api/pictures/{picture}/shown?quality={quality}")
        if status != 200:
            sys.exit(f"a move was answered {status}")
        pictures.append(time.perf_counter() - started)
        if hasty:  # somebody who moves on as soon as there is something to see
            path = f"/api/pictures/{picture}/file?quality={quality}"
            threading.Thread(target=lambda path=path: Client(port).ask("GET", path), daemon=True).start()
            time.sleep(0.15)
            continue
        _, _, facts = client.ask("GET", f"/api/pictures/{picture}/file?quality={quality}")
        files.append(time.perf_counter() - started)
        comparing = threading.Thread(target=compare, args=(port, picture, facts["bytes"]), daemon=True)
        comparing.start()
        time.sleep(0.5)  # so that the next move meets a comparison at work
    if comparing:
        comparing.join()
    return pictures, files


def crowd(port: int, data: bytes, count: int) -> dict[str, int]:
    """So many uploads at the same moment: answered, refused politely, lost."""
    counts: dict[str, int] = dict.fromkeys(("answered", "refused", "lost"), 0)
    lock, ready = threading.Lock(), threading.Barrier(count)

    def one() -> None:
        ready.wait()
        try:
            status, headers, facts = Client(port).ask("POST", "/api/pictures", data)
            polite = status == 503 and "retry-after" in {name.lower() for name in headers}
            outcome = "answered" if status == 200 and "id" in facts else "refused" if polite else "lost"
        except (OSError, http.client.HTTPException):
            outcome = "lost"
        with lock:
            counts[outcome] += 1

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def percentile_95(seconds: list[float]) -> float:
    """The least of them that 95 % do not pass."""
    return sorted(seconds)[-(-95 * len(seconds) // 100) - 1]


def row(name: str, seconds: list[float]) -> str:
    middle, high, longest = statistics.median(seconds), percentile_95(seconds), max(seconds)
    return f"{name:<34} {middle:>7.2f} s {high:>7.2f} s {longest:>7.2f} s   n = {len(seconds)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--uploads", type=int, default=20)
    parser.add_argument("--limit", type=float, default=1.5, help="seconds for 95 %% of the moves")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    command = [sys.executable, "-m", "leechcodec", "serve", "--port", "0"]
    for name in ("model", "threads"):
        if getattr(args, name) is not None:
            command += [f"--{name}", str(getattr(args, name))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r":(\d+)/", cast(IO[str], server.stdout).readline())
        if not address:
            sys.exit("the server did not start")
        port, data, rng = int(address[1]), photograph(args.megapixels), random.Random(1)
        picture = upload(port, data)
        move(port, picture, [50.0], hasty=False)  # memory and thread pools
        calm = [round(rng.uniform(1, 100), 2) for _ in range(args.moves)]
        pictures, files = move(port, picture, calm, hasty=False)
        hasty, _ = move(port, picture, [round(rng.uniform(1, 100), 2) for _ in range(args.moves)], hasty=True)
        image = Image.open(io.BytesIO(data))
        print(f"{image.width} x {image.height} pixels, {os.cpu_count()} cores")
        print(f"{'':<34} {'median':>9} {'95 %':>9} {'longest':>9}")
        print(row("move to picture", pictures))
        print(row("move to picture, moved on at once", hasty))
        print(row("move to size of the file", files))
        counts = crowd(port, data, args.uploads)
        print(f"{args.uploads} uploads at once: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        slow = percentile_95(pictures + hasty) > args.limit
        sys.exit(slow or counts["lost"] > 0)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
