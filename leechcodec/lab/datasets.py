"""Images to measure on: any folder, or a folder of folders, and the Kodak set with its checksums.

The 24 photographs of the Kodak Lossless True Color Image Suite are free to use. They are published at r0k.us as
kodim01.png .. kodim24.png.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from leechcodec.errors import ImageError, TooLargeError
from leechcodec.formats.files import write_atomic
from leechcodec.formats.images import from_array, load_image, to_array
from leechcodec.formats.side_data import as_coded
from leechcodec.lab.download import Progress, fetch, no_progress
from leechcodec.lab.errors import DatasetError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
KODAK_URL = "http://r0k.us/graphics/kodak/kodak"
KODAK_SHA256 = (
    "a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd",
    "4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd",
    "e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db",
    "e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa",
    "10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53",
    "363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18",
    "b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4",
    "ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7",
    "6a4361c2fc194feb4edaa9f9a4a0620fb9943e460ac7fdf037fb0f6dd6607a7d",
    "9dfb70f5867c29ff9ed6313683f19b3d867849e40fbc0c4c54a4a89df341cf23",
    "7936814b58b5387fce2e4e2488b4ec830dadd95fa9520f358ddb30990b50f2b6",
    "d78c37c2f04f23761ed2367dd77e2db584ddd4c3950833fecf89f199a8126980",
    "bc34a3ce58dea09dce1704c997171602de90cb34d0c8503a988b77f473d39b08",
    "55a94550ff18f3246c4074fd32b77b0c74447c26b6ad274d564d999c0450ba6e",
    "7538cbb80cb9103606c48b806eae57d56c885c7f90b9b3be70a41160f9cbb683",
    "a89c7268ccd4718ba424a99fc4643c572cf692ca6eae887185ceb4e9f11d2e54",
    "37afcc89fbdcb76d9518e04b2fc011027e2f4cd14b3b2f83cefd721641a47c5b",
    "1a9258c365988961d87a0598725b609139c303ad48a5aad6c503c3b1a87849aa",
    "b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc",
    "3b46c71e3b92a563820ba32936be8330c586c41f938efd94be938386aae4328a",
    "ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b",
    "1cee58eb1f2d9c7ebb254d208a03c783ce6cf2c4d8c2cf45e235dd23b4ce1b29",
    "e3111a2fd4da24af15d6459ef9eacfe54106b38e27b4a21821b75c3f5d2d5baf",
    "1071c68372cc5a01435c2c225a5cf7d4bb803846ec08bb6b3d6721b156d7cb96",
)
"""Of kodim01.png .. kodim24.png."""


RESERVED = {"cache", "files"}
"""Names that a folder of results has itself."""


@dataclass(frozen=True)
class Photograph:
    """An image of a data set. sha256: of its pixels' file, in hex."""

    path: Path
    sha256: str
    width: int
    height: int


def check_folder(path: Path) -> None:
    """Raises DatasetError for what is no folder."""
    if not path.is_dir():
        raise DatasetError(f"{path}: a file, not a folder" if path.exists() else f"{path}: no such folder")


def photographs(folder: Path) -> tuple[list[Photograph], list[tuple[str, str]]]:
    """The images of a folder in the order of their names, and (name, reason) of each that cannot be read.

    Other files and subfolders are passed over. Raises DatasetError where there is no image to read.
    """
    check_folder(folder)
    good, bad = [], []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()):
        try:
            image = pixels_of(path)
        except (ImageError, TooLargeError) as error:
            bad.append((path.name, str(error).removeprefix(f"{path}: ")))
            continue
        good.append(Photograph(path, sha256_of(path.read_bytes()), image.width, image.height))
    if not good:
        reason = f"; {bad[0][0]}: {bad[0][1]}" if bad else ""
        raise DatasetError(f"{folder}: no image in it can be read{reason}")
    return good, bad


def kinds(folder: Path) -> dict[str, Path]:
    """The folders of a data set by the kind of their images, sorted: {"": folder} where it holds images itself.

    A folder without images counts as a folder of folders, and each of those with images as one kind. Raises
    DatasetError where there is no folder, or a kind has a name that a folder of results needs itself.
    """
    check_folder(folder)
    inside = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and _has_images(path)}
    if _has_images(folder) or not inside:
        return {"": folder}
    if taken := RESERVED & inside.keys():
        raise DatasetError(f"{folder / min(taken)}: a kind of images cannot have that name; rename the folder")
    return inside


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and path.is_file() for path in folder.iterdir())


def pixels_of(path: Path) -> Image.Image:
    """An image as the plain RGB pixels that encode codes: oriented, without profile, EXIF or file name, which some
    codecs would copy.

    Raises ImageError.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        pixels = to_array(as_coded(load_image(path)))
    for warning in caught:
        message = str(warning.message)
        warnings.warn(message if str(path) in message else f"{path}: {message}", warning.category, stacklevel=2)
    return from_array(pixels)


def kodak(target: Path, source: Path | None = None, url: str = KODAK_URL, progress: Progress = no_progress) -> int:
    """Put kodim01.png .. kodim24.png into a folder, downloaded or taken from another folder by their checksums.

    Files already there are kept; an interrupted download goes on where it stopped. Returns how many were added.
    Raises DatasetError where a file cannot be had or is not the right one.
    """
    wanted = {f"kodim{number:02}.png": digest for number, digest in enumerate(KODAK_SHA256, 1)}
    target.mkdir(parents=True, exist_ok=True)
    missing = {name: digest for name, digest in wanted.items() if not _is(target / name, digest)}
    if source is not None:
        _copy(source, target, missing)
        return len(missing)
    for name, digest in missing.items():
        try:
            fetch(f"{url}/{name}", target / name, digest, progress)
        except OSError as error:
            raise DatasetError(
                f"{url}/{name}: {getattr(error, 'reason', None) or error}. Without a network, bring the 24 files "
                f"kodim01.png .. kodim24.png from there by other means and run: leechcodec data kodak --from FOLDER"
            ) from None
    return len(missing)


def _copy(source: Path, target: Path, missing: dict[str, str]) -> None:
    """Take PNG files out of a folder by what they hold, whatever their names."""
    check_folder(source)
    images = sorted(path for path in source.iterdir() if path.suffix.lower() == ".png" and path.is_file())
    found = {sha256_of(path.read_bytes()): path for path in images}
    absent = [name for name, digest in missing.items() if digest not in found]
    if absent:
        raise DatasetError(f"{source}: {len(absent)} of the Kodak images are not in it, {absent[0]} the first")
    for name, digest in missing.items():
        write_atomic(target / name, found[digest].read_bytes(), force=True)


def sha256_of(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path.read_bytes()) == digest
