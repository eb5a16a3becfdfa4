"""Where a training step spends its time: matrix work (convolutions, matrix products) or anything else.

    python -m tools.profile_training configs/leech-vbr.toml --data photos/ --steps 50 --device cuda

Trains for some steps under torch's profiler and prints what takes most time of its own, and its share of all: kernels
on an accelerator, operators on the CPU. There the search for the nearest codeword is no operator of torch and is not
counted; use one thread.
"""

import argparse
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from leechcodec.lab.comparison.twins import config_of
from leechcodec.training.loop import train

MATRIX = re.compile("conv|mm|linear|dot_product")
"""Parts of the names of operators that multiply matrices."""
MATRIX_KERNELS = re.compile("conv(?!ert)|gemm|gemv|xmma|cutlass|nvjet|fprop|dgrad|wgrad|fmha|flash")
"""The same of kernels."""
SHOWN = 12


def own_seconds(events: Iterable[Any], on_device: bool) -> list[tuple[str, float]]:
    """(name, seconds of its own) of a profile's averaged events, the longest first.

    on_device: kernels alone. An operator of the processor has the time of its kernels as its own, too, and a named
    range that of all within: counted as well, each kernel would count twice.
    """
    if on_device:
        kernels = [event for event in events if event.device_type != DeviceType.CPU]
        kernels = [event for event in kernels if not getattr(event, "is_user_annotation", False)]  # not in older torch
        found = [(event.key, event.self_device_time_total / 1e6) for event in kernels]
    else:
        found = [(event.key, event.self_cpu_time_total / 1e6) for event in events]
    return sorted(found, key=lambda pair: -pair[1])


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
    events = own_seconds(profiled.key_averages(), on_device)
    total = sum(seconds for _, seconds in events)
    names = MATRIX_KERNELS if on_device else MATRIX
    matrix = sum(seconds for name, seconds in events if names.search(name.lower()))
    what = "kernels" if on_device else "operators"
    print(f"{args.steps} steps on {args.device}, torch {torch.__version__}: {total:.1f} s in {what}")
    print(f"matrix work {matrix:.1f} s, {matrix / total:.0%} of that")
    for name, seconds in events[:SHOWN]:
        print(f"  {seconds:7.2f} s  {seconds / total:5.1%}  {name}")


if __name__ == "__main__":
    main()
