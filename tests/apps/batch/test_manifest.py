"""The manifest: it survives a kill at any byte, and no line is there twice."""

import json
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leechcodec.apps.batch.manifest import COLUMNS, Manifest, shard_of
from leechcodec.errors import LqError


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def killed(manifest):
    """As a process that dies leaves it."""
    manifest._file.close()


def cut_short(path, cut, groups):
    """A manifest of these lines, added group by group, that ends after so many bytes; its sizes after each group."""
    path.unlink(missing_ok=True)
    manifest, sizes = Manifest(path), []
    for lines in groups:
        manifest.add(*lines)
        sizes.append(path.stat().st_size)
    killed(manifest)
    path.write_bytes(path.read_bytes()[:cut])
    return sizes


def test_lines_are_there_at_once(tmp_path):
    path = tmp_path / "new" / "m.jsonl"
    with closing(Manifest(path)) as manifest:
        manifest.add(dict(name="ä.png", output="ä.lq", bytes=10, width=2, height=3, bpp=1.5, psnr=30.0, seconds=0.1))
        assert rows(path) == [
            {"name": "ä.png", "output": "ä.lq", "bytes": 10, "width": 2, "height": 3, "bpp": 1.5, "psnr": 30.0,
             "seconds": 0.1, "error": None}
        ]  # fmt: skip
        assert "ä.png" not in manifest  # of this run, which does no image twice
    with closing(Manifest(path)) as manifest:
        assert "ä.png" in manifest and "a.png" not in manifest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_line_that_was_not_written_whole_is_left_out(tmp_path, cut):
    path = tmp_path / "m.jsonl"
    cut_short(path, cut, [[dict(name=name)] for name in "abc"])
    data = path.read_bytes()
    with closing(Manifest(path)) as manifest:
        assert [name in manifest for name in "abc"] == [n < data.count(b"\n") for n in range(3)]
        for name in "abc"[data.count(b"\n") :]:
            manifest.add(dict(name=name))
    assert [row["name"] for row in rows(path)] == list("abc")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 1200))
def test_a_shard_that_lacks_lines_is_done_again(tmp_path, cut):
    path = tmp_path / "m.jsonl"
    shards = {f"{shard}.tar": [dict(name=f"{shard}.tar/{number}") for number in range(3)] for shard in "ab"}
    ends = cut_short(path, cut, shards.values())
    with closing(Manifest(path)) as manifest:
        for (shard, lines), end in zip(shards.items(), ends, strict=True):
            assert (shard in manifest) == (cut >= end)
            if shard not in manifest:
                manifest.add(*lines)
    assert [row["name"] for row in rows(path)] == [line["name"] for lines in shards.values() for line in lines]


def test_errors_are_left_out_when_the_next_run_begins(tmp_path):
    path = tmp_path / "m.jsonl"
    with closing(Manifest(path)) as manifest:
        manifest.add(dict(name="a", error="no"))
        manifest.add(dict(name="b"))
    assert [row["error"] for row in rows(path)] == ["no", None]
    with closing(Manifest(path)) as manifest:
        assert "a" not in manifest and [row["name"] for row in rows(path)] == ["b"]
        manifest.add(dict(name="a"))
    assert [row["name"] for row in rows(path)] == ["b", "a"]


@pytest.mark.parametrize("whole", [True, False])
def test_an_image_made_again_has_one_line(tmp_path, whole):
    path = tmp_path / "m.jsonl"
    with closing(Manifest(path)) as manifest:
        for name in "abc":
            manifest.add(dict(name=name, bytes=1))
    manifest = Manifest(path)
    manifest.add(dict(name="b", bytes=2))
    manifest.add(dict(name="d", error="no"))
    if whole:
        manifest.close()
        assert [row["name"] for row in rows(path)] == ["a", "c", "b", "d"]
    else:
        killed(manifest)
        Manifest(path).close()
        assert [row["name"] for row in rows(path)] == ["a", "c", "b"]
    assert rows(path)[2]["bytes"] == 2


def test_something_else_is_not_written_to(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"name": "a"}\nfirst verse\n')
    with pytest.raises(LqError, match=r"notes\.jsonl: line 2 is none of a manifest's"):
        Manifest(path)
    assert path.read_text().endswith("verse\n")


def test_somebodys_file_without_a_last_line_feed_stays(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text('{"precious": [1, 2, 3]}')
    with pytest.raises(LqError, match="none of a manifest's"):
        Manifest(path)
    assert path.read_text() == '{"precious": [1, 2, 3]}'


def test_shards_of_any_spelling():
    assert shard_of("p/X.TAR/000.jpg") == "p/X.TAR" and shard_of("x.tar/a/b.tar/c.jpg") == "x.tar"
    assert shard_of("x.tar") == shard_of("star/x.jpg") == ""


def test_two_runs_do_not_meet(tmp_path):
    pytest.importorskip("fcntl", reason="locks are POSIX's")
    with closing(Manifest(tmp_path / "m.jsonl")), pytest.raises(LqError, match=r"m\.jsonl: another run is at work"):
        Manifest(tmp_path / "m.jsonl")


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'leechcodec[remote]'")
    path = tmp_path / "m.parquet"
    manifest = Manifest(path)
    manifest.add(dict(name="a", bytes=5, bpp=0.5))
    killed(manifest)
    assert not path.exists()
    with closing(Manifest(path)) as manifest:
        assert "a" in manifest
        manifest.add(dict(name="b", error="no"))
        manifest.add(dict(name="\udcff"))
    assert [file.name for file in tmp_path.iterdir()] == ["m.parquet"]
    table = parquet.read_table(path)
    assert table.column_names == list(COLUMNS) and table["name"].to_pylist() == ["a", "b", "\\xff"]
    assert table["bytes"].to_pylist() == [5, None, None]
    with closing(Manifest(path)) as manifest:
        assert "a" in manifest and "b" not in manifest
        manifest.add(dict(name="b"))
    assert parquet.read_table(path)["error"].to_pylist() == [None, None, None]
    path.write_bytes(b"no")
    with pytest.raises(LqError, match="no manifest that can be read"):
        Manifest(path)
