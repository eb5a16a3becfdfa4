from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from leechcodec import compress, decompress
from leechcodec.codec import efforts, refinement, refinement_distortion, refinement_window
from leechcodec.codec.efforts import Box, steps_in_all, tiles
from leechcodec.codec.model_store import load_model
from leechcodec.codec.refinement import descend, refine
from leechcodec.codec.refinement_window import Window
from leechcodec.errors import ConfigError
from leechcodec.networks.ms_ssim import PER_SQUARED_ERROR, ms_ssim
from leechcodec.networks.ssimulacra2 import PER_SSIMULACRA2, ssimulacra2_distance
from leechcodec.testing.tiny import tiny_model
from tests.families import SMALL_SOME_SLOW
from tests.places import SAMPLE


@pytest.fixture
def exactly(monkeypatch):
    """float32 on every processor."""
    monkeypatch.setattr(refinement_window, "_bf16_is_fast", lambda: False)


def mixed(squared, x, x_hat):
    """The distortion of one image, in units of 255² · MSE."""
    similarity, ssimulacra2 = refinement_distortion.SIMILARITY, refinement_distortion.SSIMULACRA2
    result = (1 - similarity - ssimulacra2) * squared
    result += similarity * PER_SQUARED_ERROR * (1 - ms_ssim(x, x_hat)[0])
    return result + ssimulacra2 * PER_SSIMULACRA2 * ssimulacra2_distance(x, x_hat)[0]


def loss(model, x, quality, codes, size=None):
    """The plain way, in bits."""
    height, width = size or x.shape[2:]
    with torch.no_grad():
        x_hat, bits = model.reconstruct([code.float() for code in codes], torch.tensor([quality]), *x.shape[2:])
    x, x_hat = x[:, :, :height, :width], x_hat.clamp(-1, 1)[:, :, :height, :width]
    distortion = mixed(255**2 * (x_hat - x).square().mean() / 4, (x + 1) / 2, (x_hat + 1) / 2)
    return (model.config.lmbda(quality) * distortion * height * width + sum(b.sum() for b in bits)).item()


@pytest.mark.parametrize("quantizer", SMALL_SOME_SLOW)
def test_it_only_improves(quantizer, exactly):
    model = tiny_model(quantizer)
    x = torch.rand(1, 3, 128, 64) * 2 - 1
    codes = model.encode(x, 70.0)
    before = loss(model, x, 70.0, codes)
    for effort in (1, 3, 5):
        found = refine(model, x, 70.0, codes, effort=effort)
        assert [code.shape for code in found] == [code.shape for code in codes]
        assert all(code.dtype == torch.int8 for code in found)
        assert loss(model, x, 70.0, found) <= before * (1 + 1e-5)
        for code in found:  # codes of the quantizer, each its own nearest
            flat = code.permute(0, 2, 3, 1)
            assert torch.equal(model.quantizer.vectors_to_codes(model.quantizer.codes_to_vectors(flat)), flat)
    assert refine(model, x, 70.0, codes, effort=1) is codes


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["leech", "leech-ball", "bsq-18"])
def test_it_improves_more_with_more_steps(quantizer, exactly):
    model = tiny_model(quantizer)
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    codes = model.encode(x, 90.0)
    losses = [loss(model, x, 90.0, refine(model, x, 90.0, codes, effort=effort)) for effort in (1, 4, 7)]
    assert losses[2] < losses[1] < losses[0]


def test_what_it_was_given_stays_as_it_is(exactly):
    model = tiny_model()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    codes = model.encode(x, 90.0)
    copies, weights = [code.clone() for code in codes], {k: v.clone() for k, v in model.state_dict().items()}
    found = refine(model, x, 90.0, codes, effort=4)
    assert any(not torch.equal(a, b) for a, b in zip(found, codes, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(codes, copies, strict=True))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_works_in_inference_mode_and_on_bytes(exactly):
    model = tiny_model()
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        inside = refine(model, pixels, 90.0, model.encode(pixels, 90.0), effort=4)
    x = pixels.float() / 127.5 - 1
    outside = refine(model, x, 90.0, model.encode(x, 90.0), effort=4)
    assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))


def test_errors_outside_the_image_do_not_count(exactly):
    model = tiny_model()
    x = torch.rand(1, 3, 64, 128) * 2 - 1
    other = x.clone()
    other[:, :, 40:] = 0.5
    codes = model.encode(x, 90.0)
    window = [Window(model, y, 90.0, codes, Box(0, 64, 0, 128), (40, 128)) for y in (x, other)]
    window[1].features = window[0].features  # the same codes
    first, second = (each.measure() for each in window)
    assert all(torch.equal(a, b) for a, b in zip(first.gradients, second.gradients, strict=True))


@pytest.mark.parametrize("size", [(64, 128), (40, 100)])
def test_gradients_are_those_of_the_loss(size, exactly):
    """The plain way: one graph for distortion, bits and commitment."""
    model = tiny_model("leech-ball")
    x = torch.rand(1, 3, 64, 128) * 2 - 1
    window = Window(model, x, 90.0, model.encode(x, 90.0), Box(0, 64, 0, 128), size)
    moved = refinement_window._MovedCodes(window)
    height, width = size
    x_hat = model.synthesis(64, 128, window.weights, moved.choose_codes).clamp(-1, 1)
    bits = model.rates(moved.straight, window.quality, 64, 128, layout=window.layout).bits
    part, seen = (image[:, :, :height, :width] / 2 + 0.5 for image in (x, x_hat))
    distortion = mixed(255**2 * (seen - part).square().mean(), part, seen)
    whole = model.config.lmbda(90.0) * height * width * distortion + bits.sum() + moved.commitment()
    expected = torch.autograd.grad(whole, window.offsets)
    for gradient, plain in zip(window.measure().gradients, expected, strict=True):
        assert torch.allclose(gradient, plain, rtol=1e-3, atol=1e-4 * plain.abs().max())


def test_what_blocks_cost(exactly):
    """Their bits add up to the whole's; the distortion is of each block alone."""
    model = tiny_model("leech-ball")
    x = torch.rand(1, 3, 128, 192) * 2 - 1
    codes = model.encode(x, 90.0)
    window = Window(model, x, 90.0, codes, Box(0, 128, 0, 192), (128, 192))
    blocks = window.measure(gradients=False).blocks
    with torch.no_grad():
        x_hat, bits = model.reconstruct([code.float() for code in codes], torch.tensor([90.0]), 128, 192)
    x_hat, lmbda, expected = x_hat.clamp(-1, 1), model.config.lmbda(90.0), 0.0
    for top in (0, 64):
        for left in (0, 64, 128):
            part, seen = (image[:, :, top : top + 64, left : left + 64] for image in (x, x_hat))
            squared = 255**2 * (seen - part).square().mean() / 4
            expected += 64 * 64 * mixed(squared, part / 2 + 0.5, seen / 2 + 0.5).item()
    assert blocks.shape == (2, 3)
    assert blocks.sum().item() == pytest.approx((lmbda * expected + sum(b.sum() for b in bits)).item(), rel=1e-4)


def test_a_block_goes_back_to_what_served_it_best(exactly):
    model = tiny_model("leech")
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    window = Window(model, x, 90.0, model.encode(x, 90.0), Box(0, 128, 0, 128), (128, 128))
    first = window.measure()
    kept = refinement._KeptBlocks(window, first)

    def corners(offset):  # whether anything moved there
        height, width = offset.shape[1] // 2, offset.shape[2] // 2
        parts = (offset[:, top : top + height, left : left + width] for top in (0, height) for left in (0, width))
        return [bool(part.any()) for part in parts]

    with torch.no_grad():
        kept.judge(first)
        kept.step(1.0)
        assert all(corners(offset) == [True] * 4 for offset in window.offsets)
        # much worse, better, a little worse, much worse
        kept.judge(replace(first, blocks=first.blocks * torch.tensor([[1.5, 0.9], [1 + refinement.PATIENCE / 2, 2.0]])))
        assert all(corners(offset) == [False, True, True, False] for offset in window.offsets)
        kept.restore()
        assert all(corners(offset) == [False, True, False, False] for offset in window.offsets)


def test_blocks_choose_what_the_encoder_sees(exactly):
    """A second look shows more of what the codes have missed; a block that it makes worse keeps the first."""
    model = tiny_model("leech-ball")
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    window = Window(model, x, 90.0, model.encode(x, 90.0), Box(0, 128, 0, 128), (128, 128))
    first = dict(window.features)
    window.look_again(window.x)  # nothing is missed
    for scale, feature in window.features.items():
        assert torch.allclose(feature, first[scale], atol=1e-6)
    window.look_again(torch.zeros_like(x))
    second = dict(window.features)
    expected = model.analysis((1 + refinement_window.EXAGGERATION) * x, window.weights)
    window.take_back(torch.tensor([[True, False], [False, False]]))
    for scale, feature in window.features.items():
        assert torch.allclose(second[scale], expected[scale], atol=1e-6)
        assert not torch.equal(second[scale], first[scale])
        height, width = feature.shape[2] // 2, feature.shape[3] // 2
        assert torch.equal(feature[..., :height, :width], first[scale][..., :height, :width])
        assert torch.equal(feature[..., height:, :], second[scale][..., height:, :])
        assert torch.equal(feature[..., width:], second[scale][..., width:])


def test_a_token_s_own_commitment(exactly, monkeypatch):
    """Its gradient is that of the token's own distance from its code, whatever finer stages make of it."""
    monkeypatch.setattr(refinement_window, "COMMITMENT", (0.0, 0.0))
    model = tiny_model("leech-ball")
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    window = Window(model, x, 90.0, model.encode(x, 90.0), Box(0, 64, 0, 64), (64, 64))
    moved = refinement_window._MovedCodes(window)
    model.synthesis(64, 64, window.weights, moved.choose_codes)
    gradients = torch.autograd.grad(moved.commitment(), window.offsets)
    features, states = window.features, []
    model.synthesis(64, 64, window.weights, lambda stage, state: _recorded(model, moved, states, stage, state))
    for stage, (state, gradient) in enumerate(zip(states, gradients, strict=True)):
        feature = features[model.config.stage_scales[stage]]
        z = model.synthesis.stages[stage].encode(feature, state, window.weights)
        far = (z - moved.integers[stage]).permute(0, 2, 3, 1)
        bits = refinement_window.OWN_COMMITMENT[1]
        assert torch.allclose(gradient, 2 * bits * far / model.quantizer.norm_squared, atol=1e-4)


def _recorded(model, moved, states, stage, state):
    if stage >= len(moved.integers):
        return None
    states.append(state)
    return moved.integers[stage].float() * model.code_scale


@pytest.mark.parametrize("height, width", [(64, 64), (512, 768), (768, 512), (1088, 1920), (64, 65536), (3072, 4096)])
def test_tiles_cover_an_image_once(height, width):
    cut = list(tiles(Box(0, height, 0, width)))
    covered = np.zeros((height // 64, width // 64), dtype=int)
    for tile in cut:
        covered[tile.at(64)] += 1
        area = (tile.bottom - tile.top) * (tile.right - tile.left)
        assert area <= (efforts.TILE_AREA if len(cut) == 1 else efforts.PART_AREA)
    assert (covered == 1).all()
    assert len(cut) == 1 or len(cut) <= 2.5 * -(-height * width // efforts.PART_AREA)


@pytest.mark.slow
def test_an_image_of_several_tiles(exactly, monkeypatch):
    for name in ("TILE_AREA", "PART_AREA"):
        monkeypatch.setattr(efforts, name, 64 * 128)
    model = tiny_model("leech-ball")
    x = torch.rand(1, 3, 192, 256) * 2 - 1
    codes, steps = model.encode(x, 90.0), []
    found = refine(model, x, 90.0, codes, effort=5, progress=lambda *step: steps.append(step))
    cut = list(tiles(Box(0, 192, 0, 256)))
    assert len(cut) > 4
    assert steps == [(n + 1, 12 * len(cut)) for n in range(12 * len(cut))]
    assert loss(model, x, 90.0, found) < loss(model, x, 90.0, codes)
    for tile in cut:  # none is left out
        assert any(
            not torch.equal(a[:, :, *tile.at(stride)], b[:, :, *tile.at(stride)])
            for a, b, stride in zip(found, codes, (64, 32, 16, 16, 8), strict=True)
        )


def test_the_margin_does_not_move(exactly, monkeypatch):
    monkeypatch.setattr(efforts, "TILE_AREA", 64 * 64)
    model = tiny_model()
    x = torch.rand(1, 3, 64, 192) * 2 - 1
    codes = model.encode(x, 90.0)
    asked, rates = [], model.rates
    monkeypatch.setattr(model, "rates", lambda *a, **options: asked.append(options["corner"]) or rates(*a, **options))
    window = Window(model, x, 90.0, codes, Box(0, 64, 64, 128), (64, 192))
    assert window.box == Box(0, 64, 0, 192)
    better = descend(window, efforts.Allowance(4, None), lambda: None)
    for code, found in zip(codes, better, strict=True):
        third = code.shape[3] // 3
        assert torch.equal(found[..., :third], code[..., :third])
        assert torch.equal(found[..., 2 * third :], code[..., 2 * third :])
    Window(model, x, 90.0, codes, Box(0, 64, 128, 192), (64, 192)).measure(gradients=False)
    assert asked[0] == (0, 0) and asked[-1] == (0, 64)


def test_efforts():
    assert [steps_in_all(effort, 512, 768) for effort in efforts.STEPS] == list(efforts.STEPS.values())
    assert list(efforts.STEPS.values()) == sorted(efforts.STEPS.values())
    assert steps_in_all(3, 1024, 1536) == 8 * efforts.STEPS[3]
    assert steps_in_all(np.int64(3), 64, 64) == efforts.STEPS[3]
    for effort in (0, 10, 2.5, 2.0, [2], True):
        with pytest.raises(ConfigError, match="effort must be"):
            steps_in_all(effort, 64, 64)


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (70, 3)])
def test_small_images(size, tiny_folder):
    image = Image.effect_noise(size, 60).convert("RGB")
    data = compress(image, quality=90, effort=3, verify=True, model=tiny_folder)
    assert decompress(data, model=tiny_folder).size == size


@pytest.mark.parametrize("quality", [29.997, 30.004, 59.996])
def test_progress_ends_where_it_said(quality, tiny_folder):
    steps = []
    image = Image.effect_noise((70, 64), 60).convert("RGB")
    compress(image, quality=quality, effort=3, model=tiny_folder, progress=lambda *step: steps.append(step))
    assert steps == sorted(steps) and sorted(set(steps)) == [(n + 1, steps[0][1]) for n in range(steps[0][1])]


def photograph(width, height):
    image = Image.open(SAMPLE).convert("RGB")
    return image.crop((256, 128, 256 + width, 128 + height))


@pytest.mark.slow
def test_a_photograph_gets_better(exactly):
    """By the loss that is minimised. At q = 10 the encoder's first answer is the best that is found on this one."""
    model = load_model().networks
    pixels = torch.from_numpy(np.array(photograph(384, 384))).permute(2, 0, 1)[None]
    for quality, share in ((20, 0.997), (80, 0.99)):
        codes = model.encode(pixels, quality)
        before, after = (
            loss(model, pixels.float() / 127.5 - 1, quality, each)
            for each in (codes, refine(model, pixels, quality, codes, effort=4))
        )
        assert after < share * before, quality


@pytest.mark.slow
def test_a_file_gets_better():
    image, sizes = photograph(127, 129), []
    for effort in (1, 4):
        steps = []
        data = compress(image, quality=80, effort=effort, verify=True, progress=lambda *step, to=steps: to.append(step))
        assert steps[-1][0] == steps[-1][1] and steps == sorted(steps) and len({of for _, of in steps}) == 1
        error = np.asarray(decompress(data), dtype=float) - np.asarray(image)
        sizes.append(load_model().config.lmbda(80) * np.mean(error**2) * 127 * 129 + 8 * len(data))
    assert sizes[1] < 0.99 * sizes[0]


class Clock:
    """time.monotonic() that a test sets."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(efforts.time, "monotonic", lambda: self.now)


def test_an_allowance_without_a_deadline():
    assert [efforts.Allowance(12, None).steps(done) for done in (0, 7, 12)] == [12, 12, 12]


def test_an_allowance_fits_the_time(monkeypatch):
    clock = Clock(monkeypatch)
    allowance = efforts.Allowance(12, 120.0, tiles=2)  # ten seconds for this tile
    assert not allowance.is_used_up
    clock.now += 1  # an evaluation: two of them, a look of 1.5 seconds and steps of three
    assert allowance.steps(0) == 2
    clock.now += 0.5  # the look was quicker than expected
    assert allowance.steps(1) == 5
    clock.now += 7  # and then something else ran: no more
    assert allowance.steps(2) == 2


def test_an_allowance_of_nothing(monkeypatch):
    clock = Clock(monkeypatch)
    assert efforts.Allowance(12, 99.0).is_used_up
    allowance = efforts.Allowance(12, 101.0)
    clock.now += 5
    assert allowance.steps(0) == 0


def test_refinement_ends_in_time(monkeypatch, exactly):
    model, steps = tiny_model("leech"), []
    x = torch.rand(1, 3, 128, 64) * 2 - 1
    codes = model.encode(x, 70.0)
    clock = Clock(monkeypatch)
    measure = Window.measure

    def measured(self, *, gradients=True):
        clock.now += 3 if gradients else 1
        return measure(self, gradients=gradients)

    monkeypatch.setattr(Window, "measure", measured)
    found = refine(model, x, 70.0, codes, effort=5, deadline=115.0, progress=lambda done, _: steps.append(done))
    assert steps == [1, 2, 3, 4] and clock.now == 112.0  # an evaluation, the look, three steps, an evaluation
    assert loss(model, x, 70.0, found) <= loss(model, x, 70.0, codes)
    same = refine(model, x, 70.0, codes, effort=5, deadline=1.0)
    assert all(torch.equal(a, b) for a, b in zip(same, codes, strict=True))


def test_where_no_step_fits_the_codes_are_those_given(monkeypatch, exactly):
    model, x = tiny_model("leech-ball"), torch.rand(1, 3, 64, 64) * 2 - 1
    given = model.encode((x * 127.5 + 127.5).round().to(torch.uint8), 80.0)
    given = [code.flip(2, 3).to(torch.int8) for code in given]  # not what the encoder would say
    monkeypatch.setattr(efforts.Allowance, "steps", lambda self, done: 0)
    found = refine(model, x, 80.0, given, effort=9)
    assert all(torch.equal(a, b) for a, b in zip(found, given, strict=True))


def test_max_seconds(tiny_folder):
    image = Image.open(SAMPLE).convert("RGB").crop((0, 0, 128, 128))
    plain = compress(image, model=tiny_folder)
    assert compress(image, model=tiny_folder, effort=9, max_seconds=1e-6) == plain
    assert decompress(compress(image, model=tiny_folder, effort=2, max_seconds=600), model=tiny_folder).size == (
        128,
        128,
    )
    with pytest.raises(ConfigError, match="max_seconds must be above 0"):
        compress(image, model=tiny_folder, max_seconds=0)
