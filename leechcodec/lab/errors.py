"""What can go wrong in the laboratory, each with one line that says what and where."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from leechcodec.errors import LqError


class MissingPackageError(LqError):
    """An optional package is not installed; the message names the extra that brings it."""


class DatasetError(LqError):
    """A folder of images, or a download of one, that cannot be used."""


class PeerError(LqError):
    """A codec that does not exist, or a setting that it does not have."""


class WorkerError(LqError):
    """Worker processes died, or could not be had. What was finished is kept."""


class ResultsError(LqError):
    """A results or curves file that cannot be read."""


class SchemaError(ResultsError):
    """A results file of another schema, or none at all."""


def require(module: str, extra: str = "eval") -> ModuleType:
    """Import an optional module. Raises MissingPackageError where it is missing or does not load."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise MissingPackageError(f"{package} is needed ({error}): pip install 'leechcodec[{extra}]'") from None


def one_of(name: str, names: Iterable[str], what: str) -> str:
    """The name if it is among the names. Raises PeerError, which lists them, where it is not."""
    names = list(names)
    if name not in names:
        raise PeerError(f"no {what} {name!r}; there are {', '.join(names)}")
    return name
