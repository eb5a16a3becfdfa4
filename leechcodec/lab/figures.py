"""Files of figures: refused by their names before anything is drawn; the same data make the same file."""

from pathlib import Path

from leechcodec.formats.packages import require
from leechcodec.lab.errors import ResultsError

SUFFIXES = (".svg", ".png", ".pdf")
_DATES = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""What is left out."""


def check_figure(target: Path) -> None:
    """Raises ResultsError where a figure's name ends in none of :data:`SUFFIXES`."""
    if target.suffix.lower() not in SUFFIXES:
        raise ResultsError(f"{target}: the figure's name ends in {', '.join(SUFFIXES)}")


def save_figure(figure, target: Path, dpi: int = 150) -> None:
    """Write a matplotlib figure, as what its name ends in. Raises ResultsError, as :func:`check_figure`."""
    check_figure(target)
    metadata = _DATES.get(target.suffix.lower())
    with require("matplotlib").rc_context({"svg.hashsalt": "leechcodec"}):
        figure.savefig(target, dpi=dpi, metadata=metadata)
