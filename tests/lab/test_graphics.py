import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from leechcodec.lab import datasets, graphics
from leechcodec.lab.metrics import SSIMULACRA2_SMALLEST
from tests.lab.lab_files import picture

pytestmark = pytest.mark.slow


def pixels(folder):
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphics")
    picture(300, 200).save(folder / "photograph.jpg", quality=95)
    counts = graphics.graphics(folder / "set", 3, folder / "photograph.jpg")
    return folder, counts


def test_every_kind_is_there_and_large_enough_to_be_measured(made):
    folder, counts = made
    assert counts.keys() == {*graphics.KINDS, "captions"} and datasets.kinds(folder / "set").keys() == counts.keys()
    found = pixels(folder / "set")
    assert len(found) == sum(counts.values()) and min(counts.values()) >= 3
    for name, image in found.items():
        assert image.shape == (448, 640, 3) and min(image.shape[:2]) >= SSIMULACRA2_SMALLEST, name
        assert (image != image[0, 0]).any(), name
    assert len({image.tobytes() for image in found.values()}) == len(found)


def test_a_seed_draws_the_same_and_another_does_not(made, tmp_path):
    folder, _ = made
    graphics.graphics(tmp_path / "again", 3)
    graphics.graphics(tmp_path / "other", 4)
    first, again, other = (pixels(path) for path in (folder / "set", tmp_path / "again", tmp_path / "other"))
    assert again.keys() == other.keys() == {name for name in first if not name.startswith("captions/")}
    assert all(np.array_equal(first[name], image) for name, image in again.items())
    drawn = {name for name, image in other.items() if not np.array_equal(first[name], image)}
    assert {name.partition("/")[0] for name in drawn} >= {"text", "interfaces", "charts", "drawings", "flat", "noise"}


def test_what_the_kinds_promise(made):
    found = pixels(made[0] / "set")
    board = found["checkerboards/side-1.png"]
    assert (board[:-1] != board[1:]).all()
    assert np.abs(np.diff(found["gradients/grey.png"].astype(int), axis=1)).max() == 1
    assert {(255, 0, 0), (0, 0, 255)} == set(map(tuple, np.unique(found["flat/stripes.png"].reshape(-1, 3), axis=0)))
