"""Which driver does the work: processes of this machine, or Ray."""

import os
from dataclasses import dataclass
from functools import partial

from leechcodec.apps.batch.processes import run_processes
from leechcodec.apps.batch.ray_actors import run_ray
from leechcodec.apps.batch.tasks import Executor, Make, Work
from leechcodec.formats.machine import available_cores
from leechcodec.formats.packages import require
from leechcodec.networks import devices, runtime


@dataclass(frozen=True)
class Workers:
    """jobs: processes, or Ray's actors; None for one a core. by_ray: by Ray, on this machine or at an address.

    Raises MissingPackageError where Ray is wanted and not installed: before anything is begun.
    """

    jobs: int | None = None
    by_ray: bool = False
    address: str | None = None

    def __post_init__(self) -> None:
        if self.ray:
            require("ray", "ray")

    @property
    def ray(self) -> bool:
        return self.by_ray or bool(self.address)

    def executor(self, make: Make, threads: int) -> Executor:
        """threads: that a worker computes with. The runtime and the device in use are the workers' too.

        Where a GPU of CUDA is named, Ray sets one aside for each worker, which sees no other.
        """
        chosen = {name: os.environ[name] for name in (runtime.VARIABLE, devices.VARIABLE) if name in os.environ}
        if not self.ray:
            return partial(run_processes, partial(_made, make, chosen), self.jobs or len(available_cores()))
        gpus = int(chosen.get(devices.VARIABLE, "").startswith("cuda"))
        chosen |= {devices.VARIABLE: "cuda"} if gpus else {}
        return partial(run_ray, partial(_made, make, chosen), self.jobs, self.address, threads=threads, gpus=gpus)


def _made(make: Make, environment: dict[str, str]) -> Work:
    """On another machine nothing is inherited."""
    os.environ.update(environment)
    return make()
