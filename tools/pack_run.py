"""Keep a run's averaged weights in a small file, from which `leechcodec train --init` goes on.

python -m tools.pack_run runs/mine/checkpoint.safetensors mine.packed
"""

import argparse
from pathlib import Path

from leechcodec.training.packed import UNITS, pack


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--units", type=float, nargs=len(UNITS), default=list(UNITS.values()), metavar=tuple(map(str.upper, UNITS)),
        help=f"units of a root mean square, by the part of the model (default: {' '.join(map(str, UNITS.values()))})",
    )  # fmt: skip
    args = parser.parse_args()
    pack(args.checkpoint, args.output, dict(zip(UNITS, args.units, strict=True)))
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
