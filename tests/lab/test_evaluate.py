import json
from dataclasses import replace

import pytest
from PIL import Image

from leechcodec.errors import WorkerError
from leechcodec.lab import evaluate as module
from leechcodec.lab import measure, plan, results
from leechcodec.lab.datasets import sha256_of
from leechcodec.lab.environment import installed
from leechcodec.lab.errors import DatasetError, PeerError
from leechcodec.lab.evaluate import EvalConfig, evaluate
from leechcodec.lab.peers.base import PeerOptions
from leechcodec.lab.peers.pillow import Jpeg
from leechcodec.lab.peers.registry import adapter
from tests.lab.lab_files import lpips_weights, picture

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    picture(64, 48, 0).save(folder / "a.png")
    picture(40, 33, 1).convert("L").save(folder / "b.png")
    picture(50, 50, 2).save(folder / "a.jpg", quality=95)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def config(folder, tmp_path):
    dials = {"jpeg": (80.0, 20.0), "webp": (50.0,)}
    return EvalConfig(dataset=folder, codecs=("jpeg", "webp"), output=tmp_path / "results", dials=dials)


def test_rows_files_and_means(config):
    seen = []
    outcome = evaluate(config, lambda *progress: seen.append(progress))
    assert seen[-1] == ("webp", 9, 9) and (outcome.measured, outcome.cached) == (9, 0)
    assert [name for name, _ in outcome.unreadable] == ["broken.png"] and not outcome.skipped and not outcome.failed
    found = results.load(outcome.written["jpeg"])
    assert found.settings == ("q20", "q80") and found.dataset == str(config.dataset)
    assert found.machine["jobs"] == 1 and "pillow" in found.versions and "jpg" in found.versions
    assert {row.image for row in found.images} == {"a.png", "a.jpg", "b.png"}
    assert [entry.image for entry in found.skipped] == ["broken.png"]
    for row in found.images:
        path = config.output / row.file
        assert row.bytes == path.stat().st_size and row.bpp == 8 * row.bytes / (row.width * row.height)
        assert row.ms_ssim is None and row.lpips is None and 0 < row.ssim < 1 and row.encode_s > 0 < row.decode_s
        assert path.parent.name == row.setting and Image.open(path).size == (row.width, row.height)
    assert len({row.file for row in found.images}) == 6  # a.png and a.jpg do not write the same file
    rows = [row for row in found.images if row.setting == "q20"]
    assert found.results["psnr-rgb"][0] == pytest.approx(sum(row.psnr for row in rows) / 3)


def test_images_with_names_alike_have_files_of_their_own(config, folder):
    picture(64, 48, 7).save(folder / "a_png.png")
    picture(64, 48, 8).save(folder / "a.png.png")
    outcome = evaluate(replace(config, codecs=("webp",), dials={"webp": (50.0,)}))
    found = results.load(outcome.written["webp"])
    assert len({row.file for row in found.images}) == len(found.images) == 5
    for row in found.images:
        assert row.bytes == (config.output / row.file).stat().st_size


def test_times_say_where_they_were_taken(config, monkeypatch):
    config = replace(config, codecs=("webp",), dials={"webp": (50.0,)})
    with monkeypatch.context() as patch:
        patch.setattr(module, "machine", lambda jobs: {"jobs": jobs, "processor": "an old one"})
        first = results.load(evaluate(config).written["webp"])
    assert first.machine["processor"] == "an old one"
    assert results.load(evaluate(config).written["webp"]).machine == first.machine  # all come from the cache
    more = results.load(evaluate(replace(config, dials={"webp": (50.0, 80.0)})).written["webp"])
    assert more.machine["jobs"] == 1 and "several runs" in more.machine["times"]


def test_a_dial_of_a_codec_that_is_not_measured_is_refused(config):
    with pytest.raises(PeerError, match="'jpg', but measured are jpeg, webp"):
        evaluate(replace(config, dials={"jpg": (50.0,)}))


def test_a_second_run_comes_from_the_cache(config, folder):
    first = results.load(evaluate(config).written["jpeg"])
    again = evaluate(config)
    assert (again.measured, again.cached) == (0, 9)
    assert results.load(again.written["jpeg"]).images == first.images
    more = evaluate(replace(config, dials={"jpeg": (80.0, 20.0, 50.0), "webp": (50.0,)}))
    assert (more.measured, more.cached) == (3, 9)
    picture(40, 33, 5).save(folder / "b.png")
    (config.output / first.images[0].file).unlink()
    changed = evaluate(config)
    assert changed.measured == 4  # b.png at three settings, and the file that went
    assert evaluate(replace(config, fresh=True)).measured == 9


def test_lpips_given_later_is_added_without_encoding_again(config, tmp_path, monkeypatch):
    pytest.importorskip("scipy")
    if not installed("lpips"):
        pytest.skip("lpips is not installed")
    config = replace(config, codecs=("jpeg",), dials={"jpeg": (80.0, 20.0)})
    first = results.load(evaluate(config).written["jpeg"])
    monkeypatch.setattr(Jpeg, "encode", None)
    outcome = evaluate(replace(config, lpips=lpips_weights(tmp_path)))
    second = results.load(outcome.written["jpeg"])
    assert outcome.measured == 6 and all(row.lpips > 0 for row in second.images)
    assert [row.encode_s for row in second.images] == [row.encode_s for row in first.images]
    third = evaluate(config)  # what was measured stays, though it is not asked for
    assert third.measured == 0 and results.load(third.written["jpeg"]).images == second.images


def test_a_cache_from_before_ssimulacra2_is_decoded_again_and_not_encoded(config, folder, monkeypatch):
    config = replace(config, codecs=("jpeg",), dials={"jpeg": (80.0, 20.0)})
    picture(240, 226, 3).save(folder / "large.png")
    first = results.load(evaluate(config).written["jpeg"])
    assert [row.ssimulacra2 is None for row in first.images] == [row.image != "large.png" for row in first.images]
    path = config.output / "cache" / "jpeg.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["row"]["ssimulacra2"]
    path.write_text("".join(json.dumps(line | {"metrics": "those of then"}) + "\n" for line in lines))
    monkeypatch.setattr(Jpeg, "encode", None)
    outcome = evaluate(config)
    assert outcome.measured == 8 and results.load(outcome.written["jpeg"]).images == first.images


def test_a_codec_that_fails_on_one_image_keeps_the_others(config, monkeypatch):
    encode = Jpeg.encode

    def failing(self, image, setting):
        if image.width == 64 and setting.value == 80:
            raise RuntimeError("too\nhard")
        return encode(self, image, setting)

    monkeypatch.setattr(Jpeg, "encode", failing)
    outcome = evaluate(config)
    assert outcome.failed == [("jpeg", "a.png", "q80: RuntimeError: too hard")]
    found = results.load(outcome.written["jpeg"])
    assert {row.image for row in found.images} == {"a.jpg", "b.png"}  # at both settings, so that means compare
    assert [entry.image for entry in found.skipped] == ["broken.png", "a.png"]
    assert len(results.load(outcome.written["webp"]).images) == 3
    monkeypatch.setattr(Jpeg, "encode", encode)
    assert evaluate(config).measured == 1


def test_a_codec_that_fails_on_every_image_leaves_the_others_theirs(config, folder, tmp_path, monkeypatch):
    encode = Jpeg.encode

    def failing(self, image, setting):
        if image.width == 50:
            raise RuntimeError("too hard")
        return encode(self, image, setting)

    monkeypatch.setattr(Jpeg, "encode", failing)
    (tmp_path / "kinds" / "hard").mkdir(parents=True)
    (tmp_path / "kinds" / "photographs").mkdir()
    picture(50, 50, 2).save(tmp_path / "kinds" / "hard" / "a.png")
    picture(64, 48, 0).save(tmp_path / "kinds" / "photographs" / "a.png")
    outcome = evaluate(replace(config, dataset=tmp_path / "kinds" / "hard", output=tmp_path / "one"))
    assert list(outcome.written) == ["webp"] and "no image passed" in outcome.skipped["jpeg"]
    outcome = evaluate(replace(config, dataset=tmp_path / "kinds", output=tmp_path / "several"))
    assert [row.image for row in results.load(outcome.written["jpeg"]).images] == ["photographs/a.png"] * 2
    assert {row.image for row in results.load(outcome.written["webp"]).images} == {"hard/a.png", "photographs/a.png"}


def test_a_peer_that_is_not_there_is_named(config, monkeypatch):
    monkeypatch.setattr(Jpeg, "available", lambda self: "not today")
    options = PeerOptions(bsq_model="nowhere")
    outcome = evaluate(replace(config, codecs=("jpeg", "bsq", "webp"), options=options))
    assert outcome.skipped["jpeg"] == "not today" and "nowhere" in outcome.skipped["bsq"]
    assert list(outcome.written) == ["webp"]


def test_this_codec_through_files(config, tiny_folder):
    options = PeerOptions(model=str(tiny_folder))
    outcome = evaluate(replace(config, codecs=("leech",), options=options, dials={"leech": (30.0,)}))
    found = results.load(outcome.written["leech"])
    assert found.model["name"] == "tiny" and len(found.images) == 3
    assert (config.output / "files/leech/q30/b.lq").read_bytes()[:4] == b"\x89LQ\n"


def test_processes_give_the_same_rows(config):
    """Two workers; slow, because each imports torch."""
    config = replace(config, codecs=("jpeg",), dials={"jpeg": (80.0, 20.0)})
    here = results.load(evaluate(config).written["jpeg"])
    there = results.load(evaluate(replace(config, jobs=2, fresh=True)).written["jpeg"])
    plain = [[replace(row, encode_s=0.0, decode_s=0.0) for row in found.images] for found in (here, there)]
    assert plain[0] == plain[1] and there.machine["jobs"] == 2


def test_wrong_wishes(config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no such folder"):
        evaluate(replace(config, dataset=tmp_path / "missing"))
    with pytest.raises(DatasetError, match="no image"):
        evaluate(replace(config, dataset=tmp_path / "empty"))
    with pytest.raises(PeerError):
        evaluate(replace(config, codecs=("gif",)))
    with pytest.raises(PeerError):
        evaluate(replace(config, dials={"jpeg": (500.0,)}))


def test_kinds_have_results_of_their_own_and_a_mean(config, folder, tmp_path):
    kinds = tmp_path / "kinds"
    for kind in ("photographs", "text"):
        (kinds / kind).mkdir(parents=True)
    for name in ("a.png", "b.png", "broken.png"):
        (folder / name).rename(kinds / "photographs" / name)
    (folder / "a.jpg").rename(kinds / "text" / "a.jpg")
    config = replace(config, dataset=kinds, codecs=("jpeg",), dials={"jpeg": (80.0, 20.0)})
    outcome = evaluate(config)
    assert outcome.kinds == ("photographs", "text") and outcome.measured == 6
    assert outcome.unreadable[0][0] == "photographs/broken.png"
    whole = results.load(outcome.written["jpeg"])
    assert outcome.written["jpeg"] == config.output / "jpeg.json" and whole.dataset == str(kinds)
    parts = [results.load(config.output / kind / "jpeg.json") for kind in outcome.kinds]
    assert [part.dataset for part in parts] == [str(kinds / kind) for kind in outcome.kinds]
    assert {row.image for row in whole.images} == {"photographs/a.png", "photographs/b.png", "text/a.jpg"}
    assert all((config.output / row.file).stat().st_size == row.bytes for row in whole.images)
    psnr = [part.results["psnr-rgb"] for part in parts]  # two images and one, and yet each kind counts alike
    assert whole.results["psnr-rgb"] == pytest.approx([(a + b) / 2 for a, b in zip(*psnr)])
    assert [gap.image for gap in whole.skipped] == ["photographs/broken.png"]
    assert evaluate(config).cached == 6


def test_a_process_of_its_own_is_timed_once(config, tiny_folder, monkeypatch):
    options = PeerOptions(model=str(tiny_folder))
    config = replace(config, codecs=("jpeg", "leech"), options=options, dials={"leech": (30.0,)}, process=True)
    outcome = evaluate(config)
    first = {codec: results.load(path).process for codec, path in outcome.written.items()}
    assert first["jpeg"].image == "a.jpg" and first["leech"].setting == "q30"
    for codec, path in outcome.written.items():
        call = next(row for row in results.load(path).images if row.setting == first[codec].setting)
        assert first[codec].encode_s > call.encode_s and first[codec].decode_s > call.decode_s
    monkeypatch.setattr(plan.process, "seconds", None)
    assert {codec: results.load(path).process for codec, path in evaluate(config).written.items()} == first


def test_a_process_that_fails_says_why(tiny_folder):
    peer = adapter("leech", PeerOptions(model="nowhere"))
    with pytest.raises(WorkerError, match="no model 'nowhere'"):
        plan.process.seconds(peer, peer.setting(30), picture())


def test_results_are_written_where_a_process_fails(config, monkeypatch):
    def fails(*_):
        raise WorkerError("Killed")

    monkeypatch.setattr(plan.process, "seconds", fails)
    outcome = evaluate(replace(config, process=True))
    assert outcome.untimed == {"jpeg": "Killed", "webp": "Killed"}
    assert all(results.load(path).process is None for path in outcome.written.values())


def test_rows_say_which_image_they_are_of(config, folder):
    rows = results.load(evaluate(config).written["jpeg"]).images
    assert {row.sha256 for row in rows if row.image == "a.png"} == {sha256_of((folder / "a.png").read_bytes())}


def test_positions_that_would_share_a_file_are_refused(config):
    with pytest.raises(PeerError, match=r"0\.1234567 and 0\.1234568 are both"):
        evaluate(replace(config, codecs=("jpeg2000",), dials={"jpeg2000": (0.1234567, 0.1234568)}))


def test_results_are_drawn_by_other_tools(config):
    """The columns that CompressAI's plotting tool reads are plain lists of numbers of one length."""
    data = json.loads(evaluate(config).written["jpeg"].read_text())["results"]
    assert len(data["bpp"]) == len(data["psnr-rgb"]) == len(data["ms-ssim-rgb"]) == 2


def test_measure_keeps_codecs_between_images(config):
    measure._peer.cache_clear()
    evaluate(config)
    assert measure._peer.cache_info().misses == 2
