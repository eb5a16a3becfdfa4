"""Seconds that shares for MS-SSIM and SSIMULACRA2 add to a training step's forward and backward pass.

    python -m tools.time_objective IMAGE... [--config configs/leech-vbr.toml] [--model NAME] [--rounds 5]

Crops of the images go through the released networks with neither share, with one, with both. Each is timed in turn, in
processor time of one thread; the fastest of the rounds is printed. The optimizers' part of a step is left out.
"""

import argparse
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leechcodec.codec.model_store import load_model
from leechcodec.lab.datasets import pixels_of
from leechcodec.networks.model import CodecModel
from leechcodec.training.objective import Objective
from leechcodec.training.recorded import strata_middles
from leechcodec.training.settings import TrainingConfig, load_settings

SHARES = {"neither": {}, "MS-SSIM": {"similarity": 0.2}, "SSIMULACRA2": {"ssimulacra2": 0.2}}
SHARES["both"] = SHARES["MS-SSIM"] | SHARES["SSIMULACRA2"]


def crops(images: list[Tensor], count: int, side: int) -> Tensor:
    """uint8 (count, 3, side, side), from places and images in turn."""
    generator = torch.Generator().manual_seed(1)

    def crop(image: Tensor) -> Tensor:
        top, left = (int(torch.randint(most - side + 1, (), generator=generator)) for most in image.shape[1:])
        return image[:, top : top + side, left : left + side]

    return torch.stack([crop(images[number % len(images)]) for number in range(count)])


def passes(model: CodecModel, settings: TrainingConfig, batch: Tensor) -> float:
    """Processor seconds of a forward and a backward pass."""
    objective = Objective(model.config, settings, model.quantizer.dim)
    model.zero_grad()
    torch.manual_seed(1)
    start = time.process_time()
    objective(model, batch, strata_middles(len(batch)), settings.rate_warmup).backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--config", type=Path, default=Path("configs/leech-vbr.toml"))
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = replace(load_settings(args.config)[1], precision="float32", similarity=0.0, ssimulacra2=0.0)
    model = deepcopy(load_model(args.model).networks).float().train().requires_grad_(True)
    images = [torch.tensor(np.asarray(pixels_of(path))).permute(2, 0, 1) for path in args.images]
    for count, side in dict.fromkeys(settings.shape(done, 1.0) for done in (0.0, 1.0)):
        batch = crops(images, count, side)
        seconds = {name: [] for name in SHARES}
        for _ in range(args.rounds):
            for name, shares in SHARES.items():
                seconds[name].append(passes(model, replace(settings, **shares), batch))
        least = min(seconds["neither"])
        print(f"{count} crops of {side} x {side}: {least:.2f} s with neither")
        for name in list(SHARES)[1:]:
            added = min(seconds[name]) - least
            print(f"  {name:<12} {added:+.2f} s, {added / least:+.1%}", flush=True)


if __name__ == "__main__":
    main()
