"""The processes of a run: one, or as many as torchrun starts, each with a device and with batches of its own."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from leechcodec.networks.devices import check_device


@dataclass(frozen=True)
class Processes:
    """This process among those of a run. With one alone every method is free."""

    device: str = "cpu"
    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def mean(self, value: Tensor) -> float:
        """Of a scalar tensor over all processes. It may be overwritten."""
        if self.world > 1:
            dist.all_reduce(value)
        return value.item() / self.world

    def largest(self, value: float) -> float:
        """Of a number over all processes."""
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64).to(self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.item()

    def of_first(self, value: str) -> str:
        """The first process's value."""
        values = [value]
        if self.world > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]

    def close(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()


def start_processes(device: str) -> Processes:
    """Join the processes that torchrun started, if it did.

    device: "cpu", "cuda", "cuda:1", ... With several processes on "cuda" each takes the one of its local rank. Raises
    ConfigError for a device that is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    check_device(device)
    if world == 1 and device.startswith("cuda:"):
        torch.cuda.set_device(device)  # graphs and kernels go to the current device
    return Processes(device, dist.get_rank() if world > 1 else 0, world)
