import pytest
import torch

from leechcodec.errors import ConfigError
from leechcodec.training.data import Cropper
from leechcodec.training.settings import TrainingConfig


def flat(value: int, height: int, width: int) -> torch.Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_every_photograph_is_shown_as_often_whatever_its_size():
    crops = Cropper([flat(1, 64, 64), flat(2, 640, 640)], seeded())(400, 64)
    assert 150 < (crops[:, 0, 0, 0] == 1).sum() < 250


def test_images_too_small_for_a_crop_are_left_out_where_others_are_large_enough():
    crops = Cropper([flat(1, 64, 300), flat(2, 128, 128)], seeded())(20, 128)
    assert (crops == 2).all()


def test_a_scaled_crop_shows_more_of_the_picture_and_keeps_its_mean():
    ramp = torch.arange(256).to(torch.uint8).expand(3, 256, 256).contiguous()
    plain = Cropper([ramp], seeded(), (1.0, 1.0))(60, 64).float()
    scaled = Cropper([ramp], seeded(), (0.25, 0.25))(60, 64).float()
    spread = scaled.amax((1, 2, 3)) - scaled.amin((1, 2, 3))
    assert (plain.amax((1, 2, 3)) - plain.amin((1, 2, 3)) == 63).all()
    assert ((spread == 63) | (spread > 240)).all() and 0.6 < (spread > 240).float().mean() < 0.9
    whole = scaled[spread > 240]
    assert (whole.mean((1, 2, 3)) - 127.5).abs().max() < 1


def test_a_share_of_the_crops_is_drawn():
    crops = Cropper([flat(77, 64, 64)], seeded(), graphics=0.3)(200, 64)
    drawn = (crops != 77).flatten(1).any(1).float().mean()
    assert 0.2 < drawn < 0.4


def test_the_generator_is_the_place_in_the_data():
    images = [torch.randint(0, 256, (3, 200, 150), dtype=torch.uint8, generator=seeded())]
    first, second = (Cropper(images, seeded(), (0.4, 1.0), 0.1) for _ in range(2))
    assert torch.equal(first(8, 64), second(8, 64)) and torch.equal(first(2, 128), second(2, 128))


def test_large_crops_alone_at_the_end_of_a_run():
    settings = TrainingConfig(batch=16, crop=128, large_crop=384, large_batch=2, large_share=0.5, large_from=0.6)
    assert settings.shape(0.3, 0.7) == (16, 128) and settings.shape(0.3, 0.2) == (2, 384)
    assert settings.shape(0.6, 0.99) == (2, 384)
    assert TrainingConfig().shape(1.0, 0.0) == (16, 128)


def test_rates_fall_as_far_as_is_asked():
    settings = TrainingConfig(steps=100, decay=0.5, decay_to=0.0, warmup=1)
    assert settings.rate_factor(50) == 1 and settings.rate_factor(75) == 0.5 and settings.rate_factor(100) == 0


@pytest.mark.parametrize(
    "bad",
    [{"large_crop": 100}, {"large_batch": 0}, {"large_share": 1.5}, {"graphics": -0.1}, {"scales": (0.0, 1.0)},
     {"scales": (0.8, 0.4)}, {"scales": (0.5,)}, {"decay_to": 2.0}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TrainingConfig(**bad)
