"""The processes of a run: one, or as many as torchrun starts, each with a device and with batches of its own."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from leechcodec.errors import ConfigError
from leechcodec.networks.devices import check_device

Item = TypeVar("Item")


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

    def total(self, values: Tensor) -> Tensor:
        """Of a tensor over all processes. It may be overwritten."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def mean(self, value: Tensor) -> float:
        """Of a scalar tensor over all processes. It may be overwritten."""
        return self.total(value).item() / self.world

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

    def shared(self, items: Sequence[Item], function: Callable[[Sequence[Item]], Tensor]) -> Tensor:
        """function(items), (N, ...), which is made of every item by itself: each process takes as many, and all have
        the whole in the end."""
        if self.world == 1:
            return function(items)
        each = -(-len(items) // self.world)
        own = [items[n % len(items)] for n in range(self.rank * each, (self.rank + 1) * each)]  # all must send as much
        made = function(own).contiguous()
        parts = [torch.empty_like(made) for _ in range(self.world)]
        dist.all_gather([part.view(torch.uint8) for part in parts], made.view(torch.uint8))  # gloo may lack bf16
        return torch.cat(parts)[: len(items)]

    def close(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()


def refuse_several(what: str) -> None:
    """Raises ConfigError where torchrun started several processes. what: is trained by one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(f"{what} is trained by one process, without torchrun")


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
