"""Row 5, and 4h: where a file is written to."""

import os
import stat
import subprocess
import sys
import threading

import pytest
from PIL import Image

from leechcodec.formats import files
from leechcodec.formats.files import OutputExistsError, descriptor_of, is_stream, write_atomic
from tests.inputs import make
from tests.places import ROOT

MAGIC = b"\x89LQ\n"
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and descriptors of POSIX")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(make.png(make.photo(), 8, 2))
    return path


def shell(command, tiny_folder, **options):
    """A command line in a shell: {lq} is the program's start, {model} its end."""
    program = f"{sys.executable} -m leechcodec"
    line = command.replace("{lq}", program).replace("{model}", f"--model {tiny_folder}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", line], capture_output=True, env=environment, timeout=300, **options)


@posix
def test_5a_devices_and_pipes_need_no_force(run, photo, tmp_path):
    run("encode", photo, "-o", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    fifo, got = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    run("encode", photo, "-o", fifo)
    reader.join(30)
    assert got[0].startswith(MAGIC) and stat.S_ISFIFO(os.stat(fifo).st_mode)
    (tmp_path / "a.lq").write_bytes(got[0])
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    run("decode", tmp_path / "a.lq", "-o", fifo)  # a name without a suffix: PNG, as for standard output
    reader.join(30)
    assert got[1].startswith(b"\x89PNG")


@posix
def test_5a_5c_descriptors(tmp_path):
    read, write = os.pipe()
    for name in (f"/dev/fd/{write}", f"/proc/self/fd/{write}", f"/proc/{os.getpid()}/fd/{write}"):
        if os.path.exists(name):
            assert is_stream(name)
            write_atomic(name, b"x" * 10)
            assert os.read(read, 100) == b"x" * 10
            link = tmp_path / "link"
            link.symlink_to(name)
            write_atomic(link, b"y")
            assert os.read(read, 100) == b"y" and link.is_symlink()
            link.unlink()
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before ")
        file.flush()
        write_atomic(f"/dev/fd/{file.fileno()}", b"after")
    assert (tmp_path / "file").read_bytes() == b"before after"
    os.close(read), os.close(write)
    with pytest.raises(OSError, match=f"/dev/fd/{write}"):
        write_atomic(f"/dev/fd/{write}", b"x")
    assert descriptor_of(tmp_path / "file") is None and descriptor_of("/nowhere/fd/3") is None


@pytest.mark.slow
@posix
def test_5b_5c_4h_through_a_shell(photo, tmp_path, tiny_folder):
    (tmp_path / "stdout.lq").symlink_to("/proc/self/fd/1")
    done = shell(
        "{lq} encode a.png -o stdout.lq -f {model} > got && {lq} encode a.png -o /dev/fd/3 {model} 3> three && "
        "{lq} encode a.png -o >(cat > piped) {model} && sleep 0.5",
        tiny_folder,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stdout.lq").is_symlink()
    for name in ("got", "three", "piped"):
        assert (tmp_path / name).read_bytes().startswith(MAGIC)
    done = shell("{lq} encode a.png -o - {model} >&-", tiny_folder, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == b"leechcodec: standard output: closed\n"


@pytest.mark.slow
@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_5e_every_error_names_its_file(run, photo, tmp_path, tiny_folder):
    assert "/dev/full: No space left on device" in run("encode", photo, "-o", "/dev/full", code=1).stderr
    done = shell("{lq} encode a.png -o - {model} > /dev/full", tiny_folder, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == b"leechcodec: standard output: No space left on device\n"


@posix
@pytest.mark.parametrize("there", [True, False])
def test_5d_of_a_link_the_target_is_written(run, photo, tmp_path, there):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, link = folder / "target.lq", tmp_path / "link.lq"
    link.symlink_to(os.path.join("elsewhere", "target.lq"))
    if there:
        target.write_bytes(b"old")
        run("encode", photo, "-o", link, code=1)
        assert target.read_bytes() == b"old"
    run("encode", photo, "-o", link, *(["-f"] if there else []))
    assert link.is_symlink() and not target.is_symlink() and target.read_bytes().startswith(MAGIC)
    assert os.listdir(folder) == ["target.lq"]


@posix
def test_5d_links_in_a_circle_are_an_error_that_names_them(run, photo, tmp_path):
    (tmp_path / "x.lq").symlink_to("y.lq")
    (tmp_path / "y.lq").symlink_to("x.lq")
    assert "x.lq: " in run("encode", photo, "-o", tmp_path / "x.lq", "-f", code=1).stderr


@posix
def test_5f_permissions_without_touching_the_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was changed"))
    write_atomic(tmp_path / "new", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "old").write_bytes(b"x")
    (tmp_path / "old").chmod(0o640)
    write_atomic(tmp_path / "old", b"y", force=True)
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640
    assert "umask" not in files.__dict__
    with pytest.raises(OutputExistsError):
        write_atomic(tmp_path / "old", b"z")


def test_of_two_writers_without_force_one_is_refused(tmp_path, monkeypatch):
    """Another process makes the file after the first look, before the last step."""
    path, fsync = tmp_path / "x.lq", os.fsync

    def late(descriptor):
        fsync(descriptor)
        path.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", late)
    with pytest.raises(OutputExistsError):
        write_atomic(path, b"ours")
    assert path.read_bytes() == b"theirs" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [PermissionError(1, "no links here"), NotImplementedError])
def test_file_systems_without_links_are_written_to(error, tmp_path, monkeypatch):
    def link(*_, **__):
        raise error

    monkeypatch.setattr(os, "link", link)
    write_atomic(tmp_path / "x.lq", b"ours")
    assert (tmp_path / "x.lq").read_bytes() == b"ours" and len(list(tmp_path.iterdir())) == 1


@posix
def test_8c_devices_keep_their_own_time(run, photo, monkeypatch):
    monkeypatch.setattr(os, "utime", lambda *_, **__: pytest.fail("a device's time was set"))
    run("encode", photo, "-o", "/dev/null")


@posix
@pytest.mark.parametrize("verb", ["tokenize", "detokenize", "decode"])
def test_5a_other_verbs(run, photo, tmp_path, verb):
    run("encode", photo)
    run("tokenize", photo)
    source = {"tokenize": photo, "detokenize": tmp_path / "a.safetensors", "decode": tmp_path / "a.lq"}[verb]
    run(verb, source, "-o", "/dev/null")
    link = tmp_path / "link.png"
    link.symlink_to("there.png")
    if verb != "tokenize":
        run(verb, source, "-o", link)
        assert link.is_symlink() and Image.open(tmp_path / "there.png").size == (96, 64)
