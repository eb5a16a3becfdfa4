"""What measures: the machine, the versions of the libraries, and a name for all that a metric depends on."""

import platform
from importlib import metadata
from pathlib import Path

from leechcodec import __version__
from leechcodec.formats.machine import available_cores
from leechcodec.formats.packages import require
from leechcodec.lab.cache import fingerprint
from leechcodec.lab.datasets import sha256_of
from leechcodec.training.lpips_net import read_backbone


def threads_per_job(jobs: int) -> int:
    """The cores divided among the jobs, at least one each."""
    return max(1, len(available_cores()) // jobs)


def machine(jobs: int) -> dict:
    """The machine that measured, without its name."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": len(available_cores()),
        "jobs": jobs,
        "threads_per_job": threads_per_job(jobs),
    }


def library_versions() -> dict[str, str]:
    """Versions of what measures."""
    packages = ("numpy", "pillow", "torch", "pytorch-msssim", "ssimulacra2", "lpips")
    return {"leechcodec": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in packages if installed(name)
    }


def installed(package: str) -> bool:
    """Whether a distribution of that name is."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def metrics_identity(lpips: Path | None) -> str:
    """A name for all that a metric's value depends on. lpips: the backbone's file.

    Raises MissingPackageError where a metric's package is not installed, ModelError for a file that is no backbone.
    """
    for package in ("pytorch_msssim", "ssimulacra2"):
        require(package)
    backbone = None
    if lpips:
        if not installed("lpips"):
            require("lpips")
        read_backbone(lpips)
        backbone = sha256_of(lpips.read_bytes())
    versions = library_versions()
    return fingerprint([*map(versions.get, ("pytorch-msssim", "ssimulacra2", "lpips")), backbone])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
