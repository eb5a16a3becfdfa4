import itertools
import json

import pytest
import torch
from torch import nn

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError, ModelError
from leechcodec.training.loop import train
from leechcodec.training.perceptual import PerceptualConfig, train_perceptual
from leechcodec.training.prior_only import PriorConfig, train_prior
from leechcodec.training.run import Budget, Run


@pytest.fixture
def make_run(tmp_path):
    def make(budget=None, **options):
        torch.manual_seed(0)
        model = nn.Linear(2, 3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        options = {"ema": 0.5, "checkpoint_minutes": 60.0} | options
        return Run(
            tmp_path, ModelConfig(), model, {"adam": optimizer}, torch.Generator(), budget or Budget(4), **options
        )

    return make


def take_step(run):
    draws = torch.randn(2, generator=run.generator)
    run.model(draws).square().sum().backward()
    run.optimizers["adam"].step()
    run.optimizers["adam"].zero_grad()
    run.advance()
    run.average()
    run.save_if_due()


def take_steps(run):
    with run:
        while run.done < 1:
            take_step(run)
    return run


def test_a_run_goes_on_from_its_folder_alone(make_run):
    whole = take_steps(make_run())
    make_run().path.unlink()
    part = take_steps(make_run(Budget(2)))
    assert part.step == 2 and part.done == 1
    again = make_run()
    again.load()
    assert again.step == 2 and again.seconds == pytest.approx(part.seconds, abs=0.1)
    take_steps(again)
    assert again.step == whole.step == 4
    for name, value in whole.model.named_parameters():
        assert torch.equal(value, again.model.get_parameter(name))
        assert torch.equal(whole.averages[name], again.averages[name])


def test_a_run_that_is_done_takes_no_step(make_run):
    take_steps(make_run())
    run = make_run()
    run.load()
    with run:
        assert run.done == 1


def test_averages_follow_and_are_lent(make_run):
    run = make_run()
    start = run.model.weight.detach().clone()
    with run:
        take_step(run)
    after = run.model.weight.detach().clone()
    kept = 2 / 11  # (step + 1) / (step + 10), less than the decay of 0.5
    expected = kept * start + (1 - kept) * after
    assert torch.allclose(run.averages["weight"], expected, atol=1e-6)
    with pytest.raises(KeyError), run.averaged():
        assert torch.allclose(run.model.weight, expected, atol=1e-6)
        raise KeyError
    assert torch.equal(run.model.weight, after)
    run.start_from_trained()
    assert torch.equal(run.averages["weight"], after)


def test_from_trained_weights_all_steps_count_alike(make_run):
    run = make_run(Budget(100), ema=0.9)
    run.start_from_trained()
    seen = [run.model.weight.detach().clone()] * 2
    with run:
        for _ in range(6):
            take_step(run)
            seen.append(run.model.weight.detach().clone())
        assert torch.allclose(run.averages["weight"], torch.stack(seen).mean(0), atol=1e-6)
        run.save()
    again = make_run(Budget(100), ema=0.9)
    again.load()
    assert again.lag == run.lag != make_run().lag
    with again:
        for _ in range(20):
            kept = again.averages["weight"].clone()
            take_step(again)
    expected = 0.9 * kept + 0.1 * again.model.weight.detach()
    assert torch.allclose(again.averages["weight"], expected, atol=1e-6)  # as long as ema says, and no longer


def test_minutes_are_of_all_parts_together(make_run, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("leechcodec.training.run.time.monotonic", lambda: float(next(clock)))
    first = make_run(Budget(1, minutes=0.5))
    with first:
        while first.seconds < 14:
            first.advance()
        first.save()
    assert 0.4 < first.done < 0.7
    second = make_run(Budget(1, minutes=0.5))
    second.load()
    take_steps(second)
    assert 30 <= second.seconds <= 36


def test_checkpoints_are_written_when_due(make_run):
    rare, often = make_run(), make_run(checkpoint_minutes=0.0)
    for run, written in ((rare, False), (often, True)):
        with run:
            take_step(run)
        assert run.path.exists() == written


def test_the_log_has_a_row_each_fifty_steps(make_run, capsys):
    run = make_run(Budget(120))
    with run:
        while run.done < 1:
            run.advance()
            if run.log_is_due:
                run.log({"bpp": 0.5})
    rows = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert rows == [{"step": 50, "bpp": 0.5}, {"step": 100, "bpp": 0.5}]
    assert capsys.readouterr().out.count("\n") == 2


def test_no_kind_of_run_is_started_over_another(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"days of work")
    (tmp_path / "c.toml").write_text("[training]\nsteps = 1\n")
    for start in (
        lambda: train(tmp_path / "c.toml", [tmp_path], tmp_path),
        lambda: train_prior(PriorConfig(), [tmp_path], tmp_path),
        lambda: train_perceptual(PerceptualConfig(), [tmp_path], tmp_path, tmp_path),
    ):
        with pytest.raises(ConfigError, match="--resume goes on with it"):
            start()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == b"days of work"


def test_the_checkpoint_of_another_kind_of_run_is_refused(make_run, tmp_path):
    take_steps(make_run())
    for other in (nn.Bilinear(2, 2, 3), nn.Linear(3, 3), nn.Sequential(nn.Linear(2, 3))):
        run = Run(
            tmp_path, ModelConfig(), other, {}, torch.Generator(), Budget(4), ema=0.5, checkpoint_minutes=60.0
        )  # fmt: skip
        with pytest.raises(ModelError, match="of another kind of run"):
            run.load()
