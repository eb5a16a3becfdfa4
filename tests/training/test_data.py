import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from leechcodec.errors import ConfigError
from leechcodec.training.data import Cropper, load_images
from leechcodec.training.settings import TrainingConfig


def flat(value: int, height: int, width: int) -> torch.Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def loaded(*sources):
    return load_images(sources, validation_share=0.0, threads=2)[0]


def test_plain_pictures_keep_their_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "c.jpg")
    for image, path in zip(loaded(tmp_path), sorted(tmp_path.iterdir()), strict=True):
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(Image.open(path).convert("RGB")))


def test_deep_and_transparent_pictures_are_taken_as_the_codec_takes_them(tmp_path, recwarn):
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "b.png")
    ramp, clear = loaded(tmp_path)
    assert ramp.float().mean() == pytest.approx(127.5, abs=1) and (ramp[0].flatten().diff() >= 0).all()
    assert (clear == 255).all() and not recwarn.list


def test_a_damaged_picture_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(ConfigError, match=r"half\.jpg: ") as found:
        loaded(tmp_path)
    assert "standard input" not in str(found.value)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "half.jpg", "inside/half.jpg")
    with pytest.raises(ConfigError, match=r"a\.tar/inside/half\.jpg: "):
        loaded(tmp_path / "a.tar")
    (tmp_path / "b.tar").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"b\.tar: "):
        loaded(tmp_path / "b.tar")


def test_an_archive_that_hides_pictures_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    path = tmp_path / "two.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "a.png", "first.png")
        second = archive.offset
        archive.add(tmp_path / "a.png", "second.png")
    assert len(loaded(path)) == 2
    whole = path.read_bytes()
    for damage in (whole[: second + 20] + b"\xff" + whole[second + 21 :], whole[:second], whole[: second + 600]):
        path.write_bytes(damage)
        with pytest.raises(ConfigError, match=r"two\.tar: "):
            loaded(path)


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


@pytest.mark.parametrize("choices", [1, 4])
def test_a_share_of_the_crops_is_drawn(choices):
    """However many windows of photographs there are: flat ones would never be the busiest."""
    crops = Cropper([flat(77, 64, 64)], seeded(), graphics=0.3, choices=choices)(200, 64)
    drawn = (crops != 77).flatten(1).any(1).float().mean()
    assert 0.2 < drawn < 0.4


def test_of_several_windows_the_busiest_is_taken():
    noise = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=seeded())
    plain, chosen = (Cropper([flat(1, 64, 64), noise], seeded(), choices=choices)(400, 64) for choices in (1, 2))
    assert 150 < (plain == 1).flatten(1).all(1).sum() < 250 and 60 < (chosen == 1).flatten(1).all(1).sum() < 140


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
