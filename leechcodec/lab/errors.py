"""What can go wrong in the laboratory, each with one line that says what and where."""

from collections.abc import Iterable

from leechcodec.errors import LqError


class DatasetError(LqError):
    """A folder of images, or a download of one, that cannot be used."""


class PeerError(LqError):
    """A codec that does not exist, or a setting that it does not have."""


class ResultsError(LqError):
    """A results or curves file that cannot be read."""


class SchemaError(ResultsError):
    """A results file of another schema, or none at all."""


def one_of(name: str, names: Iterable[str], what: str) -> str:
    """The name if it is among the names. Raises PeerError, which lists them, where it is not."""
    names = list(names)
    if name not in names:
        raise PeerError(f"no {what} {name!r}; there are {', '.join(names)}")
    return name
