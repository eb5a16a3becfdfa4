"""leechcodec sample: sheets, files, and what it refuses."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.codec import api
from leechcodec.codec.model_store import save_model
from leechcodec.formats.images import contact_sheet, sheet_grid
from leechcodec.testing.tiny import tiny_model
from tests.pictures import gradient


@pytest.fixture
def run(tiny_folder):
    def invoke(*arguments, code=0, data=None, model=tiny_folder):
        result = CliRunner().invoke(main, ["sample", "--model", str(model), *map(str, arguments)], input=data)
        assert result.exit_code == code, (result.stderr, result.exception)
        if code == 1:
            assert result.stderr.startswith("leechcodec: ") and result.stderr.count("\n") == 1
        return result

    return invoke


@pytest.fixture
def file(tmp_path, tiny_folder):
    path = tmp_path / "photo.lq"
    path.write_bytes(api.compress(gradient(90, 70), model=tiny_folder))
    return path


def test_a_sheet_is_the_pictures_of_consecutive_seeds(run, tmp_path):
    sheet, one = tmp_path / "sheet.png", tmp_path / "one.png"
    options = ("--size", "64x48", "-q", 70, "--temperature", 0.9, "--top-p", 0.9)
    run("-n", 4, *options, "--seed", 3, "-o", sheet)
    assert Image.open(sheet).size == (2 * 64 + 4, 2 * 48 + 4)
    run(*options, "--seed", 6, "-o", one)
    fourth = Image.open(sheet).crop((68, 52, 132, 100))
    assert np.array_equal(fourth, Image.open(one))


def test_the_drawn_tokens_as_a_file(run, tmp_path, tiny_folder):
    lq, png, again = tmp_path / "drawn.lq", tmp_path / "drawn.png", tmp_path / "again.png"
    run("-o", lq)
    run("-o", png)
    result = CliRunner().invoke(main, ["decode", str(lq), "-o", str(again), "--model", str(tiny_folder)])
    assert result.exit_code == 0 and Image.open(again).size == (256, 256)
    assert np.array_equal(Image.open(png), Image.open(again))
    assert run("--size", "64x64", "-o", "lq:-").stdout_bytes[:4] == b"\x89LQ\n"
    assert run("--size", "64x64", "-o", "-").stdout_bytes[:4] == b"\x89PNG"


def test_from_a_file(run, file, tmp_path, tiny_folder):
    start, out = api.read_tokens(file.read_bytes(), model=tiny_folder), tmp_path / "out.lq"
    run("--from", file, "--keep-stages", 2, "-o", out)
    drawn = api.read_tokens(out.read_bytes(), model=tiny_folder)
    same = [np.array_equal(a, b) for a, b in zip(start.codes, drawn.codes, strict=True)]
    assert same == [True, True, False, False] and (drawn.width, drawn.height) == (90, 70)
    assert run("--from", "-", "--keep-stages", 2, "-o", "lq:-", data=file.read_bytes()).stdout_bytes == out.read_bytes()


def test_a_hole_is_filled(run, file, tmp_path, tiny_folder):
    mask, out = tmp_path / "hole.png", tmp_path / "out.lq"
    hole = np.zeros((70, 90), dtype=np.uint8)
    hole[:10, :10] = 255
    Image.fromarray(hole).save(mask)
    run("--from", file, "--mask", mask, "-o", out)
    start = api.read_tokens(file.read_bytes(), model=tiny_folder)
    drawn = api.read_tokens(out.read_bytes(), model=tiny_folder)
    differs = (start.codes[2] != drawn.codes[2]).any(axis=-1)
    assert differs[0, 0] and differs.sum() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-n", 0), "-n"),
        (("--temperature", 0), "--temperature"),
        (("--top-p", 0), "--top-p"),
        (("--top-p", 1.5), "--top-p"),
        (("-q", 101), "-q"),
        (("--seed", -1), "--seed"),
        (("--size", "64"), "640x480"),
        (("--size", "0x64"), "640x480"),
        (("--keep-stages", 1), "need --from"),
        (("--mask", "x.png"), "need --from"),
        (("--from", "x.lq"), "--keep-stages, --mask, or both"),
        (("--from", "x.lq", "--keep-stages", 1, "--size", "64x64"), "its own size"),
        (("--from", "x.lq", "--keep-stages", 1, "-q", 50), "its own size and quality"),
        (("-n", 2, "-o", "x.lq"), "one picture"),
    ],
)
def test_wrong_usage(run, tmp_path, options, message):
    assert message in run("-o", tmp_path / "out.png", *options, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line_and_leaves_nothing(run, file, tmp_path):
    out, small, bad = tmp_path / "out.png", tmp_path / "small.png", tmp_path / "bad.lq"
    Image.new("L", (9, 7)).save(small)
    bad.write_bytes(file.read_bytes()[:-5])
    save_model(tmp_path / "other", tiny_model(seed=2))

    def refused(*options, **more) -> str:
        message = run("-o", out, *options, code=1, **more).stderr
        assert not out.exists()
        return message

    assert "cannot keep 9 stages" in refused("--from", file, "--keep-stages", 9)
    assert "the mask is of 9 x 7 pixels" in refused("--from", file, "--mask", small)
    assert "missing.png: no such file" in refused("--from", file, "--mask", tmp_path / "missing.png")
    assert "bad.lq" in refused("--from", bad, "--keep-stages", 1)
    assert "small.png: not an .lq file" in refused("--from", small, "--keep-stages", 1)
    assert "missing.lq" in refused("--from", tmp_path / "missing.lq", "--keep-stages", 1)
    assert "token model" in refused("--from", file, "--keep-stages", 1, model=tmp_path / "other")
    assert "no-such" in refused(model="no-such")
    assert "limit" in refused("--size", "99999x99999")
    assert "limit" in refused("--size", "5000x5000", "-n", 9)
    assert ".xyz" in run("-o", tmp_path / "out.xyz", code=1).stderr


def test_an_existing_output_is_refused_without_force(run, tmp_path):
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    assert "exists" in run("--size", "64x64", "-o", out, code=1).stderr
    assert out.read_bytes() == b"precious"
    run("--size", "64x64", "-o", out, "-f")
    assert Image.open(out).size == (64, 64)


def test_sheets_are_about_square():
    assert [sheet_grid(count, 256, 256) for count in (1, 2, 5, 16)] == [(1, 1), (2, 1), (3, 2), (4, 4)]
    assert (
        sheet_grid(4, 768, 512) == (2, 2)
        and sheet_grid(3, 10, 10_000) == (3, 1)
        and sheet_grid(3, 10_000, 10) == (1, 3)
    )
    picture = Image.new("RGB", (8, 6), "red")
    sheet = contact_sheet([picture] * 3, 3, 8, 6)
    assert (
        sheet.size == (20, 16)
        and sheet.getpixel((19, 15)) == (255, 255, 255)
        and sheet.getpixel((0, 15)) == (255, 0, 0)
    )
