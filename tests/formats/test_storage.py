"""Folders here and at URLs behave alike: listed folder by folder, written whole or not at all."""

import os

import pytest

from leechcodec.errors import LqError
from leechcodec.formats import storage
from leechcodec.formats.storage import MARK, is_newer, is_url, join, storage_of


@pytest.fixture(params=["path", "file", "memory", "s3"])
def folder(request, tmp_path):
    """An empty place: a folder, and URLs of three protocols."""
    if request.param == "path":
        yield str(tmp_path)
        return
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'leechcodec[remote]'")
    if request.param == "file":
        yield f"file://{tmp_path}"
    elif request.param == "memory":
        yield "memory://photos"
        fsspec.filesystem("memory").store.clear()
    else:
        yield request.getfixturevalue("bucket")


def test_there_and_back(folder):
    at = storage_of(folder)
    contents = {"b.png": b"1", "a.PNG": b"", "notes.txt": b"3", "sub/c.png": b"4", "sub/deeper/d.png": b"5"}
    for name, data in contents.items():
        at.write(join(folder, name), data)
        assert at.read(join(folder, name)) == data
    assert at.is_folder(folder) and not at.is_folder(join(folder, "b.png"))
    assert list(at.folders(folder, {".png"}, False)) == [("", ["a.PNG", "b.png"])]
    assert list(at.folders(folder, {".png"}, True)) == [
        ("", ["a.PNG", "b.png"]),
        ("sub", ["c.png"]),
        (os.path.join("sub", "deeper"), ["d.png"]),
    ]
    at.write(join(folder, "b.png"), b"over it")
    assert at.read(join(folder, "b.png")) == b"over it"
    times = at.times(folder)
    assert (times("b.png") or 0) > 1e9 and times("none.png") is None
    assert at.times(join(folder, "nowhere"))("none.png") is None
    with pytest.raises(FileNotFoundError):
        at.read(join(folder, "none.png"))


def test_what_killed_writers_left_is_swept(folder):
    at = storage_of(folder)
    at.write(join(folder, "a.png"), b"1")
    at.sweep(folder)
    at.sweep(join(folder, "nowhere"))
    if isinstance(at, storage._Remote) and at._atomic:
        return  # no temporary names
    at.write(join(folder, f"{MARK}123"), b"half")
    at.sweep(folder)
    with pytest.raises(FileNotFoundError):
        at.read(join(folder, f"{MARK}123"))
    assert at.read(join(folder, "a.png")) == b"1"


def test_urls_and_paths():
    assert is_url("s3://bucket/a") and is_url("file:///a") and not is_url("a/b") and not is_url("C:/a")
    assert join("s3://bucket/", "a", "", "b.png") == "s3://bucket/a/b.png" and join("in", "") == "in"
    assert join("in", "a", "b.png") == os.path.join("in", "a", "b.png")
    assert is_newer(5.0, None) and is_newer(5.0, 5.0) and is_newer(5.0, 6.5) and not is_newer(5.0, 8.0)


def test_protocols_that_are_not_there():
    pytest.importorskip("fsspec", reason="needs fsspec: pip install 'leechcodec[remote]'")
    with pytest.raises(LqError, match="gopher://: Protocol not known"):
        storage_of("gopher://host/photos")


def test_a_network_that_fails_is_an_oserror(monkeypatch):
    pytest.importorskip("fsspec", reason="needs fsspec: pip install 'leechcodec[remote]'")
    at = storage_of("memory://photos")

    def broken(*_, **__):
        raise RuntimeError("nobody answers")

    monkeypatch.setattr(at._files, "cat_file", broken)
    with pytest.raises(OSError, match="RuntimeError: nobody answers") as caught:
        at.read("memory://photos/a.png")
    assert caught.value.filename == "memory://photos/a.png"
