"""Shards to shards: every image of a tar once, what lies beside it kept, and going on after whatever ended a run."""

import io
import json
import tarfile
from contextlib import closing
from functools import partial

import pytest
from PIL import Image

from leechcodec.apps.batch.coding import Decoding, Encoding
from leechcodec.apps.batch.files import Existing, run_files
from leechcodec.apps.batch.manifest import Manifest
from leechcodec.apps.batch.names import PHOTOGRAPHS
from leechcodec.apps.batch.processes import run_processes
from leechcodec.apps.batch.tars import Shards, ShardSettings
from leechcodec.codec import api
from leechcodec.errors import LqError
from leechcodec.formats.storage import storage_of
from tests.lab.lab_files import picture

LONG = "n" * 150


def write_tar(path, contents):
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def png(seed):
    buffer = io.BytesIO()
    picture(70, 50, seed).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Two shards of three images, with a caption beside one and a damaged one."""
    write_tar(tmp_path / "in-000.tar", {"0.png": png(0), "0.txt": b"a caption", "a/1.PNG": png(1), "2.png": b"no"})
    write_tar(tmp_path / "in-001.tar", {f"{LONG}.png": png(3)})
    (tmp_path / "in-all.tar").write_bytes(b"")  # no number
    return Shards((str(tmp_path / "in-%03d.tar"),), str(tmp_path / "out-%06d.tar"))


@pytest.fixture
def settings(tiny_folder):
    return ShardSettings(Encoding(60, model=str(tiny_folder)), 1, PHOTOGRAPHS, ".lq")


@pytest.fixture
def here(settings):
    return lambda tasks: map(settings.here(), tasks)


def names(path):
    return sorted(json.loads(line)["name"] for line in path.read_text().splitlines())


def test_there_and_back(shards, here, tmp_path, tiny_folder):
    with closing(Manifest(tmp_path / "m.jsonl")) as manifest:
        summary = run_files(shards, here, Existing(), manifest=manifest)
    broken = f"{tmp_path}/in-000.tar/2.png"
    assert (summary.done, summary.failed) == (3, 1) and broken in summary.failures[0][1]
    data = (tmp_path / "out-000000.tar").read_bytes()
    found = members(data)
    assert list(found) == ["0.lq", "0.txt", "a/1.lq"] and found["0.txt"] == b"a caption" and len(data) % 10240 == 0
    assert found["a/1.lq"] == api.compress(Image.open(io.BytesIO(png(1))), quality=60, model=tiny_folder)
    assert list(members((tmp_path / "out-000001.tar").read_bytes())) == [f"{LONG}.lq"]
    assert len(names(tmp_path / "m.jsonl")) == 4 and broken in names(tmp_path / "m.jsonl")
    back = Shards((str(tmp_path / "out-00000?.tar"),), str(tmp_path / "back-%d.tar"))
    work = ShardSettings(Decoding(".png", model=str(tiny_folder)), 1, {".lq"}, ".png").here()
    assert run_files(back, partial(map, work), Existing()).done == 3
    assert list(members((tmp_path / "back-0.tar").read_bytes())) == ["0.png", "0.txt", "a/1.png"]


def test_a_run_goes_on_shard_by_shard(shards, here, tmp_path):
    def ended(tasks):
        for outcome in here(tasks):
            yield outcome
            raise KeyboardInterrupt

    manifest = Manifest(tmp_path / "m.jsonl")
    with pytest.raises(KeyboardInterrupt):
        run_files(shards, ended, Existing(skip=True), manifest=manifest)
    manifest.close()
    with closing(Manifest(tmp_path / "m.jsonl")) as manifest:
        summary = run_files(shards, here, Existing(skip=True), manifest=manifest)
    assert (summary.done, summary.present, summary.failed) == (1, 1, 0)
    found = names(tmp_path / "m.jsonl")
    assert len(found) == len(set(found)) == 4
    (tmp_path / "out-000000.tar").unlink()
    with closing(Manifest(tmp_path / "m.jsonl")) as manifest:
        assert run_files(shards, here, Existing(skip=True), manifest=manifest).done == 2
    assert names(tmp_path / "m.jsonl") == found


def test_damaged_shards_fail_and_leave_nothing(shards, here, tmp_path):
    whole = (tmp_path / "in-001.tar").read_bytes()
    for damage in (b"no tar", whole[:700], b""):
        (tmp_path / "in-001.tar").write_bytes(damage)
        summary = run_files(shards, here, Existing(force=True))
        assert "in-001.tar: a damaged shard" in dict(summary.failures)[1]
        assert not (tmp_path / "out-000001.tar").exists()


def test_damage_behind_the_first_image_is_seen(shards, here, tmp_path):
    """tarfile takes a bad header for the end of a tar."""
    path = tmp_path / "in-001.tar"
    write_tar(path, {f"{n}.png": png(n) for n in range(3)})
    whole = path.read_bytes()
    second = 512 + -(-len(png(0)) // 512) * 512
    hole = whole[: second + 20] + b"\xff" + whole[second + 21 :]
    for damage in (hole, whole[:second], whole[: second + 100], whole + b"more"):
        path.write_bytes(damage)
        summary = run_files(shards, here, Existing(force=True))
        assert "in-001.tar: a damaged shard" in dict(summary.failures)[1]
        assert not (tmp_path / "out-000001.tar").exists()
    path.write_bytes(whole)
    assert run_files(shards, here, Existing(force=True)).done == 5


def test_members_of_one_stem_and_links(here, tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        for name, data in {"0.png": png(0), "0.jpg": png(1), "1.lq": b"kept", "1.png": png(2)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in (
            ("2.png", tarfile.LNKTYPE, "0.png"), ("a/3.png", tarfile.SYMTYPE, "../0.png"),
            ("4.png", tarfile.SYMTYPE, "nowhere.png"), ("5.txt", tarfile.SYMTYPE, "5.txt"), ("a", tarfile.DIRTYPE, ""),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    summary = run_files(Shards((str(tmp_path / "in.tar"),), str(tmp_path / "out.tar")), here, Existing())
    found = members((tmp_path / "out.tar").read_bytes())
    assert list(found) == ["0.png.lq", "0.jpg.lq", "1.lq", "1.png.lq", "2.lq", "a/3.lq"]
    assert found["1.lq"] == b"kept" and found["2.lq"] == found["0.png.lq"] == found["a/3.lq"] != found["0.jpg.lq"]
    assert summary.failed == 1 and "4.png" in summary.failures[0][1]


def test_members_stay_where_they_are(tmp_path, here):
    write_tar(tmp_path / "in.tar", {"./0.png": png(0), "./0.txt": b"a", "./a.b/1.png": png(1), "c//2.png": png(2)})
    shards = Shards((str(tmp_path / "in.tar"),), str(tmp_path / "out.tar"))
    assert run_files(shards, here, Existing()).done == 3
    assert list(members((tmp_path / "out.tar").read_bytes())) == ["./0.lq", "./0.txt", "./a.b/1.lq", "c//2.lq"]


@pytest.mark.parametrize("times", [1, 9])
def test_a_lack_of_memory_is_one_images_own(tmp_path, settings, monkeypatch, times):
    write_tar(tmp_path / "in.tar", {f"{number}.png": png(number) for number in range(3)})
    made, failures = Encoding.make, []

    def make(self, content, source):
        if source.endswith("1.png") and len(failures) < times:
            failures.append(source)
            raise MemoryError
        return made(self, content, source)

    monkeypatch.setattr(Encoding, "make", make)
    shards = Shards((str(tmp_path / "in.tar"),), str(tmp_path / "out.tar"))
    summary = run_files(shards, lambda tasks: map(settings.here(), tasks), Existing())
    assert (summary.done, summary.failed) == ((3, 0) if times == 1 else (2, 1))
    found = [f"{number}.lq" for number in range(3) if times == 1 or number != 1]
    assert list(members((tmp_path / "out.tar").read_bytes())) == found


def test_members_whose_full_names_clash_too(here, tmp_path):
    write_tar(tmp_path / "in.tar", {"a.jpg": png(0), "a.png": png(1), "a.jpg.png": png(2)})
    summary = run_files(Shards((str(tmp_path / "in.tar"),), str(tmp_path / "out.tar")), here, Existing())
    assert summary.done == 3
    assert list(members((tmp_path / "out.tar").read_bytes())) == ["a.jpg.lq", "a.png.lq", "a.jpg.png.lq"]
    write_tar(tmp_path / "bad.tar", {"a.jpg": png(0), "a.png": png(1), "a.jpg.lq": b"kept"})
    summary = run_files(Shards((str(tmp_path / "bad.tar"),), str(tmp_path / "o.tar")), here, Existing())
    assert summary.done == 0 and "a.jpg.lq" in summary.failures[0][1] and not (tmp_path / "o.tar").exists()


def test_shards_keep_their_numbers(tmp_path):
    for number in (1, 2, 10):
        write_tar(tmp_path / f"z-{number}.tar", {})
    outputs = [job.output for job in Shards((f"{tmp_path}/z-%d.tar",), f"{tmp_path}/y-%02d.tar").jobs()]
    assert outputs == ["y-01.tar", "y-02.tar", "y-10.tar"]
    pattern = Shards((f"{tmp_path}/z-*.tar",), f"{tmp_path}/y-%d.tar")
    assert [job.output for job in pattern.jobs()] == ["y-0.tar", "y-1.tar", "y-2.tar"]


def test_no_shard_is_overwritten_that_is_to_be_read(tmp_path, monkeypatch):
    for number in (1, 2):
        write_tar(tmp_path / f"z-{number}.tar", {})
    monkeypatch.chdir(tmp_path)
    for output in ("z-%d.tar", "./z-%d.tar", f"{tmp_path}/z-%d.tar"):
        for source in ("z-%d.tar", "z-?.tar"):
            with pytest.raises(LqError, match="is an input"):
                list(Shards((source,), output).jobs())


def test_shards_in_the_root_folder():
    with pytest.raises(LqError, match="no-such"):
        list(Shards(("/no-such-%d.tar",), "/out-%d.tar").jobs())
    (job,) = Shards(("/x.tar",), "/out.tar").jobs()
    assert (job.file.path, job.target) == ("/x.tar", "/out.tar")


def test_names(tmp_path, shards):
    assert [job.output for job in shards.jobs()] == ["out-000000.tar", "out-000001.tar"] and shards.count() == 2
    one = Shards((str(tmp_path / "in-000.tar"),), "out.tar")
    assert [job.target for job in one.jobs()] == ["out.tar"]
    for output in ("out.tar", "out-%s.tar", "%d-%d.tar"):
        with pytest.raises(LqError, match=r"as in out-%06d\.tar"):
            list(Shards(shards.sources, output).jobs())
    with pytest.raises(LqError, match="no shards"):
        list(Shards((str(tmp_path / "none-%d.tar"),), "out-%d.tar").jobs())


@pytest.mark.slow
def test_worker_processes_and_s3(shards, settings, bucket, tmp_path):
    for name in ("in-000.tar", "in-001.tar"):
        storage_of(bucket).write(f"{bucket}/{name}", (tmp_path / name).read_bytes())
    up = Shards((f"{bucket}/in-%03d.tar",), f"{bucket}/out-%06d.tar")
    assert run_files(up, partial(run_processes, settings.alone, 1), Existing()).done == 3
    assert list(members(storage_of(bucket).read(f"{bucket}/out-000000.tar"))) == ["0.lq", "0.txt", "a/1.lq"]
