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
    """A name for all that the metrics' values depend on; after a plus sign what LPIPS alone does, where it is measured.

    lpips: the backbone's file, None for no LPIPS. Raises MissingPackageError where a metric's package is not installed,
    ModelError for a file that is no backbone.
    """
    for package in ("pytorch_msssim", "ssimulacra2"):
        require(package)
    versions = library_versions()
    name = fingerprint([versions.get(package) for package in ("pytorch-msssim", "ssimulacra2")])
    if lpips is None:
        return name
    if not installed("lpips"):
        require("lpips")
    read_backbone(lpips)
    return f"{name}+{fingerprint([versions.get('lpips'), sha256_of(lpips.read_bytes())])}"


def has_metrics(found: str, wanted: str) -> bool:
    """Whether what was measured has all that is wanted, both by metrics_identity(): LPIPS too is more, not other."""
    return wanted in (found, found.partition("+")[0])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
