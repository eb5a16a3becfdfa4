"""One file through a codec in a process of its own: what somebody waits for, imports and weights included.

    python -m leechcodec.lab.peers.process encode KEY VALUE OPTIONS IMAGE FILE
    python -m leechcodec.lab.peers.process decode KEY VALUE OPTIONS FILE IMAGE.png

OPTIONS is PeerOptions as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from leechcodec.errors import WorkerError
from leechcodec.lab.peers.base import Peer, Setting
from leechcodec.lab.peers.registry import PeerOptions, adapter

RUNS = 2
"""The quicker one counts: the first may read from a cold disk, or compile kernels that are kept."""


def seconds(peer: Peer, setting: Setting, image: Image.Image) -> tuple[float, float]:
    """(encoding, decoding): seconds from the start of a new process to its end. Raises WorkerError where one fails."""
    with tempfile.TemporaryDirectory() as folder:
        source, file, decoded = (str(Path(folder) / name) for name in ("image.png", "coded", "decoded.png"))
        image.save(source)
        facts = (peer.key, repr(setting.value), json.dumps(asdict(peer.options)))
        return _seconds("encode", *facts, source, file), _seconds("decode", *facts, file, decoded)


def _seconds(*arguments: str) -> float:
    root = str(Path(__file__).resolve().parents[3])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    best = float("inf")
    for _ in range(RUNS):
        start = time.perf_counter()
        command = [sys.executable, "-m", "leechcodec.lab.peers.process", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
        best = min(best, time.perf_counter() - start)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise WorkerError(f"{' '.join(arguments[:2])} in a process of its own: {last}")
    return best


def main() -> None:
    action, key, value, options, source, target = sys.argv[1:]
    peer = adapter(key, PeerOptions(**json.loads(options)))
    if action == "encode":
        image = Image.open(source).convert("RGB")
        Path(target).write_bytes(peer.encode(image, peer.setting(float(value))))
    else:
        peer.decode(Path(source).read_bytes()).save(target, compress_level=1)


if __name__ == "__main__":
    main()
