import json
import os
import shutil
import sys
import tarfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.batch.names import PHOTOGRAPHS, Names, is_single
from leechcodec.apps.cli import main
from leechcodec.errors import LqError


@pytest.fixture
def photos(tmp_path):
    """A tree: a.png, sub/b.jpg, sub/deeper/c.webp, and a text file that is no photograph."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.png", "sub/b.jpg", "sub/deeper/c.webp")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(path)
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
    (folder / "notes.txt").write_text("not a photograph")
    return folder


@pytest.fixture
def run(tiny_folder):
    def invoke(*arguments, code=0):
        result = CliRunner().invoke(main, [*map(str, arguments), "--model", str(tiny_folder)])
        assert result.exit_code == code, (result.stderr, result.exception)
        return result

    return invoke


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_tree_of_folders_there_and_back(run, photos, tmp_path):
    lq, out = tmp_path / "lq", tmp_path / "out"
    result = run("encode", photos, "-o", lq, "--recursive", "-v")
    assert names(lq) == ["a.lq", "sub/b.lq", "sub/deeper/c.lq"]
    assert result.stderr.count("bpp") == 3
    assert (lq / "sub/b.lq").stat().st_mtime == 1_000_000_001
    run("decode", lq, "-o", out, "--recursive", "--format", "jpg")
    assert names(out) == ["a.jpg", "sub/b.jpg", "sub/deeper/c.jpg"]
    assert Image.open(out / "a.jpg").size == (30, 20)
    assert (out / "sub/deeper/c.jpg").stat().st_mtime == 1_000_000_002


def test_a_folder_without_recursive_is_its_own_files(run, photos):
    run("encode", photos)
    assert names(photos) == ["a.lq", "a.png", "notes.txt", "sub/b.jpg", "sub/deeper/c.webp"]


def test_the_same_bytes_as_one_at_a_time(run, photos, tmp_path):
    run("encode", photos, "-o", tmp_path / "lq", "--recursive", "--jobs", 3)
    run("encode", photos / "sub/b.jpg", "-o", tmp_path / "b.lq")
    assert (tmp_path / "lq/sub/b.lq").read_bytes() == (tmp_path / "b.lq").read_bytes()


def test_what_fails_is_told_at_the_end_and_the_rest_is_done(run, photos, tmp_path):
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:60])
    (tmp_path / "lq/sub").mkdir(parents=True)
    (tmp_path / "lq/sub/b.lq").write_bytes(b"precious")
    result = run("encode", photos, "-o", tmp_path / "lq", "--recursive", code=1)
    lines = result.stderr.splitlines()
    assert len(lines) == 3 and "broken.png" in lines[0] and "exists" in lines[1]
    assert lines[2].startswith("leechcodec: 2 images, 2 failed, 0.00 MB in, 0.00 MB out, ")
    assert names(tmp_path / "lq") == ["a.lq", "sub/b.lq", "sub/deeper/c.lq"]
    assert (tmp_path / "lq/sub/b.lq").read_bytes() == b"precious"
    run("encode", photos, "-o", tmp_path / "lq", "--recursive", "-f", code=1)
    assert (tmp_path / "lq/sub/b.lq").read_bytes()[:4] != b"prec"


def test_json_is_one_object_a_file(run, photos):
    result = run("encode", photos, "--recursive", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(row["input"] for row in rows) == sorted(str(path) for path in photos.rglob("*.[pjw]*"))
    for row in rows:
        assert row["bytes"] == os.stat(row["output"]).st_size and (row["width"], row["height"]) == (30, 20)


def test_patterns_and_several_files(run, photos):
    run("encode", photos / "*.png", photos / "sub/b.jpg", "-o", photos)
    assert {"a.lq", "b.lq"} <= set(names(photos))


def test_two_inputs_of_one_output_are_refused(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "others")
    with pytest.raises(LqError, match="both become"):
        list(Names((str(photos), str(tmp_path / "others")), str(tmp_path / "out"), ".lq", PHOTOGRAPHS).jobs())


def test_a_file_named_twice_is_done_once(photos):
    assert len(list(Names((str(photos / "a.png"), str(photos)), None, ".lq", PHOTOGRAPHS).jobs())) == 1


def test_nothing_to_do_is_an_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no files" in run("encode", tmp_path / "empty", code=1).stderr
    assert "standard output" in run("encode", tmp_path, tmp_path / "empty", "-o", "-", code=1).stderr


def test_the_output_of_many_is_a_folder(run, photos):
    assert "not a folder" in run("encode", photos, "-o", photos / "notes.txt", code=1).stderr
    assert "need a folder" in run("encode", photos, "-o", photos / "one.lq", code=1).stderr
    assert "need a folder" in run("decode", photos, "-o", photos / "one.png", code=1).stderr


def test_one_file_or_many(tmp_path):
    (tmp_path / "[a].png").write_bytes(b"")
    assert is_single([str(tmp_path / "[a].png")]) and is_single(["missing.png"]) and is_single(["-"])
    assert not is_single([str(tmp_path)]) and not is_single(["*.png"]) and not is_single(["a", "b"])


def test_warnings_name_their_file_and_quiet_silences_them(run, tmp_path):
    for name in ("one", "two"):
        Image.new("RGBA", (16, 16), (255, 0, 0, 128)).save(tmp_path / f"{name}.png")
    run("encode", tmp_path)
    result = run("decode", tmp_path, "--format", "jpg")
    assert sorted(line.split(": ")[2][-6:] for line in result.stderr.splitlines()[:-1]) == ["one.lq", "two.lq"]
    assert run("decode", tmp_path, "--format", "jpg", "-f", "--quiet").stderr == ""


@pytest.mark.slow
def test_processes_and_a_manifest(run, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"no")
    arguments = (photos, "-o", tmp_path / "lq", "--recursive", "--jobs", 1, "--manifest", tmp_path / "m.jsonl")
    result = run("encode", *arguments, "--skip-existing", code=1)
    assert result.stderr.splitlines()[0] == f"leechcodec: {photos / 'broken.png'}: not an image that can be read"
    rows = {row["name"]: row for row in map(json.loads, (tmp_path / "m.jsonl").read_text().splitlines())}
    assert len(rows) == 4 and rows[str(photos / "a.png")]["psnr"] > 0
    run("encode", photos, "-o", tmp_path / "one", "--recursive", code=1)
    for name in names(tmp_path / "one"):
        assert (tmp_path / "lq" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    (photos / "broken.png").unlink()
    told = run("encode", *arguments, "--skip-existing").stderr
    assert told.startswith("leechcodec: 0 images, 3 there before, ")
    run("decode", tmp_path / "lq", "-o", tmp_path / "out", "--recursive", "--jobs", 1)
    assert names(tmp_path / "out") == ["a.png", "sub/b.png", "sub/deeper/c.png"]


@pytest.mark.slow
def test_workers_warnings_are_told(run, tmp_path):
    Image.new("RGBA", (16, 16), (255, 0, 0, 128)).save(tmp_path / "one.png")
    run("encode", tmp_path)
    result = run("decode", tmp_path, "--format", "jpg", "--jobs", 1)
    assert result.stderr.startswith(f"leechcodec: warning: {tmp_path / 'one.lq'}: ")
    assert run("decode", tmp_path, "--format", "jpg", "--jobs", 1, "-f", "--quiet").stderr == ""


def test_what_is_for_many_files_is_not_for_one(run, photos, monkeypatch):
    for option in (("--jobs", 2), ("--ray",), ("--ray-address", "auto"), ("--manifest", "m.jsonl")):
        assert f"{option[0]} is for many files" in run("encode", photos / "a.png", *option, code=2).stderr
    for module in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, module, None)
    result = run("encode", photos, "-o", photos / "out", "--ray", code=1)
    assert "pip install 'leechcodec[ray]'" in result.stderr and not (photos / "out").exists()


def test_shards_become_shards(run, photos, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(photos / "a.png", "0.png")
        archive.add(photos / "sub/b.jpg", "1.jpg")
    told = run("encode", tmp_path / "photos.tar", "-o", tmp_path / "out-%03d.tar").stderr
    assert told.startswith("leechcodec: 2 images, ")
    with tarfile.open(tmp_path / "out-000.tar") as archive:
        assert archive.getnames() == ["0.lq", "1.lq"]
    for option in ("--recursive", "--keep-extension"):
        arguments = ("encode", tmp_path / "photos.tar", "-o", tmp_path / "again-%d.tar", option)
        assert "are not for shards" in run(*arguments, code=2).stderr
    run("decode", tmp_path / "out-%03d.tar", "-o", tmp_path / "back-%03d.tar")
    with tarfile.open(tmp_path / "back-000.tar") as archive:
        assert all(name.endswith(".png") for name in archive.getnames())
    for arguments in ((photos, "-o", tmp_path / "out.tar"), (tmp_path / "photos.tar",)):
        assert "shards become shards" in run("encode", *arguments, code=2).stderr
