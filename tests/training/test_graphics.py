import numpy as np
import pytest
import torch

from leechcodec.training.graphics import KINDS, draw_graphic


@pytest.mark.parametrize("size", [64, 128, 384])
def test_a_seed_is_a_picture(size):
    picture = draw_graphic(size, 7)
    assert picture.shape == (3, size, size) and picture.dtype == torch.uint8
    assert torch.equal(picture, draw_graphic(size, 7))
    assert any(not torch.equal(picture, draw_graphic(size, seed)) for seed in range(8, 12))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_draws_anything_it_may_draw(kind):
    for seed in range(25):
        assert kind(96, np.random.default_rng(seed)).size == (96, 96)


def test_flat_white_and_black_are_among_them():
    flat = [picture for seed in range(300) if (picture := draw_graphic(64, seed)).amax() == picture.amin()]
    assert {int(picture[0, 0, 0]) for picture in flat} >= {0, 255}
