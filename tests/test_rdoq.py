from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leechcodec import compress, decompress
from leechcodec.checkpoint import load_model
from leechcodec.errors import ConfigError
from leechcodec.prior import FloatView, drive
from leechcodec.rdoq import SWEEPS, _Costs, _MemoView, around, refine, stages_searched
from tests.tiny import tiny_model


def loss(model, x, quality, codes):
    """The plain way: everything computed anew, in bits."""
    with torch.no_grad():
        out = model.reconstruct(
            [code.float() for code in codes],
            torch.tensor([quality]),
            *x.shape[2:],
        )
    mse = (out[0].clamp(-1, 1) - x).square().mean() / 4
    return model.config.lmbda(quality) * 255**2 * mse * x.shape[2] * x.shape[3] + sum(b.sum() for b in out[1])


@pytest.mark.parametrize("quantizer", ["leech", "leech-ball", "bsq-18"])
def test_search_only_improves(quantizer):
    model = tiny_model(quantizer)
    x = torch.rand(1, 3, 128, 64) * 2 - 1
    codes = model.encode(x, 70.0)
    before, losses = loss(model, x, 70.0, codes), []
    for effort in (1, 4, 8, 9):
        found = refine(model, x, 70.0, codes, effort=effort)
        assert [code.shape for code in found] == [code.shape for code in codes]
        assert all(code.dtype == torch.int8 for code in found)
        norms = torch.cat([code.long().square().sum(1).reshape(-1) for code in found])
        assert set(norms.tolist()) <= {0, model.quantizer.norm_squared}
        losses.append(loss(model, x, 70.0, found))
    assert losses[0] == before
    assert losses[1] < before and losses[2] < losses[1] and losses[3] <= losses[2] + 1


def test_costs_after_a_change_are_those_of_a_fresh_start():
    model = tiny_model()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        codes = [code.float() for code in model.encode(x, 90.0)]
        costs = _Costs(model, x, 90.0, (64, 64))
        costs.measure(codes)
        for stage in (4, 2, 0, 3):
            codes[stage] = codes[stage].roll(1, 1)
            pixels, tokens = costs.measure(codes, stage)
            fresh_pixels, fresh_tokens = _Costs(model, x, 90.0, (64, 64)).measure(codes)
            assert torch.allclose(pixels, fresh_pixels, rtol=1e-4, atol=1e-6)
            for bits, fresh in zip(tokens, fresh_tokens, strict=True):
                assert torch.allclose(bits, fresh, rtol=1e-4, atol=1e-4)


def test_a_trial_leaves_no_trace():
    model = tiny_model()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        codes = [code.float() for code in model.encode(x, 90.0)]
        costs = _Costs(model, x, 90.0, (64, 64))
        pixels, _ = costs.measure(codes)
        costs.measure([codes[0].roll(1, 1), *codes[1:]], 0, keep=False)
        assert torch.equal(costs.measure(codes, 3)[0], pixels)


def test_nothing_is_computed_twice():
    model = tiny_model()
    view, calls = _MemoView(model.prior, torch.tensor([90.0])), []
    codes = [torch.zeros(1, 24, *(2 * [64 >> (6 - s)])) for s in model.config.stage_scales]

    def answer(stage, mask, params):
        calls.append(params)
        return codes[stage] if mask is None else view.memo(lambda code: code * mask, codes[stage])

    with torch.no_grad():
        for _ in range(2):
            view.begin()
            drive(model.prior.walk(view, 64, 64), answer)
        half = len(calls) // 2
        assert all(a is b for a, b in zip(calls[:half], calls[half:], strict=True))
        plain = []
        drive(
            model.prior.walk(FloatView(model.prior, torch.tensor([90.0])), 64, 64),
            lambda stage, mask, params: (plain.append(params), codes[stage] if mask is None else codes[stage] * mask)[
                1
            ],
        )
    assert all(torch.equal(a, b) for a, b in zip(calls, plain, strict=False))


def test_errors_outside_the_image_do_not_count():
    model = tiny_model()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        pixels, _ = _Costs(model, x, 50.0, (40, 50)).measure([code.float() for code in model.encode(x, 50.0)])
    assert pixels[0, 0, :40, :50].min() > 0
    assert pixels[0, 0, 40:].abs().max() == 0 and pixels[0, 0, :, 50:].abs().max() == 0


def test_bits_around_a_cell():
    pixels, tokens = torch.zeros(1, 1, 64, 64), [torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 8, 8)]
    tokens[0][...] = 64.0
    tokens[1][0, 0, 5, 5] = 2.0
    pixels[0, 0, 45, 47] = 3.0  # the same cell of the 8 x 8 grid
    cells = around(pixels, tokens, 8)[0, 0]
    assert cells[4, 6] == pytest.approx(9 + 5) and cells[5, 5] == pytest.approx(9 + 5)
    assert cells[2, 2] == pytest.approx(9) and cells[0, 0] == pytest.approx(4)


def test_stages_searched():
    assert [stages_searched(effort, 13) for effort in SWEEPS] == [0, 2, 3, 4, 6, 8, 11, 13, 26]
    assert stages_searched(2, 1) == 1
    for effort in (0, 10, 2.5):
        with pytest.raises(ConfigError, match="effort must be"):
            stages_searched(effort, 13)


def test_a_photograph_gets_smaller_for_its_error():
    image = Image.open(Path(__file__).parent.parent / "data" / "sample.png").convert("RGB").crop((100, 100, 228, 228))
    steps, plain = [], compress(image, quality=20)
    searched = compress(image, quality=20, effort=8, progress=lambda done, all_: steps.append((done, all_)))
    assert steps[-1][0] == steps[-1][1] and steps == sorted(steps)

    def total(data):
        error = np.asarray(decompress(data), dtype=float) - np.asarray(image)
        return load_model().config.lmbda(20) * np.mean(error**2) * 128**2 + 8 * len(data)

    assert total(searched) < total(plain)
