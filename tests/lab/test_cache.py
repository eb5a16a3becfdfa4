import json

from leechcodec.lab.cache import Entry, RowCache, fingerprint
from leechcodec.lab.datasets import sha256_of
from tests.lab.lab_files import row


def entry(folder, key="k", content=b"file"):
    path = folder / row().file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Entry(key, "metrics", sha256_of(content), row())


def test_rows_come_back(tmp_path):
    first = entry(tmp_path)
    RowCache(tmp_path, "jpeg").put(first)
    assert RowCache(tmp_path, "jpeg").get("k") == first
    assert RowCache(tmp_path, "jpeg").get("other") is None
    assert RowCache(tmp_path, "webp").get("k") is None
    assert RowCache(tmp_path, "jpeg", fresh=True).get("k") is None
    assert RowCache(tmp_path, "jpeg").get("k") is None


def test_a_changed_or_missing_file_does_not_count(tmp_path):
    cache = RowCache(tmp_path, "jpeg")
    cache.put(entry(tmp_path))
    (tmp_path / row().file).write_bytes(b"other")
    assert cache.get("k") is None
    (tmp_path / row().file).unlink()
    assert cache.get("k") is None


def test_a_torn_line_costs_only_itself(tmp_path):
    cache = RowCache(tmp_path, "jpeg")
    cache.put(entry(tmp_path, "whole"))
    cache.put(entry(tmp_path, "torn"))
    cache.path.write_bytes(cache.path.read_bytes()[:-20])
    again = RowCache(tmp_path, "jpeg")
    assert again.get("whole") and again.get("torn") is None
    again.put(entry(tmp_path, "next"))
    assert RowCache(tmp_path, "jpeg").entries.keys() == {"whole", "next"}
    again.path.write_bytes(again.path.read_bytes() + b'{"key": 1}\n[]\nnull\n\xff\n')
    assert RowCache(tmp_path, "jpeg").entries.keys() == {"whole", "next"}


def test_a_row_from_before_a_metric_lacks_it(tmp_path):
    cache = RowCache(tmp_path, "jpeg")
    cache.put(entry(tmp_path))
    old = json.loads(cache.path.read_text())
    del old["row"]["ssimulacra2"]
    cache.path.write_text(json.dumps(old) + "\n")
    assert RowCache(tmp_path, "jpeg").get("k").row.ssimulacra2 is None
    del old["row"]["psnr"]
    cache.path.write_text(json.dumps(old) + "\n")
    assert RowCache(tmp_path, "jpeg").get("k") is None


def test_fingerprints():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint([1]) != fingerprint([2])
