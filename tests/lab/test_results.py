import dataclasses
import json
import os

import pytest

from leechcodec.errors import LqError
from leechcodec.lab import results as module
from leechcodec.lab.errors import ResultsError, SchemaError
from tests.lab.lab_files import results, row


def test_round_trip(tmp_path):
    original = results()
    module.save(original, tmp_path / "jpeg.json")
    assert module.load(tmp_path / "jpeg.json") == original
    data = json.loads((tmp_path / "jpeg.json").read_text())
    assert data["schema"] == 2 and data["results"]["bpp"] == sorted(data["results"]["bpp"])
    assert set(data["results"]) >= {"bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time"}


def test_the_process_is_read_as_strictly(tmp_path):
    original = dataclasses.replace(results(), process=module.Process("a.png", "q1", 1.5, 0.5))
    module.save(original, tmp_path / "jpeg.json")
    assert module.load(tmp_path / "jpeg.json") == original
    data = json.loads((tmp_path / "jpeg.json").read_text())
    data["process"]["encode_s"] = "long"
    (tmp_path / "jpeg.json").write_text(json.dumps(data))
    with pytest.raises(ResultsError, match="'encode_s'"):
        module.load(tmp_path / "jpeg.json")


def test_ours_go_first():
    ours = {"token_model": "00"}
    keys = {
        "webp": None,
        "bsq-twin": ours,
        "jpeg": None,
        "leech-twin": ours,
        "leech": ours,
        "compressai-x": {"name": "x"},
    }
    found = [dataclasses.replace(results(key), model=model) for key, model in keys.items()]
    order = [each.codec for each in module.ours_first(found)]
    assert order == ["leech", "leech-twin", "bsq-twin", "compressai-x", "jpeg", "webp"]


def test_results_of_one_codec_are_told_apart_by_their_folders(tmp_path):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        module.save(results("leech"), tmp_path / folder / "leech.json")
    module.save(results("webp"), tmp_path / "new" / "webp.json")
    paths = [tmp_path / "old" / "leech.json", tmp_path / "new" / "webp.json", tmp_path / "new" / "leech.json"]
    found = module.load_all([*paths, paths[0]])
    codecs = [f"{tmp_path}/old/leech", f"{tmp_path}/new/leech", "webp"]
    assert [each.codec for each in found] == codecs and found[1].name == f"LEECH ({tmp_path}/new)"
    module.save(results("leech"), tmp_path / "new" / "copy.json")
    found = module.load_all([*paths, tmp_path / "new" / "copy.json"])
    codecs = [f"{tmp_path}/old/leech", f"{tmp_path}/new/leech", f"{tmp_path}/new/copy", "webp"]
    assert [each.codec for each in found] == codecs


def test_means_are_sorted_by_rate_and_leave_gaps_out():
    rows = [
        row(setting="big", bpp=2.0, psnr=40.0, ms_ssim=0.9),
        row(setting="small", bpp=0.5, psnr=30.0),
        row(setting="big", bpp=4.0, psnr=44.0, image="b.png"),
        row(setting="small", bpp=1.0, psnr=31.0, image="b.png"),
    ]
    settings, columns = module.means(rows)
    assert settings == ("small", "big")
    assert columns["bpp"] == [0.75, 3.0] and columns["psnr-rgb"] == [30.5, 42.0]
    assert columns["ms-ssim-rgb"] == [None, 0.9] and columns["lpips"] == [None, None]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: d.update(schema=0), SchemaError, "schema 0"),
        (lambda d: d.update(schema=1), SchemaError, "schema 1"),
        (lambda d: d.pop("schema"), SchemaError, "not a results file"),
        (lambda d: d.pop("codec"), ResultsError, "'codec'"),
        (lambda d: d.update(extra=1), ResultsError, "'extra'"),
        (lambda d: d.update(settings="q1"), ResultsError, "list"),
        (lambda d: d["images"][0].update(bytes=1.5), ResultsError, "'bytes'"),
        (lambda d: d["images"][0].pop("psnr"), ResultsError, "'psnr'"),
        (lambda d: d["images"].append(3), ResultsError, "object"),
        (lambda d: d["results"].pop("lpips"), ResultsError, "'lpips'"),
        (lambda d: d["results"]["bpp"].pop(), ResultsError, "'bpp'"),
        (lambda d: d["results"]["bpp"].__setitem__(0, None), ResultsError, "'bpp'"),
        (lambda d: d["results"]["psnr-rgb"].__setitem__(0, float("nan")), ResultsError, "NaN"),
    ],
)
def test_other_files_are_refused(tmp_path, change, error, words):
    path = tmp_path / "x.json"
    module.save(results(), path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(error, match=words) as caught:
        module.load(path)
    assert isinstance(caught.value, LqError) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[", b"\xff\xfe", b"[1]", b"3", b"[" * 100_000])
def test_what_is_no_results_file_at_all(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError):
        module.load(path)
    with pytest.raises(ResultsError, match="No such file"):
        module.load(tmp_path / "missing.json")


def test_names_need_not_be_unicode(tmp_path):
    original = results()
    original = dataclasses.replace(original, skipped=(module.Skipped(os.fsdecode(b"\xe9.png"), "why"),))
    module.save(original, tmp_path / "jpeg.json")
    assert module.load(tmp_path / "jpeg.json") == original
