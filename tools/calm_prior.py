"""Make the branches of a run's prior quiet: its averaged weights, with small last convolutions (training/calming.py).

python -m tools.calm_prior runs/mine/checkpoint.safetensors calm.safetensors
"""

import argparse
from pathlib import Path

from leechcodec.training.calming import calm_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--factor", type=float, default=0.15, help="of every pass but a stage's last (default: 0.15)")
    args = parser.parse_args()
    calm_prior(args.checkpoint, args.output, args.factor)


if __name__ == "__main__":
    main()
