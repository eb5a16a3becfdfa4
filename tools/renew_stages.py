"""Start the last stages of a run anew: its averaged weights with copies of the stage before them (training/renewal.py).

python -m tools.renew_stages runs/mine/checkpoint.safetensors mended.safetensors --first 12
"""

import argparse
from pathlib import Path

from leechcodec.training.renewal import renew_stages


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--first", type=int, required=True, help="number of the first one, 1 for the coarsest")
    args = parser.parse_args()
    renew_stages(args.checkpoint, args.output, args.first - 1)


if __name__ == "__main__":
    main()
