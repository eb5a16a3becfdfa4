import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from leechcodec.apps.cli import main
from leechcodec.lab import results as module
from tests.lab.lab_files import picture, results


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results").mkdir()
    for codec, gain in (("leech", 1.0), ("webp", 0.0)):
        module.save(results(codec, gain), tmp_path / "results" / f"{codec}.json")
    published = {"VVC": {"bpp": [0.1, 0.2, 0.4, 0.8], "psnr": [27, 33, 39, 45], "ms_ssim": None}}
    (tmp_path / "curves.json").write_text(json.dumps(published))
    return tmp_path


@pytest.mark.slow
def test_eval(tmp_path):
    (tmp_path / "photos").mkdir()
    picture(40, 30).save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "bad.png").write_bytes(b"bad")
    arguments = ["eval", tmp_path / "photos", "--codec", "jpeg", "--codec", "bsq", "--dial", "jpeg=10,60", "--jobs", 1]
    arguments += ["--bsq-model", "nowhere"]
    result = run(*arguments, "-o", tmp_path / "results")
    assert result.stdout.split() == [str(tmp_path / "results" / "jpeg.json")]
    assert (
        "skipped bsq: no model 'nowhere'; installed: " in result.stderr
        and "skipped bad.png: not an image" in result.stderr
    )
    assert module.load(tmp_path / "results" / "jpeg.json").settings == ("q10", "q60")
    assert "no such folder" in run("eval", tmp_path / "missing", "-o", tmp_path, code=1).stderr
    assert "write it as" in run(*arguments, "--dial", "jpeg=x", code=2).stderr
    none = ("eval", tmp_path / "photos", "--codec", "bsq", "--bsq-model", "nowhere", "-o", tmp_path / "r")
    assert "no codec" in run(*none, code=1).stderr


@pytest.mark.slow
def test_plot(folder):
    pytest.importorskip("matplotlib")
    out = folder / "rd.svg"
    run("plot", folder / "results" / "leech.json", folder / "results", "--published", folder / "curves.json", "-o", out)
    assert "VVC, published" in out.read_text()
    (folder / "results" / "old.json").write_text('{"schema": 0}')
    assert "not a number" in run("plot", folder / "results", "--max-bpp", "nan", "-o", out, code=2).stderr
    assert "schema 0" in run("plot", folder / "results", "-o", out, code=1).stderr


def test_bdrate(folder):
    pytest.importorskip("bjontegaard")
    out = run("bdrate", folder / "results", "--anchor", "webp", "--published", folder / "curves.json").stdout
    assert "LEECH" in out and "-10.9 %" in out and "VVC, published" in out
    assert run("bdrate", folder / "results", "--anchor", "webp", "--format", "csv").stdout.startswith("anchor,")
    assert "| LEECH |" in run("bdrate", folder / "results", "--anchor", "webp", "--format", "markdown").stdout
    assert "no curve" in run("bdrate", folder / "results", "--anchor", "bsq", code=1).stderr
    (folder / "old").mkdir()
    module.save(results("leech", 0.5), folder / "old" / "leech.json")
    both = (folder / "results", folder / "old")
    refused = run("bdrate", *both, "--of", "leech", code=1).stderr
    assert f"there are {folder}/results/leech, {folder}/old/leech, webp" in refused
    assert f"LEECH ({folder}/old)" in run("bdrate", *both, "--of", folder / "results" / "leech").stdout


def test_bdrate_by_image_and_summary(folder):
    pytest.importorskip("bjontegaard")
    out = run("bdrate", folder / "results", "--anchor", "webp", "--by", "image").stdout
    assert [line.split()[0] for line in out.splitlines()] == ["BD-rate", "a.png", "all"]
    arguments = (
        "bdrate",
        folder / "results",
        "--anchor",
        "webp",
        "--by",
        "kind",
        "--published",
        folder / "curves.json",
    )
    assert "not both" in run(*arguments, code=2).stderr
    assert "against WEBP" in run("bdrate", folder / "results", "--of", "leech").stdout
    assert "one of them" in run("bdrate", folder / "results", code=2).stderr
    assert "LEECH" in run("summary", folder / "results").stdout.splitlines()[1]
    assert run("summary", folder / "results", "--format", "markdown").stdout.startswith("| codec | bpp |")


def test_data_offline(tmp_path):
    result = run("data", "kodak", "-o", tmp_path / "kodak", "--url", "http://127.0.0.1:9", code=1)
    assert "Without a network" in result.stderr and result.stderr.count("\n") == 1


def test_the_list_of_commands_imports_nothing_heavy():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom leechcodec.apps.cli import main\n"
        "print(CliRunner().invoke(main, ['--help']).stdout)\n"
        "print('heavy:', [name for name in ('torch', 'matplotlib', 'numpy', 'PIL') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "heavy: []" in out
    for command in ("encode", "eval", "plot", "bdrate", "data", "report"):
        assert f"  {command} " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bdrate", "r", "--anchor", "webp", "--only", "VVC"), "--only is one of --published"),
        (("plot", "r", "-o", "a.svg", "--only", "VVC"), "--only is one of --published"),
        (("bdrate", "r", "--of", "webp", "--metric", "lpips"), "--metric needs --anchor"),
        (("limits", "--model", "leech-vbr"), "--model needs IMAGES"),
        (("limits", "--model", "leech-vbr", "--rates"), "--model needs IMAGES"),
        (("data", "kodak", "--seed", "3"), "--seed is of the graphics"),
        (("eval", "photos", "-o", "r", "--codec", "webp", "--model", "leech-vbr"), "--model: no codec"),
        (("eval", "photos", "-o", "r", "--codec", "leech-twin", "--model", "leech-vbr"), "--model: no codec"),
        (("eval", "photos", "-o", "r", "--codec", "bsq-twin", "--bsq-model", "bsq-twin"), "--bsq-model: no codec"),
        (("eval", "photos", "-o", "r", "--compressai-weights", "w"), "--compressai-weights: no codec"),
    ],
)
def test_options_without_their_object_are_refused(arguments, words):
    assert words in run(*arguments, code=2).stderr


def test_bdrate_names_images_that_some_codecs_lack(folder):
    pytest.importorskip("bjontegaard")
    found = results("webp")
    rows = (*found.images, *(replace(row, image="b.png") for row in found.images))
    module.save(replace(found, images=rows), folder / "results" / "webp.json")
    told = run("bdrate", folder / "results", "--anchor", "webp")
    assert "without b.png" in told.stderr and "-10.9 %" in told.stdout
