"""The LPIPS backbone: torchvision's AlexNet, downloaded or taken from a file, reduced to the layers that LPIPS uses."""

from pathlib import Path

from safetensors.torch import save_file

from leechcodec.lab.download import Progress, fetch, no_progress
from leechcodec.lab.errors import DatasetError
from leechcodec.training.lpips_net import FILE_NAME, read_backbone

URL = "https://download.pytorch.org/models"
WEIGHTS = "alexnet-owt-7be5be79.pth"
DIGEST = "7be5be79"
"""Its SHA-256 begins so: the convention of torch's hub."""


def backbone(target: Path, source: Path | None = None, url: str = URL, progress: Progress = no_progress) -> Path:
    """Put ``alexnet_features.safetensors`` into a folder and return its path.

    source: torchvision's .pth file, a .safetensors file of its convolutions, or a folder with either; where it is None
    one already there is kept, or else it is downloaded. Raises DatasetError or ModelError where it cannot be had or is
    another network's.
    """
    path = target / FILE_NAME
    if source is not None:
        tensors = read_backbone(_within(source))
    elif path.is_file():
        read_backbone(path)
        return path
    else:
        target.mkdir(parents=True, exist_ok=True)
        try:
            fetch(f"{url}/{WEIGHTS}", target / WEIGHTS, DIGEST, progress)
        except OSError as error:
            raise DatasetError(
                f"{url}/{WEIGHTS}: {getattr(error, 'reason', None) or error}. Without a network, bring that file by "
                f"other means and run: leechcodec data lpips --from FILE"
            ) from None
        tensors = read_backbone(target / WEIGHTS)
        (target / WEIGHTS).unlink()
    target.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(0o644)  # the writer makes it private to its user
    return path


def _within(source: Path) -> Path:
    if not source.is_dir():
        if not source.is_file():
            raise DatasetError(f"{source}: no such file")
        return source
    for name in (FILE_NAME, WEIGHTS):
        if (source / name).is_file():
            return source / name
    raise DatasetError(f"{source}: neither {FILE_NAME} nor {WEIGHTS} in it")
