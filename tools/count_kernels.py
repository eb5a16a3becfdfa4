"""How many operators a training step is made of that do work: on a GPU each is a kernel, or a few, to be started.

    python -m tools.count_kernels configs/leech-2.toml

Counted on the processor, where no GPU is needed, for crops of 64 x 64: the number does not depend on their size.
Views are left out. Two columns: a step as the processor takes it, and one with the weights cast once, as a recorded
step has them (leechcodec/training/recorded.py). On a GPU the searches and sums over the codebook are a kernel each, and
an operator of many tensors (_foreach) is a few.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from leechcodec.networks.model import CodecModel
from leechcodec.training.cast_weights import CastWeights
from leechcodec.training.objective import Objective
from leechcodec.training.recorded import strata_middles
from leechcodec.training.settings import load_settings
from leechcodec.training.steps import optimizers_of

VIEWS = re.compile(
    "(_unsafe_)?view|(_unsafe_|_)?reshape(_alias)?|alias|as_strided|chunk|detach|diagonal|expand|narrow|permute|select|slice|"
    "split(_with_sizes)?|squeeze|t|transpose|unbind|unfold|unsqueeze|(new_)?empty(_like|_strided)?|lift_fresh|_record_.*"
)
"""Operators that start nothing."""
SHOWN = 12
CROP = 64


class Counted(TorchDispatchMode):
    """Counts the operators that run within it, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if not VIEWS.fullmatch(name):
            self.operators[name] += 1
        return function(*args, **(kwargs or {}))


def count(config: Path, batch: int, cast: bool) -> dict[str, Counter[str]]:
    """Operators of the forward pass, the backward pass and the update, by name.

    config: a training config. batch: crops. cast: with weights that are cast once.
    """
    model_config, settings = load_settings(config)
    settings = replace(settings, precision="bf16", batch=batch)
    torch.manual_seed(settings.seed)
    model = CodecModel(model_config).to(memory_format=torch.channels_last)  # pyright: ignore (unknown to torch's types)
    objective = Objective(model_config, settings, model.quantizer.dim)
    optimizers = optimizers_of(settings, model, objective)
    weights = CastWeights(model, torch.bfloat16) if cast else None
    quality = strata_middles(batch, *settings.dial)
    crops, images = torch.randint(0, 256, (batch, 3, CROP, CROP), dtype=torch.uint8), model.images_sent(quality)

    def forward() -> Any:
        if weights is not None:
            weights.refresh()
        return objective(model if weights is None else weights.model, crops, quality, 0, images)

    def backward(outcome: Any) -> None:
        outcome.backward()
        if weights is not None:
            weights.hand_over()

    def update() -> None:
        for optimizer in optimizers.values():
            optimizer.step()

    for _ in range(2):  # states and tables are made in the first steps
        backward(forward())
        update()
    outcome, found = [], {}
    passes: dict[str, Callable[[], Any]] = {
        "forward": lambda: outcome.append(forward()),
        "backward": lambda: backward(outcome[0]),
        "update": update,
    }
    for name, run in passes.items():
        with Counted() as counted:
            run()
        found[name] = counted.operators
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--batch", type=int, default=24, help="crops; enough for every stage to have some")
    args = parser.parse_args()
    plain, cast = (count(args.config, args.batch, cast) for cast in (False, True))
    print(f"{'':10}{'plain':>8}{'cast once':>12}")
    for name in plain:
        print(f"{name:10}{plain[name].total():8,}{cast[name].total():12,}")
    print(f"{'all':10}{sum(c.total() for c in plain.values()):8,}{sum(c.total() for c in cast.values()):12,}")
    most = sum(cast.values(), Counter()).most_common(SHOWN)
    print("most often, cast once: " + ", ".join(f"{name} {times}" for name, times in most))


if __name__ == "__main__":
    main()
