"""SSIMULACRA2 by the package that the laboratory uses, against libjxl's own tool, on JPEG, WebP and AVIF files.

    python -m tools.checks.ssimulacra2 KODAK/kodim01.png … [--tool ssimulacra2] [--crop 256]

The tool is in Debian's libjxl-devtools (0.11, Debian 13; the 0.7 of Debian 12 has an older measure only).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from leechcodec.lab.datasets import pixels_of
from leechcodec.lab.metrics import ssimulacra2
from leechcodec.lab.peers.pillow import Avif, Jpeg, WebP

FILES = ((Jpeg, 5), (Jpeg, 30), (Jpeg, 90), (WebP, 0), (WebP, 40), (WebP, 92), (Avif, 16), (Avif, 40), (Avif, 80))
"""Codec and quality: from very poor to hardly visible."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--tool", default="ssimulacra2", help="libjxl's command")
    parser.add_argument("--crop", type=int, help="side of the square taken from the upper left corner")
    args = parser.parse_args()
    if not shutil.which(args.tool):
        sys.exit(f"no command {args.tool}: it is in Debian's libjxl-devtools, or name another with --tool")
    print("image          file          libjxl  package  difference  seconds")
    with tempfile.TemporaryDirectory() as folder:
        one, other = (str(Path(folder) / name) for name in ("original.png", "decoded.png"))
        for path in args.images:
            image = pixels_of(path)
            if args.crop:
                image = image.crop((0, 0, args.crop, args.crop))
            image.save(one)
            for kind, quality in FILES:
                peer = kind()
                decoded = peer.decode(peer.encode(image, peer.setting(quality)))
                decoded.save(other)
                answer = subprocess.run([args.tool, one, other], capture_output=True, text=True, check=True).stdout
                start = time.perf_counter()
                found = ssimulacra2(np.asarray(image), np.asarray(decoded))
                took = time.perf_counter() - start
                if found is None:
                    sys.exit(f"{path}: too small")
                numbers = f"{float(answer):>8.2f} {found:>8.2f}  {found - float(answer):>+10.2f}  {took:>7.2f}"
                print(f"{path.name:<14} {peer.key:<8} q{quality:<3}{numbers}")


if __name__ == "__main__":
    main()
