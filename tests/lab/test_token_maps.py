import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from leechcodec.apps.cli import main
from leechcodec.codec import api
from leechcodec.codec.model_store import save_model
from leechcodec.lab.token_maps import bits_per_pixel, class_of, draw, stage_maps
from leechcodec.lattice import leech
from leechcodec.testing.tiny import tiny_model


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (70, 90, 3), dtype=np.uint8))


def test_class_of_every_codeword_is_its_place_in_the_order():
    codes = leech.index_to_vector(np.arange(leech.SIZE))
    assert np.array_equal(np.bincount(class_of(codes)), [0, 1104, 97152, 98304])
    assert class_of(np.zeros((2, 24), dtype=np.int8)).tolist() == [0, 0]


def test_bits_of_the_tokens_add_up_to_those_of_the_file(picture, tiny_folder):
    tokens = api.tokenize(picture, quality=70, model=tiny_folder)
    maps = stage_maps(tokens, tiny_folder)
    total = sum(stage.bits.sum() for stage in maps)
    assert total == pytest.approx(sum(api.ideal_bits(tokens, model=tiny_folder)), rel=1e-9)
    assert [stage.stride for stage in maps] == [64, 32, 16, 16, 8]
    assert all(stage.bits.min() > 0 for stage in maps)
    assert bits_per_pixel(maps).shape == (16, 16)
    assert bits_per_pixel(maps).sum() * 64 == pytest.approx(total, rel=1e-9)


@pytest.mark.slow
def test_maps_of_another_quantizers_tokens(picture, tmp_path):
    pytest.importorskip("matplotlib")
    save_model(tmp_path / "model", tiny_model("vq-6-6"))
    maps = stage_maps(api.tokenize(picture, quality=70, model=tmp_path / "model"), tmp_path / "model")
    assert all(stage.classes is None and stage.bits.min() > 0 for stage in maps)
    draw(picture, maps, tmp_path / "maps.png")
    assert Image.open(tmp_path / "maps.png").width > 1000


@pytest.mark.slow
def test_tokens_and_compare_commands(picture, tiny_folder, tmp_path):
    pytest.importorskip("matplotlib")
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.lq").write_bytes(api.compress(picture, model=tiny_folder))
    arguments = ["tokens", str(tmp_path / "a.lq"), "-o", str(tmp_path / "maps.png"), "--model", str(tiny_folder)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    assert Image.open(tmp_path / "maps.png").width > 1000
    arguments[3] = str(tmp_path / "maps.foo")
    assert "ends in .svg, .png, .pdf" in CliRunner().invoke(main, arguments).stderr
    (tmp_path / "a.lq").write_bytes(b"LQ")
    arguments[3] = str(tmp_path / "maps.png")
    assert CliRunner().invoke(main, arguments).stderr.startswith(f"leechcodec: {tmp_path / 'a.lq'}: ")
    picture.rotate(180).save(tmp_path / "b.png")
    result = CliRunner().invoke(main, ["compare", *(str(tmp_path / name) for name in ("a.png", "a.png", "b.png"))])
    assert result.exit_code == 0 and "100.00" in result.stdout and "b.png" in result.stdout
    result = CliRunner().invoke(main, ["compare", *(str(tmp_path / name) for name in ("a.png", "b.png")), "--json"])
    (row,) = json.loads(result.stdout)
    assert 0 < row["psnr"] < 20 and row["lpips"] is None and row["ssimulacra2"] is None  # 90 x 70 is too small
    picture.crop((0, 0, 10, 10)).save(tmp_path / "c.png")
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "a.png"), str(tmp_path / "c.png")])
    assert result.exit_code == 1 and "10 x 10" in result.stderr
