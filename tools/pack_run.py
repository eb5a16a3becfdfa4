"""Keep a run's averaged weights in a small file, from which `leechcodec train --init` goes on.

python -m tools.pack_run runs/mine/checkpoint.safetensors runs/second.packed
"""

import argparse
from pathlib import Path

from leechcodec.training.packed import pack


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    pack(args.checkpoint, args.output)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
