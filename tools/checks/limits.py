"""Files of 74 bytes with great claims: how long, and how much memory, until they are refused? (Linux)

    python -m tools.checks.limits

One claims 65,535 x 65,535 pixels, one 8,000 x 8,000, which is within the pixel limit; checksums are right. The call is
timed in a process that has decoded a picture before; memory is the growth of the peak (VmHWM) over the idle process.
Exit status 1 beyond 0.2 s or 50 MB.
"""

import sys
import time
from pathlib import Path

from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import load_model
from leechcodec.codec.token_coding import TOKEN_KINDS
from leechcodec.errors import LqError
from leechcodec.formats.container import Chunk, Header, write_file

MAX_SECONDS, MAX_MB = 0.2, 50
CLAIMS = ((65_535, 65_535), (8000, 8000))


def status(key: str) -> int:
    """A figure of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))


def main() -> None:
    api.decompress(api.compress(Image.new("RGB", (64, 64)), quality=1))
    loaded, failed = load_model(), False
    for width, height in CLAIMS:
        header = Header(loaded.token_model, loaded.synthesis, width, height, 100)
        data = write_file(header, [Chunk(kind, b"1234") for kind in TOKEN_KINDS])
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
        idle, started = status("VmRSS"), time.perf_counter()
        try:
            api.decompress(data)
            message, refused = "decoded", False
        except LqError as error:
            message, refused = f"{type(error).__name__}: {error}", True
        seconds, grown = time.perf_counter() - started, max(0, status("VmHWM") - idle) / 1000
        failed |= not refused or seconds > MAX_SECONDS or grown > MAX_MB
        print(f"{len(data)} bytes, {width} x {height}: {1000 * seconds:.1f} ms, {grown:.1f} MB: {message}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
