"""Names: folder by folder, and never two inputs to one output."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.apps.batch.names import File, Names
from leechcodec.errors import LqError


def named(names, keep=False):
    jobs = Names((".",), None, ".lq", {".png"}, keep_extension=keep)._named([File("in", name, "out") for name in names])
    return [job.output for job in jobs]


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["a.png", "b.jpg"], ["a.lq", "b.lq"]),
        (["a.png", "a.jpg", "b.jpg"], ["a.png.lq", "a.jpg.lq", "b.lq"]),
        (["a.png", "a.jpg", "a.jpg.png"], ["a.png.lq", "a.jpg.lq", "a.jpg.png.lq"]),  # whose stem is another's name
        (["a.b.png", "a.png", ".png"], ["a.b.lq", "a.lq", ".png.lq"]),
    ],
)
def test_outputs_of_a_folder(names, outputs):
    assert named(names) == outputs
    assert named(names, keep=True) == [f"{name}.lq" for name in names]


@given(st.sets(st.text("a.", min_size=1, max_size=6), max_size=20))
def test_names_of_one_folder_never_collide(names):
    outputs = named(sorted(names))
    assert len(set(outputs)) == len(names)


def test_a_tree_is_listed_folder_by_folder(tmp_path, monkeypatch):
    for name in ("b/1.png", "b/c/2.png", "a/3.png", "4.png", "4.txt", "b.d/5.PNG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / "a", tmp_path / "link")  # links to folders may lead in circles
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    names = Names((str(tmp_path),), str(tmp_path / "out"), ".lq", {".png"}, recursive=True)
    jobs = names.jobs()
    assert next(jobs).target == str(tmp_path / "out" / "4.lq") and len(listed) == 1
    rest = [os.path.relpath(job.target, tmp_path / "out") for job in jobs]
    assert rest == ["a/3.lq", "b/1.lq", "b/c/2.lq", "b.d/5.lq"] and names.count() == 5


def test_no_files_are_an_error(tmp_path):
    with pytest.raises(LqError, match="no files to work on"):
        next(Names((str(tmp_path),), None, ".lq", {".png"}).jobs())
