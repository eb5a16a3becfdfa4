"""Where a training step spends its time: matrix work (convolutions, matrix products) or anything else.

    python -m tools.profile_training configs/leech-vbr.toml --data photos/ --steps 50 --device cuda

Trains for some steps under torch's profiler and prints the operators that take most time of their own, and their share
of all operators': of the time that kernels ran on an accelerator, of the processor's on the CPU. There the search for
the nearest codeword is no operator of torch and is not counted; use one thread.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from leechcodec.lab.comparison.twins import config_of
from leechcodec.training.loop import train

MATRIX = ("conv", "mm", "linear", "gemm", "dot_product")
"""Parts of the names of operators that multiply matrices."""
SHOWN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--init", type=Path)
    args = parser.parse_args()
    on_device = args.device != "cpu"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_device
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        config = config_of(args.config, {"steps": args.steps}, 1, run / "config.toml")
        with profile(activities=activities) as profiled:
            train(config, args.data, run, threads=args.threads, device=args.device, init=args.init)
    events = [
        (event.key, (event.self_device_time_total if on_device else event.self_cpu_time_total) / 1e6)
        for event in profiled.key_averages()
    ]
    events.sort(key=lambda pair: -pair[1])
    total = sum(seconds for _, seconds in events)
    matrix = sum(seconds for name, seconds in events if any(part in name.lower() for part in MATRIX))
    print(f"{args.steps} steps on {args.device}, torch {torch.__version__}: {total:.1f} s in operators")
    print(f"matrix work {matrix:.1f} s, {matrix / total:.0%} of that")
    for name, seconds in events[:SHOWN]:
        print(f"  {seconds:7.2f} s  {seconds / total:5.1%}  {name}")


if __name__ == "__main__":
    main()
