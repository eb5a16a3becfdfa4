import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.codec.paths import installed_models
from leechcodec.networks import layout
from leechcodec.testing.files import without


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    path = tmp_path / "photo.png"
    coarse.resize((90, 70), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def run(tiny_folder):
    def invoke(*arguments, code=0, data=None):
        options = ["--model", str(tiny_folder)] if arguments[0] in ("encode", "decode") else []
        result = CliRunner().invoke(main, [*map(str, arguments), *options], input=data)
        assert result.exit_code == code, (result.stderr, result.exception)
        if code == 1:
            assert result.stderr.startswith("leechcodec: ") and result.stderr.count("\n") == 1
        return result

    return invoke


def test_encode_info_decode(run, photo, tmp_path):
    run("encode", photo)
    facts = json.loads(run("info", photo.with_suffix(".lq"), "--json").stdout)
    assert (facts["width"], facts["height"], facts["quality"]) == (90, 70, 50)
    assert facts["bytes"] == photo.with_suffix(".lq").stat().st_size
    assert "90 x 70" in run("info", photo.with_suffix(".lq")).stdout
    result = run("decode", photo.with_suffix(".lq"), "-o", tmp_path / "out.png", "-v")
    assert Image.open(tmp_path / "out.png").size == (90, 70)
    assert "bpp" in result.stderr


def test_names_default_from_the_input(run, photo):
    run("encode", photo)
    photo.rename(photo.with_name("original.png"))
    run("decode", photo.with_suffix(".lq"))
    assert photo.is_file()


@pytest.mark.parametrize(
    "option, measure", [("--target-size", lambda facts: facts["bytes"]), ("--bpp", lambda facts: facts["bpp"])]
)
def test_encode_to_a_size(run, photo, option, measure):
    facts = []
    for quality in (1, 40, 100):
        run("encode", photo, "-q", quality, "-f")
        facts.append(json.loads(run("info", photo.with_suffix(".lq"), "--json").stdout))
    target = measure(facts[1])
    run("encode", photo, option, target, "-f")
    reached = measure(json.loads(run("info", photo.with_suffix(".lq"), "--json").stdout))
    assert 0.9 * target <= reached <= target
    assert "cannot reach" in run("encode", photo, option, measure(facts[0]) // 2 or 1e-6, "-f", code=1).stderr
    above = 0.7 * measure(facts[2])
    run("encode", photo, option, int(above) if option == "--target-size" else above, "-f")
    facts = json.loads(run("info", photo.with_suffix(".lq"), "--json").stdout)
    assert 0.9 * above <= measure(facts) <= above and 90 < facts["quality"] < 100


def test_encode_to_a_psnr(run, photo):
    assert "cannot reach 90 dB" in run("encode", photo, "--psnr", 90, code=1).stderr
    assert not photo.with_suffix(".lq").exists()
    run("encode", photo, "--psnr", 45, "--verify")
    assert 90 < json.loads(run("info", photo.with_suffix(".lq"), "--json").stdout)["quality"] < 100
    run("encode", photo, "--psnr", 1, "--verify", "--strip", "-f")
    assert "at most one of" in run("encode", photo, "--psnr", 30, "-q", 3, code=2).stderr


def test_an_existing_output_is_refused_without_force(run, photo):
    target = photo.with_suffix(".lq")
    target.write_bytes(b"precious")
    assert "exists" in run("encode", photo, code=1).stderr
    assert target.read_bytes() == b"precious"
    run("encode", photo, "-f")
    assert target.read_bytes()[:4] == b"\x89LQ\n"


def test_the_input_is_never_the_output(run, photo):
    before = photo.read_bytes()
    run("encode", photo)
    link = photo.with_name("link.lq")
    link.symlink_to(photo.with_suffix(".lq"))
    for arguments in (["decode", photo], ["encode", photo.with_suffix(".lq"), "-f"], ["encode", link, "-f"]):
        assert "is the input" in run(*arguments, code=1).stderr
    assert "writes .lq files" in run("encode", photo, "-o", photo, "-f", code=2).stderr
    file = photo.with_suffix(".lq")
    assert "is the input" in run("sample", "--from", file, "--keep-stages", 2, "-o", file, "-f", code=1).stderr
    assert photo.read_bytes() == before


def test_no_number_is_no_quality(run, photo):
    assert "quality must be a number" in run("encode", photo, "-q", "nan", code=1).stderr


def test_json_of_several_is_like_that_of_one(run, photo, tmp_path):
    one = json.loads(run("encode", photo, "--json", "-o", tmp_path / "x.lq").stdout)
    (tmp_path / "out").mkdir()
    copy = photo.with_name("copy.png")
    copy.write_bytes(photo.read_bytes())
    lines = run("encode", photo, copy, "--json", "-o", tmp_path / "out").stdout.splitlines()
    assert [json.loads(line).keys() for line in lines] == [one.keys()] * 2


def test_pipes(run, photo):
    encoded = run("encode", "-", data=photo.read_bytes()).stdout_bytes
    assert encoded[:4] == b"\x89LQ\n"
    decoded = run("decode", "-", data=encoded).stdout_bytes
    assert decoded[:4] == b"\x89PNG"


@pytest.mark.parametrize("content", [b"", b"just some text", b"\x89LQ\n\x01"])
@pytest.mark.parametrize("command", ["encode", "decode", "info"])
def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path, command, content):
    source = tmp_path / "bad.lq"
    source.write_bytes(content)
    target = [] if command == "info" else ["-o", tmp_path / ("out.lq" if command == "encode" else "out.png")]
    assert "bad.lq" in run(command, source, *target, code=1).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.lq"]


def test_truncated_at_every_length_and_flipped_bits(run, photo, tmp_path):
    run("encode", photo)
    data = photo.with_suffix(".lq").read_bytes()
    bad, out = tmp_path / "bad.lq", tmp_path / "out.png"
    rng = np.random.default_rng(0)
    damaged = [data[:length] for length in range(0, len(data), 37)]
    for _ in range(20):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        bad.write_bytes(content)
        run("decode", bad, "-o", out, code=1)
        assert not out.exists()


def test_partial_decoding_exits_with_3(run, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "FEW", 0)
    run("encode", photo)
    whole, cut = photo.with_suffix(".lq"), tmp_path / "cut.lq"
    assert run("decode", whole, "--partial", "-o", tmp_path / "whole.png").stderr == ""
    cut.write_bytes(without(whole.read_bytes())[:-3])
    assert "cut off" in run("decode", cut, code=1).stderr
    told = run("decode", cut, "--partial", code=3).stderr
    assert "missing" in told and "token stages" in told and len(told.splitlines()) == 1
    assert Image.open(tmp_path / "cut.png").size == (90, 70)


def test_missing_input_and_unwritable_output(run, photo, tmp_path):
    assert "missing.png" in run("encode", tmp_path / "missing.png", code=1).stderr
    assert "missing.lq" in run("decode", tmp_path / "missing.lq", code=1).stderr
    nowhere = tmp_path / "nowhere" / "x.lq"
    assert f"{nowhere}: No such file" in run("encode", photo, "-o", nowhere, code=1).stderr
    assert "not the name of a file" in run("encode", "", code=1).stderr
    assert "is a folder" in run("encode", "-", "-o", tmp_path, code=1, data=photo.read_bytes()).stderr
    slashed = run("decode", "-", "-o", f"{tmp_path}/", code=1, data=photo.read_bytes()).stderr
    assert "is a folder; name a file in it" in slashed
    assert "no such folder" in run("encode", photo, "-o", f"{tmp_path}/nowhere/", code=1).stderr


def test_a_folder_as_the_output_of_one_file(run, photo, tmp_path):
    assert "no such folder" in run("decode", photo, "-o", f"{tmp_path}/out/", code=1).stderr
    (tmp_path / "out").mkdir()
    run("encode", photo, "-o", tmp_path / "out")
    run("decode", tmp_path / "out" / "photo.lq", "-o", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "photo.png").size == (90, 70)


def test_standard_output_in_a_given_format(run, photo):
    assert "encode writes .lq files" in run("encode", photo, "-o", "png:-", code=2).stderr
    data = run("encode", photo, "-o", "-").stdout_bytes
    for name, magic in (("png", b"\x89PNG"), ("jpg", b"\xff\xd8"), ("ppm", b"P6")):
        assert run("decode", "-", "-o", f"{name}:-", data=data).stdout_bytes.startswith(magic)
    assert "cannot both" in run("encode", photo, "-o", "-", "--json", code=2).stderr


def test_a_time_limit(run, photo, tmp_path):
    run("encode", photo)
    facts = json.loads(run("encode", photo, "--max-seconds", "0.001", "-o", tmp_path / "soon.lq", "--json").stdout)
    assert facts["effort"] == 9 and (tmp_path / "soon.lq").read_bytes() == photo.with_suffix(".lq").read_bytes()
    assert "goes with -q" in run("encode", photo, "--max-seconds", 1, "--bpp", 1, code=2).stderr
    run("encode", photo, "--max-seconds", 0, code=2)


def test_unknown_model(photo, tmp_path, tiny_folder, run):
    result = CliRunner().invoke(main, ["encode", str(photo), "--model", "no-such"])
    assert result.exit_code == 1
    assert result.stderr == f"leechcodec: no model 'no-such'; installed: {', '.join(installed_models())}\n"
    run("encode", photo)
    from leechcodec.codec.model_store import save_model
    from leechcodec.testing.tiny import tiny_model

    save_model(tmp_path / "other", tiny_model(seed=2))
    arguments = ["decode", str(photo.with_suffix(".lq")), "-o", str(tmp_path / "o.png"), "--model"]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "other")])
    assert result.exit_code == 1 and "token model" in result.stderr


@pytest.mark.parametrize("arguments", [["encode"], ["encode", "x", "-q", "0"], ["encode", "x", "-q", "101"], ["no"]])
def test_usage_errors_exit_2(arguments):
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_a_failed_write_leaves_no_trace(photo, tmp_path, monkeypatch, run):
    target = photo.with_suffix(".lq")
    target.write_bytes(b"precious")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "No space left" in run("encode", photo, "-f", code=1).stderr
    assert target.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.lq", "photo.png"]


def test_an_output_keeps_its_permissions(run, photo):
    target = photo.with_suffix(".lq")
    target.write_bytes(b"private")
    target.chmod(0o600)
    run("encode", photo, "-f")
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_unknown_output_type_is_refused_before_the_work(run, photo, monkeypatch):
    run("encode", photo)
    monkeypatch.setattr("leechcodec.codec.api.decompress", lambda *_, **__: pytest.fail("decoded"))
    assert ".xyz" in run("decode", photo.with_suffix(".lq"), "-o", "out.xyz", code=1).stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "leechcodec: out of memory\n"),
        (MemoryError(), "leechcodec: out of memory\n"),
        (KeyError("x\ny"), "leechcodec: internal error: KeyError: 'x\\ny'\n"),
    ],
)
def test_unforeseen_errors_are_one_line(run, photo, monkeypatch, error, message):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("leechcodec.codec.api.compress", broken)
    assert run("encode", photo, code=1).stderr == message
    assert not photo.with_suffix(".lq").exists()


def test_an_interrupt_exits_130(run, photo, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("leechcodec.codec.api.compress", interrupted)
    run("encode", photo, code=130)
    assert not photo.with_suffix(".lq").exists()


def test_help_imports_nothing_heavy():
    code = (
        "import sys, leechcodec, leechcodec.apps.cli\n"
        "try: leechcodec.apps.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'numba', 'PIL'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"
