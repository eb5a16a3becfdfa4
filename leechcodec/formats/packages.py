"""Optional packages: imported where they are needed, named where they are missing."""

from importlib import import_module
from types import ModuleType

from leechcodec.errors import MissingPackageError


def require(module: str, extra: str = "eval") -> ModuleType:
    """Import an optional module. Raises MissingPackageError where it is missing or does not load."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise MissingPackageError(f"{package} is needed ({error}): pip install 'leechcodec[{extra}]'") from None
