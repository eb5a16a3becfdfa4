"""One static page from a results folder: curves, BD-rates, and every image under a before/after slider.

results/*.json ─▶ report_pictures (images/) ─▶ report_page (index.html, assets/)

The page needs no network. `index.html` holds the numbers, `assets/` the styles, the scripts and the plotting library,
`images/` each picture once, lossless. Error maps cost no file: the browser subtracts the two pictures itself.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import click


def build_report(
    results_folder: Path, out: Path, *, images: int | None = None, published: Path | None = None, anchor: str = "webp"
) -> Path:
    """Write the page for a folder of results to the folder out; returns the path of its index.html.

    images: show so many pictures, the first by name (default: all). published: JSON of curves from the literature,
    drawn dashed. anchor: key or name of the curve that BD-rates are relative to.

    What cannot be shown (a result of another schema, a missing file, a decoder that is not installed) is left out
    with a UserWarning, and said on the page. Raises ResultsError where no result is usable, or published is not.
    """
    from leechcodec.lab.curves import published as read_published
    from leechcodec.lab.report.page import write_page
    from leechcodec.lab.report.pictures import make_pictures

    results_folder, out = Path(results_folder), Path(out)
    with _held_back(warnings.warn) as messages:
        results = load_folder(results_folder)
        literature = read_published(Path(published)) if published else []
        pictures = make_pictures(results, results_folder, out / "images", images)
        return write_page(results, literature, pictures, out, anchor, messages())


@contextlib.contextmanager
def _held_back(say: Callable[[str], None]) -> Iterator[Callable[[], list[str]]]:
    """Hold UserWarnings back and say each once at the end, even where an error is the end.

    Gives a function that lists those so far.
    """
    caught: list[warnings.WarningMessage] = []

    def messages() -> list[str]:
        return list(dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning))

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield messages
    finally:
        for message in messages():
            say(message)


def load_folder(folder: Path) -> list:
    """The Results of a folder, this codec's first. Unusable files are left out with a warning.

    Raises ResultsError where there is no folder, or nothing usable in it.
    """
    from leechcodec.lab.errors import ResultsError
    from leechcodec.lab.results import load, ours_first

    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder")
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            results = load(path)
        except ResultsError as error:
            reason = str(error).removeprefix(f"{path}: ")
            warnings.warn(f"{path.name} is left out: {reason}", stacklevel=2)
            continue
        if not results.settings:
            warnings.warn(f"{path.name} is left out: not a single point", stacklevel=2)
        elif found.setdefault(results.codec, results) is not results:
            warnings.warn(f"{path.name} is left out: a second result of {results.codec}", stacklevel=2)
    if not found:
        raise ResultsError(f"{folder}: no usable results; leechcodec eval writes them")
    return ours_first(list(found.values()))


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the page.")
@click.option("--images", type=click.IntRange(1), help="Show so many images.  [default: all]")
@click.option("--published", type=click.Path(path_type=Path), help="JSON of published curves, drawn dashed.")
@click.option("--anchor", default="webp", show_default=True, help="Codec that BD-rates are relative to.")
def report(results: Path, output: Path, images: int | None, published: Path | None, anchor: str) -> None:
    """One static page from the folder RESULTS: curves, BD-rates, pictures side by side. It needs no network."""
    with _held_back(lambda message: click.echo(f"leechcodec: warning: {message}", err=True)):
        index = build_report(results, output, images=images, published=published, anchor=anchor)
    click.echo(str(index))
