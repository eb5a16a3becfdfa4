import hashlib
from urllib.error import URLError

import pytest
from PIL import Image

from leechcodec.lab import backbone, datasets, download
from leechcodec.lab.errors import DatasetError
from tests.lab.lab_files import lpips_weights, picture
from tests.lab.web import serve


@pytest.fixture
def kodak_like(monkeypatch, tmp_path):
    """A folder of three made-up images that stand for the set."""
    folder = tmp_path / "web"
    folder.mkdir()
    for number in (1, 2, 3):
        picture(30, 20, number).save(folder / f"kodim{number:02}.png")
    digests = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()))
    monkeypatch.setattr(datasets, "KODAK_SHA256", digests)
    return folder


def test_photographs_are_named_sorted_and_checked(tmp_path):
    picture(20, 10).save(tmp_path / "b.png")
    picture(20, 10).convert("L").save(tmp_path / "a.PNG")
    (tmp_path / "c.png").write_bytes(b"no image")
    (tmp_path / "d.png").mkdir()
    Image.new("1", (20_000, 5_001)).save(tmp_path / "f.png")
    (tmp_path / "e.txt").write_text("text")
    good, bad = datasets.photographs(tmp_path)
    assert [photo.path.name for photo in good] == ["a.PNG", "b.png"] and good[1].width == 20
    assert [name for name, _ in bad] == ["c.png", "f.png"]
    assert bad[0][1] == "not an image that can be read" and "more than the limit" in bad[1][1]


def test_a_folder_of_folders_is_one_of_kinds(tmp_path):
    assert datasets.kinds(tmp_path) == {"": tmp_path}
    for kind in ("text", "photographs", "empty"):
        (tmp_path / kind).mkdir()
    picture(20, 10).save(tmp_path / "text" / "a.png")
    picture(20, 10).save(tmp_path / "photographs" / "b.jpg")
    assert list(datasets.kinds(tmp_path).items()) == [(kind, tmp_path / kind) for kind in ("photographs", "text")]
    (tmp_path / "text").rename(tmp_path / "cache")
    with pytest.raises(DatasetError, match="cache: a kind of images cannot have that name"):
        datasets.kinds(tmp_path)
    picture(20, 10).save(tmp_path / "c.png")
    assert datasets.kinds(tmp_path) == {"": tmp_path}  # its own images go before those of its folders


def test_download_with_progress_and_resume(kodak_like, tmp_path):
    target, seen = tmp_path / "kodak", []
    with serve(kodak_like) as (url, requests):
        whole = (kodak_like / "kodim02.png").read_bytes()
        target.mkdir()
        (target / "kodim02.png.part").write_bytes(whole[:100])
        assert datasets.kodak(target, url=url, progress=lambda *state: seen.append(state)) == 3
        assert requests["/kodim02.png"] == [f"bytes={100}-"]
        assert datasets.kodak(target, url=url) == 0 and len(requests["/kodim01.png"]) == 1
        (target / "kodim03.png").write_bytes(b"damaged")
        assert datasets.kodak(target, url=url) == 1
        (target / "kodim02.png").unlink()
        (target / "kodim02.png.part").write_bytes(whole)  # complete, but never renamed
        assert datasets.kodak(target, url=url) == 1
    assert (target / "kodim02.png").read_bytes() == whole
    assert ("kodim02.png", len(whole), len(whole)) in seen
    assert sorted(path.name for path in target.iterdir()) == ["kodim01.png", "kodim02.png", "kodim03.png"]


def test_a_wrong_file_is_refused_and_removed(kodak_like, tmp_path):
    (kodak_like / "kodim01.png").write_bytes(b"something else")
    with serve(kodak_like) as (url, _), pytest.raises(DatasetError, match="SHA-256"):
        datasets.kodak(tmp_path / "kodak", url=url)
    assert not list((tmp_path / "kodak").iterdir())


def test_offline_says_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"Without a network.*--from FOLDER"):
        datasets.kodak(tmp_path / "kodak", url="http://127.0.0.1:9")
    with pytest.raises(DatasetError, match=r"Without a network.*--from FILE"):
        backbone.backbone(tmp_path / "lpips", url="http://127.0.0.1:9")
    with pytest.raises(URLError):
        download.fetch("http://127.0.0.1:9/x", tmp_path / "x", "")


def test_from_a_folder_whatever_the_names(kodak_like, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in (1, 2, 3):
        (kodak_like / f"kodim{number:02}.png").rename(source / f"{number:02}.png")
    assert datasets.kodak(tmp_path / "kodak", source) == 3
    assert datasets.kodak(tmp_path / "kodak", source) == 0
    (source / "01.png").rename(source / "first.PNG")
    assert datasets.kodak(tmp_path / "again", source) == 3
    (source / "02.png").unlink()
    with pytest.raises(DatasetError, match=r"kodim02\.png"):
        datasets.kodak(tmp_path / "other", source)
    with pytest.raises(DatasetError, match="no such folder"):
        datasets.kodak(tmp_path / "other", tmp_path / "missing")
    with pytest.raises(DatasetError, match="a file, not a folder"):
        datasets.kodak(tmp_path / "other", source / "03.png")


def test_the_real_set(kodak, tmp_path):
    assert datasets.kodak(tmp_path / "kodak", kodak) == 24


def test_the_backbone_from_a_file_and_from_the_web(tmp_path, monkeypatch):
    import torch
    from safetensors.torch import load_file

    (tmp_path / "given").mkdir()
    given = lpips_weights(tmp_path / "given")
    made = backbone.backbone(tmp_path / "one", given.parent)
    assert load_file(made).keys() == load_file(given).keys()
    assert backbone.backbone(tmp_path / "one") == made  # there already
    (tmp_path / "web").mkdir()
    full = tmp_path / "web" / backbone.WEIGHTS
    torch.save({**load_file(given), "classifier.1.weight": torch.zeros(3)}, full)
    monkeypatch.setattr(backbone, "DIGEST", hashlib.sha256(full.read_bytes()).hexdigest()[:8])
    with serve(tmp_path / "web") as (url, _):
        path = backbone.backbone(tmp_path / "two", url=url)
    assert [file.name for file in path.parent.iterdir()] == ["alexnet_features.safetensors"]
    with pytest.raises(DatasetError, match="no such file"):
        backbone.backbone(tmp_path / "three", tmp_path / "missing.pth")
    assert not (tmp_path / "three").exists()
    with pytest.raises(DatasetError, match="no such file"):  # the one that is named, though there is another
        backbone.backbone(tmp_path / "one", tmp_path / "missing.pth")
