import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from leechcodec.errors import ConfigError, ModelError
from leechcodec.networks.model import CodecModel
from leechcodec.testing.tiny import LAYOUT
from leechcodec.training import loop
from leechcodec.training.data import Cropper, is_validation, load_images
from leechcodec.training.loop import stratified_quality, train
from leechcodec.training.run import TrainingError
from leechcodec.training.settings import TrainingConfig, load_settings
from leechcodec.training.state import load_weights
from tests.lab.lab_files import lpips_weights

pytestmark = pytest.mark.slow

MODEL = "[model]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in LAYOUT.items())


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def settings_file(tmp_path, steps, extra=""):
    path = tmp_path / f"run-{steps}.toml"
    path.write_text(
        f"{MODEL}\n[training]\nsteps = {steps}\nbatch = 2\ncrop = 64\nrate_tokens = 16\nwarmup = 2\n"
        f"validation_share = 0.0\nprecision = 'float32'\ndecay = 0.0\n{extra}"
    )
    return path


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "checkpoint.safetensors")


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, photographs):
    torch.manual_seed(5)
    train(settings_file(tmp_path, 4), [photographs], tmp_path / "whole", threads=1)
    train(settings_file(tmp_path, 4), [photographs], tmp_path / "parts", threads=1, steps=2)
    train(settings_file(tmp_path, 4), [photographs], tmp_path / "parts", threads=1, resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert torch.equal(whole["random.crops"], parts["random.crops"])
    # Momentum is kept in bf16: equal up to what its rounding does in two steps.
    for name in whole:
        if name.startswith("model."):
            assert (whole[name] - parts[name]).norm() <= 0.02 * whole[name].norm(), name


def test_images_that_arrive_are_trained_on(tmp_path, photographs, monkeypatch):
    coming, added = [torch.zeros(3, 70, 80, dtype=torch.uint8)], []
    monkeypatch.setattr(loop.Arrivals, "take", lambda self: [coming.pop()] if coming else [])
    monkeypatch.setattr(loop.Cropper, "add", lambda self, images: added.extend(images))
    train(settings_file(tmp_path, 2), [photographs], tmp_path / "run", threads=1, watch=True)
    assert [image.shape for image in added] == [(3, 70, 80)]


def test_a_run_with_every_option_goes_on_where_it_stopped(tmp_path, photographs):
    """Dion's bases, the discriminator and the linear map of the alignment are in the checkpoint."""
    extra = (
        "optimizer = 'dion'\ndion_rank = 0.5\nmae = 0.3\nadversarial = 0.02\nadversarial_start = 1\nvf_weight = 0.1\n"
    )
    options = {"threads": 1, "vf_weights": lpips_weights(tmp_path)}
    settings = settings_file(tmp_path, 4, extra + "z_loss = 1e-4\n")
    train(settings, [photographs], tmp_path / "whole", **options)
    train(settings, [photographs], tmp_path / "parts", steps=2, **options)
    train(settings, [photographs], tmp_path / "parts", resume=True, **options)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys() and not any(name.startswith("ema.objective") for name in whole)
    assert whole["dion.basis.synthesis.up.0.weight"].shape == (32, 4)
    for name in whole:
        if name.startswith(("model.", "objective.")):  # momentum and bases are kept in bf16
            assert (whole[name] - parts[name]).norm() <= 0.02 * whole[name].norm(), name
    # A model takes such a checkpoint as any other; a term that was not there before is refused.
    config, _ = load_settings(settings)
    load_weights(tmp_path / "whole" / "checkpoint.safetensors", config, CodecModel(config))
    train(settings_file(tmp_path, 1), [photographs], tmp_path / "plain", threads=1)
    with pytest.raises(ModelError, match=r"no objective\.discriminator"):
        train(settings, [photographs], tmp_path / "plain", resume=True, **options)


def test_a_prior_that_is_worse_than_none_is_named(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr("leechcodec.training.run.LOG_EVERY", 1)
    found = iter([[3.0, 17.0, 18.4, 30.0, 5.0], [3.0, 17.0, 18.4, 12.0, 5.0]])
    monkeypatch.setattr("leechcodec.training.loop._bits_a_token", lambda *_: next(found))
    train(settings_file(tmp_path, 2), [photographs], tmp_path / "run", threads=1)
    first, second = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert first["worse_than_no_prior"] == [4] and "worse_than_no_prior" not in second


def test_a_single_crop_of_one_token_is_a_start(tmp_path, photographs):
    path = settings_file(tmp_path, 2)
    path.write_text(path.read_text().replace("batch = 2", "batch = 1"))
    train(path, [photographs], tmp_path / "run")
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_a_run_that_diverges_says_so(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr("leechcodec.training.loop.MAX_SKIPS", 2)
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="diverged at step 8, and 3 times before"):
        train(settings_file(tmp_path, 60), [photographs], tmp_path / "run")


def test_a_run_goes_back_from_broken_weights_to_their_averages(tmp_path, photographs, monkeypatch):
    step, norms = torch.nn.utils.clip_grad_norm_, iter([False] * 3 + [True] * 2 + [False] * 10)

    def broken(parameters, *arguments):
        parameters = list(parameters)
        if not next(norms):
            return step(parameters, *arguments)
        for parameter in parameters:
            parameter.data += 1e3
        return torch.tensor(float("nan"))

    monkeypatch.setattr("leechcodec.training.loop.MAX_SKIPS", 2)
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", broken)
    train(settings_file(tmp_path, 6), [photographs], tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"step": 5, "returned_to_averages": 1} in rows
    kept = weights(tmp_path / "run")
    averages = {name.removeprefix("ema."): value for name, value in kept.items() if name.startswith("ema.")}
    assert all((kept[f"model.{name}"] - value).abs().max() < 500 for name, value in averages.items())


def test_a_device_that_is_not_there(tmp_path, photographs):
    with pytest.raises(ConfigError, match="device 'cuda:99'"):
        train(settings_file(tmp_path, 1), [photographs], tmp_path / "run", device="cuda:99")
    assert not (tmp_path / "run").exists()


def test_a_penalty_below_zero_skips_no_step(tmp_path, photographs, capsys):
    """The entropy penalty rewards codes in use: it is negative, and may outweigh all else."""
    settings = settings_file(tmp_path, 5, "entropy_weight = 1000.0\nspike_factor = 100.0\n")
    settings.write_text(settings.read_text().replace("[model]", "[model]\nquantizer = 'bsq-12'"))
    train(settings, [photographs], tmp_path / "run", threads=1)
    assert "skipped" not in capsys.readouterr().out


WATCHED = """
import hashlib, os, sys
from pathlib import Path
from leechcodec.apps.cli import main
from leechcodec.training import loop

inner = loop._train

def watched(run, steps, *rest):
    inner(run, steps, *rest)
    found = hashlib.sha256()
    for parameter in steps.model.parameters():
        found.update(parameter.detach().numpy().tobytes())
    Path(__file__).with_name(os.environ["RANK"] + ".txt").write_text(found.hexdigest())

loop._train = watched
main(standalone_mode=False)
"""
"""The command line; every process leaves a digest of its weights."""


def test_two_processes_train_one_model(tmp_path, photographs):
    extra = "spike_factor = 100.0\nvf_weight = 0.1\nadversarial = 0.01\nz_loss = 1e-4\n"
    settings = settings_file(tmp_path, 2, extra)
    (tmp_path / "watched.py").write_text(WATCHED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        tmp_path / "watched.py",
        "train",
        settings,
        "--data",
        photographs,
        "--out",
        tmp_path / "run",
        "--threads",
        "1",
        "--vf-weights",
        lpips_weights(tmp_path),
    ]
    command, environment = [str(part) for part in command], os.environ | {"OMP_NUM_THREADS": "1"}
    seen: list[str] = []
    for extra in (["--steps", "1"], ["--resume"]):
        done = subprocess.run(command + extra, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
        assert first == second and first not in seen  # one model, whose weights have moved
        seen.append(first)
    assert done.stdout.count("parameters;") == 1  # one process speaks
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())


def test_loss_falls(tmp_path, photographs):
    train(settings_file(tmp_path, 100, "adam_lr = 3e-3\n"), [photographs], tmp_path / "run", threads=1)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["psnr"] > 12 and rows[-1]["mean_loss"] < rows[0]["mean_loss"]


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, photographs):
    train(settings_file(tmp_path, 1), [photographs], tmp_path / "run", threads=1)
    other = tmp_path / "other.toml"
    other.write_text(settings_file(tmp_path, 1).read_text().replace("quality_knots = 3", "quality_knots = 4"))
    with pytest.raises(ModelError, match="quality_knots is 3, not 4"):
        train(other, [photographs], tmp_path / "run", resume=True)


def test_a_run_is_not_started_over_another(tmp_path, photographs):
    train(settings_file(tmp_path, 1), [photographs], tmp_path / "run", threads=1)
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="--resume goes on with it"):
        train(settings_file(tmp_path, 1), [photographs], tmp_path / "run", threads=1)
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before


def test_settings_name_what_is_wrong(tmp_path):
    path = tmp_path / "c.toml"
    for text, message in (
        ("[training]\nstep = 1", "unknown training key 'step'"),
        ("[data]", r"unknown table \[data\]"),
        ("[training]\ncrop = 100", "multiple of 64"),
        ("[training]\nrate_tokens = 0", "rate_tokens"),
        ("[training]\nchoices = 0", "choices"),
        ("[training]\nvalidation_every = 0", "validation_every"),
        ("[training]\nema = 1", "ema"),
        ("[training]\nexclude = 'kodim01.png'", "list of file names"),
        ("[training]\noptimizer = 'adam'", "'muon' or 'dion'"),
        ("[model]\nwidth = 3", "unknown model config key 'width'"),
        ("[training", "c.toml"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_settings(path)


def test_rate_schedule():
    settings = TrainingConfig(steps=1000, warmup=10, decay=0.4)
    factors = [settings.rate_factor(step) for step in (0, 9, 500, 600, 800, 1000)]
    assert factors == pytest.approx([0.1, 1, 1, 1, 0.525, 0.05])


def test_a_budget_in_minutes(tmp_path, photographs, monkeypatch):
    """The run ends by the clock, whatever the config's steps, and its rates fall by it."""
    seconds = itertools.count()
    monkeypatch.setattr("leechcodec.training.run.time.monotonic", lambda: float(next(seconds)))
    path = settings_file(tmp_path, 1)
    path.write_text(path.read_text().replace("decay = 0.0", "decay = 1.0"))
    train(path, [photographs], tmp_path / "run", threads=1, minutes=0.2)
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", "pt") as file:
        metadata = file.metadata()
    assert 12 <= float(metadata["seconds"]) <= 15 and 3 <= int(metadata["step"]) <= 12
    settings = TrainingConfig(steps=10, warmup=1, decay=0.5)
    assert [settings.rate_factor(99, done) for done in (0.2, 0.5, 0.75, 1.0)] == pytest.approx([1, 1, 0.525, 0.05])


def test_quality_covers_the_dial():
    quality = stratified_quality(10, torch.Generator().manual_seed(1)).flip(0)
    edges = 1 + 99 * torch.arange(11) / 10
    assert ((quality >= edges[:-1]) & (quality <= edges[1:])).all()
    assert stratified_quality(3, torch.Generator(), 20.0, 20.0).tolist() == [20.0] * 3


def test_a_model_of_a_single_rate_leaves_finer_stages_alone(tmp_path, photographs):
    found = []
    for steps in (1, 3):
        train(settings_file(tmp_path, steps, "dial = [1, 1]\n"), [photographs], tmp_path / str(steps), threads=1)
        found.append(weights(tmp_path / str(steps)))
    name = "model.synthesis.stages.{}.embed.weight"
    assert torch.equal(found[0][name.format(4)], found[1][name.format(4)])
    assert not torch.equal(found[0][name.format(0)], found[1][name.format(0)])


def test_sources(tmp_path, photographs):
    training, validation = load_images([photographs], validation_share=0.5, exclude=["0.png"])
    held_out = [n for n in range(1, 6) if is_validation(f"{n}.png", 0.5)]
    assert len(validation) == len(held_out) and len(training) + len(validation) == 5
    with pytest.raises(ConfigError, match=r"neither a folder nor a \.tar"):
        load_images([tmp_path / "missing"], validation_share=0)
    if os.name == "posix":
        shutil.copytree(photographs, tmp_path / "odd")
        os.rename(os.fsencode(tmp_path / "odd" / "1.png"), os.fsencode(tmp_path / "odd") + b"/a\xe9.png")
        assert sum(map(len, load_images([tmp_path / "odd"], validation_share=0.5))) == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no training images"):
        load_images([tmp_path / "empty"], validation_share=0)


def test_crops_of_images_smaller_than_the_crop():
    crops = Cropper([torch.full((3, 30, 200), 7, dtype=torch.uint8)], torch.Generator().manual_seed(0))(4, 64)
    assert crops.shape == (4, 3, 64, 64) and (crops == 7).all()
