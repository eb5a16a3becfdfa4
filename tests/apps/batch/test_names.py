"""Names: folder by folder, and never two inputs to one output."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.apps.batch.names import PHOTOGRAPHS, File, Names, Single, is_one_by_url
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


def test_one_folder_has_many_spellings(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    for name in ("x.png", "x.jpg"):
        (tmp_path / "a" / name).touch()
    monkeypatch.chdir(tmp_path)
    for other in ("./a/x.jpg", "a//x.jpg", "link/x.jpg", f"{tmp_path}/a/x.jpg"):
        jobs = list(Names(("a/x.png", other), None, ".lq", PHOTOGRAPHS).jobs())
        assert [job.output for job in jobs] == ["x.png.lq", "x.jpg.lq"]
        assert len(list(Names(("a/x.jpg", other), None, ".lq", PHOTOGRAPHS).jobs())) == 1


def test_a_link_has_an_output_of_its_own(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").symlink_to("a.png")
    named = Names((f"{tmp_path}/a.png", f"{tmp_path}/b.png"), None, ".lq", PHOTOGRAPHS)
    assert [job.output for job in named.jobs()] == ["a.lq", "b.lq"]


def test_one_file_by_url(tmp_path):
    pytest.importorskip("fsspec")
    (tmp_path / "a.png").touch()
    url = f"file://{tmp_path}"
    assert is_one_by_url((f"{tmp_path}/a.png",), f"{url}/b.lq") and is_one_by_url((f"{url}/a.png",), "b.lq")
    for sources, output in (
        ((f"{url}/a.png",), None),
        ((f"{tmp_path}/a.png",), "b.lq"),
        ((f"{url}/a.png",) * 2, "b.lq"),
    ):
        assert not is_one_by_url(sources, output)
    assert not is_one_by_url((url,), "b.lq") and not is_one_by_url((f"{url}/a.png",), str(tmp_path))
    (job,) = Single(f"{url}/a.png", "b.lq").jobs()
    assert (job.file.path, job.target) == (f"{url}/a.png", "b.lq")


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
