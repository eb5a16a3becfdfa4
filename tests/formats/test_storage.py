"""Folders here and at URLs behave alike: listed folder by folder, written whole or not at all."""

import os
from datetime import UTC, datetime

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


def test_a_protocol_in_capitals_is_the_same_place():
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'leechcodec[remote]'")
    storage_of("MEMORY://photos").write("MEMORY://photos/a.png", b"picture")
    assert storage_of("memory://photos").read("memory://photos/a.png") == b"picture"
    found = list(storage_of("memory://photos").folders("memory://photos", {".png"}, False))
    fsspec.filesystem("memory").store.clear()
    assert found == [("", ["a.png"])]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_in_a_circle_are_no_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    os.symlink("x.png", tmp_path / "x.png")
    assert list(storage_of(str(tmp_path)).folders(str(tmp_path), {".png"}, False)) == [("", ["a.png"])]


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


def test_a_connection_is_that_of_its_host():
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'leechcodec[remote]'")

    class Hosted(fsspec.AbstractFileSystem):
        protocol = "hosted"

        def __init__(self, host, **options):
            super().__init__(host=host, **options)
            self.host = host

        @staticmethod
        def _get_kwargs_from_urls(path):
            return {"host": path.partition("://")[2].partition("/")[0]}

        def cat_file(self, path, **_):
            return self.host.encode()

    fsspec.register_implementation("hosted", Hosted, clobber=True)
    assert storage_of("hosted://one/a.png").read("hosted://one/a.png") == b"one"
    assert storage_of("hosted://two/a.png").read("hosted://two/a.png") == b"two"
    assert storage_of("hosted://one/b.png") is storage_of("hosted://one/a.png")


@pytest.mark.parametrize("key", ["LastModified", "last_modified", "mtime", "updated", "created"])
def test_times_by_any_name(key):
    assert storage._seconds({key: datetime.fromtimestamp(5, UTC)}) == storage._seconds({key: 5}) == 5
    assert storage._seconds({"name": "a"}) == 0
