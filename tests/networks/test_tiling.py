import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.codec import api, token_coding
from leechcodec.codec.distortion import psnr as psnr_of
from leechcodec.entropy import token_coder
from leechcodec.networks import onnx_walk, runtime, tiling
from leechcodec.networks.tiling import tiled
from leechcodec.testing.files import without
from leechcodec.testing.tiny import tiny_model
from tests.lab.lab_files import picture


@settings(max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 9),
    positions=st.integers(1, 60),
    layers=st.integers(0, 3),
    in_place=st.booleans(),
)
@torch.inference_mode()
def test_tiles_change_nothing(height, width, positions, layers, in_place):
    """Integers in float64 are exact: what the tiles' edges spoilt would show."""
    generator = torch.Generator().manual_seed(height * width)
    x = torch.randint(-9, 9, (2, 3, height, width), generator=generator).double()
    weights = [torch.randint(-3, 3, (3, 3, 3, 3), generator=generator).double() for _ in range(layers)]
    offsets = torch.arange(height)[:, None].double()

    def function(part, rows):
        part = part + offsets[rows]
        for weight in weights:
            part = F.conv2d(part, weight, padding=1)
        return part

    expected = function(x, slice(0, height))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "TILE_POSITIONS", positions)
        found = tiled(function, x, halo=layers, in_place=in_place)
    assert torch.equal(found, expected)


@torch.inference_mode()
def test_tiles_of_other_scales(monkeypatch):
    x = torch.arange(2 * 24 * 6).reshape(1, 2, 24, 6).double()
    finer = tiled(lambda part, _: F.interpolate(part, scale_factor=2), x, up=2)
    coarser = tiled(lambda part, _: F.avg_pool2d(F.avg_pool2d(part, 3, 1, padding=1), 4) * 4, x, halo=4, down=4)
    monkeypatch.setattr(tiling, "TILE_POSITIONS", 3)
    assert torch.equal(tiled(lambda part, _: F.interpolate(part, scale_factor=2), x, up=2), finer)
    found = tiled(lambda part, _: F.avg_pool2d(F.avg_pool2d(part, 3, 1, padding=1), 4) * 4, x, halo=4, down=4)
    assert found.shape == coarser.shape and torch.allclose(found, coarser)


def test_gradients_see_no_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "TILE_POSITIONS", 4)
    x = torch.ones(1, 1, 8, 4, requires_grad=True)
    seen = []
    tiled(lambda part, rows: seen.append(rows) or part * 2, x, in_place=True).sum().backward()
    assert seen == [slice(0, 8)] and torch.equal(x.grad, torch.full_like(x, 2))


@torch.inference_mode()
def test_networks_in_tiles(monkeypatch):
    """Every halo is deep enough: pictures and codes are those of the whole."""
    model = tiny_model()
    x = torch.from_numpy(np.array(picture(192, 320))).permute(2, 0, 1)[None]
    codes = model.encode(x, 80.0)
    x_hat = model.decode(codes, 320, 192, 80.0)
    for positions in (1, 40, 300):
        monkeypatch.setattr(tiling, "TILE_POSITIONS", positions)
        assert all(torch.equal(a, b) for a, b in zip(model.encode(x, 80.0), codes, strict=True))
        assert (model.decode(codes, 320, 192, 80.0) - x_hat).abs().max() < 1e-5


@pytest.mark.parametrize("how", ["onnx", "torch"])
def test_files_do_not_depend_on_tiles(how, monkeypatch, tiny_folder):
    monkeypatch.setenv(runtime.VARIABLE, how)
    image = picture(200, 170)
    data = api.compress(image, quality=80, model=tiny_folder)
    pixels = np.asarray(api.decompress(data, model=tiny_folder))
    monkeypatch.setattr(tiling, "TILE_POSITIONS", 5)
    monkeypatch.setattr(onnx_walk, "WHOLE_PIXELS", 0)
    monkeypatch.setattr(onnx_walk, "BAND_PIXELS", 16 * 192)
    monkeypatch.setattr(token_coding, "TOKENS_AT_ONCE", token_coder.GROUP)
    tokens, psnr = api.read_tokens(data, model=tiny_folder), []
    assert api.compress(image, quality=80, model=tiny_folder) == data
    assert api.compress(image, quality=80, model=tiny_folder, measured=psnr.append) == data
    assert psnr == [pytest.approx(psnr_of(np.asarray(image), pixels), abs=0.01)]
    plain = np.asarray(api.decompress(without(data), model=tiny_folder)).astype(int)
    assert np.abs(np.asarray(api.detokenize(tokens, model=tiny_folder)) - plain).max() <= 1
