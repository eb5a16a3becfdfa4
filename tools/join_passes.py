"""Make a run's prior one of a pass a stage, to learn beside the transforms again (training/joining.py).

python -m tools.join_passes runs/mine/checkpoint.safetensors single.safetensors
"""

import argparse
from pathlib import Path

from leechcodec.training.joining import join_passes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    join_passes(args.checkpoint, args.output)


if __name__ == "__main__":
    main()
