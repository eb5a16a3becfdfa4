import time

import pytest
import torch

from leechcodec.errors import ConfigError
from leechcodec.training.arrivals import Arrivals
from leechcodec.training.data import Cropper, is_validation
from tests.lab.lab_files import picture


@pytest.fixture
def folder(tmp_path):
    picture(80, 64).save(tmp_path / "there.png")
    return tmp_path


def test_new_images_are_taken_once_they_stand_still(folder):
    arrivals = Arrivals([folder], validation_share=0.0, exclude=["left-out.png"])
    arrivals.look()
    assert arrivals.take() == []
    (folder / "below").mkdir()
    picture(96, 72).save(folder / "below" / "new.png")
    picture(96, 72).save(folder / "left-out.png")
    whole = (folder / "there.png").read_bytes()
    (folder / "slow.png").write_bytes(whole[:100])
    arrivals.look()
    assert arrivals.take() == []  # who knows whether it is whole
    (folder / "slow.png").write_bytes(whole[:200])
    arrivals.look()
    assert [image.shape for image in arrivals.take()] == [(3, 72, 96)]
    (folder / "slow.png").write_bytes(whole)
    for _ in range(3):
        arrivals.look()
    assert [image.shape for image in arrivals.take()] == [(3, 64, 80)]
    assert arrivals.take() == []


def test_held_out_and_unreadable_ones_are_not_given(folder, capsys):
    arrivals = Arrivals([folder], validation_share=0.5)
    names = [f"{number}.png" for number in range(12)]
    for name in names:
        picture(70, 64).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    arrivals.look(), arrivals.look()
    assert len(arrivals.take()) == sum(not is_validation(name, 0.5) for name in names)
    assert is_validation("broken.png", 0.5) or "broken.png" in capsys.readouterr().err


def test_a_thread_looks(folder):
    with Arrivals([folder], validation_share=0.0, seconds=0.01) as arrivals:
        picture(90, 64).save(folder / "new.png")
        found, ends = [], time.monotonic() + 30
        while not found and time.monotonic() < ends:
            time.sleep(0.01)
            found = arrivals.take()
    assert [image.shape for image in found] == [(3, 64, 90)]


def test_crops_are_taken_of_them():
    crops = Cropper([torch.zeros(3, 64, 64, dtype=torch.uint8)], torch.Generator().manual_seed(0))
    assert not crops(8, 64).any()
    crops.add([torch.full((3, 64, 64), 9, dtype=torch.uint8)])
    assert crops(40, 64).float().mean() > 2


def test_only_folders_are_watched(tmp_path):
    with pytest.raises(ConfigError, match="folder"):
        Arrivals([tmp_path / "images.tar"], validation_share=0.0)
