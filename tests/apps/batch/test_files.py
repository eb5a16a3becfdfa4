"""The run of encode and decode: every image once, whatever ends a run and whoever dies."""

import errno
import json
import os
import re
from contextlib import closing
from functools import partial

import pytest

from leechcodec.apps.batch.coding import Decoding, Encoding
from leechcodec.apps.batch.files import Existing, FileSettings, run_files
from leechcodec.apps.batch.manifest import Manifest
from leechcodec.apps.batch.names import PHOTOGRAPHS, Names, Single
from leechcodec.apps.batch.processes import run_processes
from leechcodec.apps.batch.ray_actors import run_ray
from leechcodec.apps.batch.tasks import Outcome
from leechcodec.codec import api
from leechcodec.errors import WorkerError
from leechcodec.formats.images import load_image
from leechcodec.formats.storage import storage_of
from tests.batch_workers import MortalFiles
from tests.lab.lab_files import picture

SKIP = Existing(skip=True)


@pytest.fixture
def photos(tmp_path):
    """Six images of two folders."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(["a.png", "a.jpg", "b.png", "c.png", "sub/a.png", "sub/ä.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(70 + seed, 50, seed).save(folder / name)
        os.utime(folder / name, (1_000_000_000 + seed, 1_000_000_000 + seed))
    return folder


@pytest.fixture
def names(photos, tmp_path):
    return Names((str(photos),), str(tmp_path / "lq"), ".lq", PHOTOGRAPHS, recursive=True)


@pytest.fixture
def settings(tiny_folder):
    return FileSettings(Encoding(60, model=str(tiny_folder), measure=True), threads=1)


@pytest.fixture
def here(settings):
    """A driver in this process."""

    def execute(tasks, begun=None):
        work = settings.here()
        for task in tasks:
            if begun is not None:
                begun.append(task.number)
            yield work(task)

    return execute


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(names, here, tmp_path):
    """What one run makes."""
    summary = run_files(names, here, Existing())
    assert (summary.done, summary.failed, summary.present) == (6, 0, 0)
    return files(tmp_path / "lq")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_output_that_cannot_be_looked_up_is_a_failure_and_the_rest_is_done(names, here, photos, tmp_path):
    (photos / ("z" * 251 + ".png")).touch()  # with .lq beside .png it would be told apart by a longer name
    (photos / ("z" * 251 + ".jpg")).touch()
    (tmp_path / "lq").mkdir()
    os.symlink("b.lq", tmp_path / "lq" / "b.lq")
    (tmp_path / "lq" / "c.lq").mkdir()
    (tmp_path / "lq" / ".leechcodec-batch.somebody").mkdir()
    summary = run_files(names, here, SKIP)
    assert (summary.done, summary.present, summary.failed) == (4, 0, 4)
    reasons = sorted(reason.rpartition(": ")[2] for _, reason in summary.failures)
    assert reasons == ["File name too long"] * 2 + ["Too many levels of symbolic links", "is a folder"]


def test_no_input_is_overwritten_under_another_name(here, photos):
    pytest.importorskip("fsspec")
    before = (photos / "b.png").read_bytes()
    for source, output in (
        (f"file://{photos}/b.png", f"{photos}/b.png"),
        (f"{photos}/b.png", f"FILE://{photos}/b.png"),
    ):
        summary = run_files(Single(source, output), here, Existing(force=True))
        assert summary.failures == [(0, f"{output}: is the input; -o names another output")]
    assert (photos / "b.png").read_bytes() == before


def test_a_folder_that_cannot_be_listed_is_a_failure_and_the_rest_is_done(names, here, photos, tmp_path, monkeypatch):
    (photos / "z").mkdir()
    picture(70, 50, 7).save(photos / "z" / "last.png")
    scandir = os.scandir

    def guarded(path):
        if os.fspath(path) == str(photos / "sub"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with closing(Manifest(tmp_path / "made.jsonl")) as manifest:
        summary = run_files(names, here, SKIP, manifest=manifest)
    assert (summary.done, summary.failed) == (5, 1) and names.count() == 6
    assert [reason for _, reason in summary.failures] == [f"{photos / 'sub'}: Permission denied"]
    assert (tmp_path / "lq" / "z" / "last.lq").is_file()
    assert sum(bool(row["error"]) for row in rows(tmp_path / "made.jsonl")) == 1
    both = Names((str(photos), str(photos / "a.png")), None, ".lq", PHOTOGRAPHS, recursive=True)
    assert [job.target for job in both.jobs() if job.file.refused] == [str(photos)]
    monkeypatch.undo()
    assert run_files(names, here, SKIP).done == 2


def test_every_image_is_there_once_in_the_bytes_of_a_single_file(names, whole, photos, tiny_folder, tmp_path):
    assert sorted(whole) == ["a.jpg.lq", "a.png.lq", "b.lq", "c.lq", "sub/a.lq", "sub/ä.lq"]
    image = load_image(photos / "sub" / "a.png")
    assert whole["sub/a.lq"] == api.compress(image, quality=60, model=tiny_folder)
    assert (tmp_path / "lq/sub/a.lq").stat().st_mtime == (photos / "sub/a.png").stat().st_mtime


def test_there_and_back(names, whole, here, tmp_path, tiny_folder):
    decoding = FileSettings(Decoding(".png", model=str(tiny_folder)))
    work = decoding.here()
    back = Names((str(tmp_path / "lq"),), str(tmp_path / "out"), ".png", frozenset({".lq"}), recursive=True)
    summary = run_files(back, lambda tasks: map(work, tasks), Existing())
    assert (summary.done, summary.read) == (6, sum(map(len, whole.values())))
    assert load_image(tmp_path / "out/sub/ä.png").size == (75, 50)
    assert re.fullmatch(r"6 images, 0\.\d\d MB in, 0\.\d\d MB out, \d+\.\d\d images per second", summary.line())


@pytest.mark.parametrize("with_manifest", [False, True])
def test_a_run_goes_on_where_it_was_ended(names, here, tmp_path, with_manifest):
    found, path, begun = [], tmp_path / "m.jsonl", []

    def ended(tasks):
        for outcome in here(tasks, begun):
            if len(begun) in (2, 5):  # done, and nobody told: as where the driver is killed
                raise KeyboardInterrupt
            yield outcome

    for _ in range(3):
        manifest = Manifest(path) if with_manifest else None
        try:
            found.append(run_files(names, ended, SKIP, manifest=manifest))
        except KeyboardInterrupt:
            if manifest:
                manifest._file.close()  # a killed process closes nothing more
    (summary,) = found
    assert len(files(tmp_path / "lq")) == 6
    if with_manifest:  # those done without a line are done again
        assert sorted(row["name"] for row in rows(path)) == sorted(job.file.path for job in names.jobs())
        assert len(begun) == 6 + 2
    else:
        assert len(begun) == 6 and summary.done + summary.present == 6


def test_what_is_there_and_newer_is_left_alone(names, whole, here, photos, tmp_path):
    summary = run_files(names, partial(pytest.fail, "nothing to do"), SKIP)
    assert (summary.done, summary.present) == (0, 6) and ", 6 there before, " in summary.line()
    os.utime(photos / "b.png")
    begun = []
    assert run_files(names, partial(here, begun=begun), SKIP).done == 1 and len(begun) == 1
    assert files(tmp_path / "lq") == whole


def test_outputs_that_are_there_are_failures_without_f(names, whole, here, photos, tmp_path):
    summary = run_files(names, partial(pytest.fail, "nothing to do"), Existing())
    assert summary.failed == 6 and summary.failures[0][1] == f"{tmp_path / 'lq' / 'a.jpg.lq'}: exists; -f overwrites it"
    assert run_files(names, here, Existing(force=True)).done == 6
    itself = Names((str(photos),), None, ".png", frozenset({".png"}))
    summary = run_files(itself, partial(pytest.fail, "nothing to do"), Existing(force=True))
    assert [reason.rpartition(": ")[2] for _, reason in summary.failures] == [
        "is the input; -o names another output"
    ] * 3


def test_a_run_that_may_not_overwrite_leaves_the_manifests_lines(names, here, tmp_path):
    path = tmp_path / "m.jsonl"
    for _ in range(2):
        with closing(Manifest(path)) as manifest:
            summary = run_files(names, here, Existing(), manifest=manifest)
    assert summary.failed == 6 and [row["error"] for row in rows(path)] == [None] * 6
    with closing(Manifest(path)) as manifest:
        assert run_files(names, here, SKIP, manifest=manifest).present == 6


def test_an_input_that_is_missing_does_not_end_the_run(here, photos, tmp_path):
    (photos / "gone.lq").touch()
    several = Names((f"{photos}/gone.png", f"{photos}/b.png"), None, ".lq", PHOTOGRAPHS)
    for existing in (Existing(), Existing(force=True)):
        summary = run_files(several, here, existing)
        assert summary.failed == 1 + (existing == Existing(True)) and (photos / "b.lq").exists()


def test_leftovers_in_the_working_directory_are_swept_once(here, photos, monkeypatch):
    monkeypatch.chdir(photos)
    (photos / ".leechcodec-batch.123").touch()
    swept = []
    sweep = type(storage_of("")).sweep
    monkeypatch.setattr(type(storage_of("")), "sweep", lambda self, place: (swept.append(place), sweep(self, place)))
    several = Names(("b.png", "sub/a.png", "c.png", "sub/ä.png"), None, ".lq", PHOTOGRAPHS)
    assert run_files(several, here, Existing()).done == 4
    assert swept == ["", "sub"] and not (photos / ".leechcodec-batch.123").exists()


def test_what_fails_is_listed_and_tried_again(names, here, photos, tmp_path):
    good, path = (photos / "b.png").read_bytes(), tmp_path / "m.jsonl"
    (photos / "b.png").write_bytes(good[:40])
    (photos / "c.png").chmod(0)
    for _ in range(2):
        with closing(Manifest(path)) as manifest:
            summary = run_files(names, here, SKIP, manifest=manifest)
        found = {row["name"]: row for row in rows(path)}
        assert len(found) == len(rows(path)) == 6
        assert "b.png: " in found[str(photos / "b.png")]["error"] and found[str(photos / "b.png")]["bytes"] is None
        assert not (tmp_path / "lq/b.lq").exists()
    (photos / "b.png").write_bytes(good)
    (photos / "c.png").chmod(0o644)
    with closing(Manifest(path)) as manifest:
        summary = run_files(names, here, SKIP, manifest=manifest)
    assert summary.failed == 0 and not any(row["error"] for row in rows(path)) and len(rows(path)) == 6
    row = next(row for row in rows(path) if row["name"].endswith("b.png"))
    data = (tmp_path / "lq/b.lq").read_bytes()
    assert (row["output"], row["bytes"]) == (str(tmp_path / "lq/b.lq"), len(data))
    assert (row["width"], row["height"]) == (72, 50) and row["bpp"] == pytest.approx(8 * len(data) / 3600, abs=1e-5)
    assert row["psnr"] > 0 and row["seconds"] > 0


def test_a_full_disk_ends_the_run_and_the_next_goes_on(names, here, tmp_path, monkeypatch):
    written = []

    def full(path, data, **options):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr("leechcodec.formats.storage.write_atomic", full)
        with pytest.raises(WorkerError, match=r"b\.lq: No space left on device; make room"):
            run_files(names, here, SKIP)
    summary = run_files(names, here, SKIP)
    assert (summary.done, summary.present) == (4, 2)


def test_what_killed_workers_left_is_removed(names, here, tmp_path):
    for place in ("lq", "lq/sub"):
        (tmp_path / place).mkdir()
        (tmp_path / place / ".leechcodec-batch.123").write_bytes(b"half")
        (tmp_path / place / ".leechcodec.123").write_bytes(b"somebody else's")
    run_files(names, here, Existing())
    left = [name for name in files(tmp_path / "lq") if "leechcodec" in name]
    assert sorted(left) == [".leechcodec.123", "sub/.leechcodec.123"]


def test_the_first_failures_are_remembered_and_all_are_in_the_manifest(names, tmp_path, monkeypatch):
    monkeypatch.setattr("leechcodec.apps.batch.files.TOLD", 2)
    with closing(Manifest(tmp_path / "m.jsonl")) as manifest:
        execute = partial(map, lambda task: Outcome(task.number, error="no"))
        summary = run_files(names, execute, SKIP, manifest=manifest)
    assert (summary.failed, len(summary.failures), len(rows(tmp_path / "m.jsonl"))) == (6, 2, 6)


# --- drivers ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["processes", "ray"])
def test_a_worker_that_is_killed_leaves_no_trace(driver, names, settings, whole, tmp_path):
    names = Names(names.sources, str(tmp_path / "again"), ".lq", PHOTOGRAPHS, recursive=True)
    make = partial(MortalFiles, settings, str(tmp_path / "killed"))
    if driver == "ray":
        pytest.importorskip("ray", reason="needs Ray: pip install 'leechcodec[ray]'")
        execute = partial(run_ray, make, 2, None)
    else:
        execute = partial(run_processes, make, 2)
    with closing(Manifest(tmp_path / "m.jsonl")) as manifest:
        summary = run_files(names, execute, Existing(), manifest=manifest)
    assert (tmp_path / "killed").exists() and (summary.done, summary.failed) == (6, 0)
    assert files(tmp_path / "again") == whole and len(rows(tmp_path / "m.jsonl")) == 6


# --- URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_from_and_to_urls(kind, photos, whole, here, tmp_path, request):
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'leechcodec[remote]'")
    base = request.getfixturevalue("bucket") if kind == "s3" else "memory://archive"
    for name, data in files(photos).items():
        storage_of(base).write(f"{base}/in/{name}", data)
    there = Names((f"{base}/in",), f"{base}/lq", ".lq", PHOTOGRAPHS, recursive=True)
    with closing(Manifest(tmp_path / "m.jsonl")) as manifest:
        summary = run_files(there, here, SKIP, manifest=manifest)
    assert (summary.done, summary.failed) == (6, 0)
    for name, data in whole.items():
        assert storage_of(base).read(f"{base}/lq/{name}") == data
    assert f"{base}/in/sub/ä.png" in {row["name"] for row in rows(tmp_path / "m.jsonl")}
    summary = run_files(there, partial(pytest.fail, "nothing to do"), SKIP)
    assert (summary.done, summary.present) == (0, 6)
    down = Names((f"{base}/in",), str(tmp_path / "down"), ".lq", PHOTOGRAPHS, recursive=True)
    assert run_files(down, here, SKIP).done == 6 and files(tmp_path / "down") == whole
    if kind == "memory":
        fsspec.filesystem("memory").store.clear()


@pytest.mark.slow
def test_worker_processes_and_s3(names, settings, bucket, whole, tmp_path):
    up = Names(names.sources, f"{bucket}/lq", ".lq", PHOTOGRAPHS, recursive=True)
    assert run_files(up, partial(run_processes, settings.alone, 2), SKIP).done == 6
    assert storage_of(bucket).read(f"{bucket}/lq/sub/a.lq") == whole["sub/a.lq"]


def test_the_stamps_are_those_of_what_was_read(names, here, photos, tmp_path, monkeypatch):
    """An input that is replaced while it is encoded is done again by the next run."""
    make = Encoding.make

    def replaced(self, data, name, *others):
        done = make(self, data, name, *others)
        if name == str(photos / "b.png"):
            os.utime(photos / "b.png", (2_000_000_000, 2_000_000_000))
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Encoding, "make", replaced)
        assert run_files(names, here, Existing()).done == 6
    summary = run_files(names, here, SKIP)
    assert (summary.done, summary.present) == (1, 5)
