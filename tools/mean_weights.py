"""Write the mean of the averaged weights of several checkpoints (training/means.py).

python -m tools.mean_weights mean.safetensors runs/a/checkpoint.safetensors runs/b/checkpoint.safetensors --shares 1 2
"""

import argparse
from pathlib import Path

from leechcodec.training.means import mean_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="of each checkpoint, in any unit (default: all alike)")
    args = parser.parse_args()
    mean_weights(args.checkpoints, args.output, args.shares)


if __name__ == "__main__":
    main()
