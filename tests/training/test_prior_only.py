import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from leechcodec.codec.model_store import load_model
from leechcodec.errors import ConfigError
from leechcodec.training import prior_only
from leechcodec.training.data import load_images
from leechcodec.training.prior_only import bits, load_prior_config, train_prior
from leechcodec.training.run import Run, TrainingError
from leechcodec.training.token_maps import MapSettings, kept_maps, make_maps

pytestmark = pytest.mark.slow


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((260, 220), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def settings_file(tmp_path, base, extra=""):
    path = tmp_path / "prior.toml"
    path.write_text(
        f"[prior]\nbase = {json.dumps(str(base))}\nmaps = 6\nwidth = 256\nheight = 192\nsteps = 20\nlr = 1e-2\n"
        f"batch = 2\nrate_tokens = 64\nvalidation_share = 0.0\n{extra}"
    )
    return path


def test_files_get_smaller_and_the_tokens_stay(tmp_path, tiny_folder, photographs):
    config = load_prior_config(settings_file(tmp_path, tiny_folder))
    train_prior(config, [photographs], tmp_path / "run", threads=1)
    before, after = load_model(tiny_folder), load_model(tmp_path / "run" / "model")
    images = [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in sorted(photographs.iterdir())]
    maps = make_maps(before.networks, images, config.token_maps)
    again = make_maps(after.networks, images, config.token_maps)
    assert all(torch.equal(a, b) for x, y in zip(maps, again) for a, b in zip(x.codes, y.codes))
    with torch.no_grad():
        old, new = (sum(bits(m.networks, tokens).sum().item() for tokens in maps) for m in (before, after))
    assert new < 0.9 * old
    assert before.token_model != after.token_model and before.synthesis == after.synthesis


def test_a_prior_with_more_passes_and_gates_starts_from_the_one_it_follows(tmp_path, tiny_folder, photographs):
    passes = (3, 5, 2, 2, 2)
    wanted = f"passes = {list(passes)}\ngates = true\n"
    config = replace(load_prior_config(settings_file(tmp_path, tiny_folder, wanted)), lr=1e-9)
    train_prior(config, [photographs], tmp_path, steps=1)
    before, after = load_model(tiny_folder), load_model(tmp_path / "model")
    assert after.config == replace(before.config, passes=passes, gates=True)
    images = [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in sorted(photographs.iterdir())]
    with torch.no_grad():
        for tokens in make_maps(before.networks, images, MapSettings(maps=3, width=256, height=192)):
            old, new = (bits(model.networks, tokens) for model in (before, after))
            assert torch.allclose(old, new, rtol=0.1), (old, new)  # the gates are not quite shut


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, tiny_folder, photographs, monkeypatch):
    config = load_prior_config(settings_file(tmp_path, tiny_folder, "checkpoint_minutes = 0\n"))
    train_prior(config, [photographs], tmp_path / "whole", threads=1, steps=4)
    average = Run.average

    def interrupted(run):
        if run.step == 3:
            raise KeyboardInterrupt
        average(run)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "average", interrupted)
        train_prior(config, [photographs], tmp_path / "parts", threads=1, steps=4)
    made = (tmp_path / "parts" / "maps.safetensors").stat().st_mtime_ns
    train_prior(config, [photographs], tmp_path / "parts", threads=1, steps=4, resume=True)
    assert (tmp_path / "parts" / "maps.safetensors").stat().st_mtime_ns == made  # kept
    whole, parts = (load_model(tmp_path / name / "model") for name in ("whole", "parts"))
    assert whole.token_model == parts.token_model != load_model(tiny_folder).token_model


def test_maps_of_another_setting_or_of_other_pictures_are_made_anew(tmp_path, tiny_folder):
    model, path, pictures = load_model(tiny_folder).networks, tmp_path / "maps.safetensors", []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        pictures.append(torch.randint(0, 256, (3, 192, 192), dtype=torch.uint8, generator=generator))
    kept = []
    for seed, picture in ((1, 0), (2, 0), (2, 1), (2, 1)):
        kept_maps(path, MapSettings(maps=1, width=192, height=192, seed=seed), model, b"", [pictures[picture]])
        kept.append((path.read_bytes(), path.stat().st_mtime_ns))
    assert kept[0][0] != kept[1][0] != kept[2][0] and kept[2] == kept[3]
    other = copy.deepcopy(model)  # the same prior, and so the same id, with another encoder
    with torch.no_grad():
        next(other.analysis.parameters()).mul_(2)
    kept_maps(path, MapSettings(maps=1, width=192, height=192, seed=2), other, b"", [pictures[1]])
    assert path.stat().st_mtime_ns != kept[3][1]


def test_what_the_base_never_saw_stays_unseen(tmp_path, tiny_folder, photographs, monkeypatch):
    config = load_prior_config(settings_file(tmp_path, tiny_folder, 'exclude = ["0.png", "1.png"]\n'))
    found = load_images([photographs], validation_share=0.02, exclude=config.exclude)
    assert len(found[0]) + len(found[1]) == len(list(photographs.iterdir())) - 2
    taken = []
    monkeypatch.setattr(prior_only, "load_images", lambda data, **how: taken.append(how) or load_images(data, **how))
    train_prior(config, [photographs], tmp_path / "run", threads=1, steps=1)
    assert taken[0]["exclude"] == ("0.png", "1.png")


def test_torchrun_is_refused(tmp_path, tiny_folder, photographs, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        train_prior(load_prior_config(settings_file(tmp_path, tiny_folder)), [photographs], tmp_path / "run")


def test_held_out_pictures_are_watched(tmp_path, tiny_folder, photographs, monkeypatch):
    monkeypatch.setattr("leechcodec.training.data.is_validation", lambda name, share: name == "0.png")
    train_prior(load_prior_config(settings_file(tmp_path, tiny_folder)), [photographs], tmp_path, threads=1)
    first, last = [json.loads(line)["validation"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert first.keys() == {"q10", "q35", "q60", "q85"} and last["q10"] < first["q10"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[prior]\ncolour = 1\n", "unknown prior key 'colour'"),
        ("[prior]\n[training]\n", r"\[training\] beside \[prior\]"),
        ("[prior]\nbatch = 0\n", "1 or more"),
        ("[prior]\nwidth = 100\n", "at least 192"),
        ("[prior]\nheight = 200\n", "multiples of 64"),
        ("[prior]\nlr = -1.0\n", "lr must be a number, 0 or more"),
        ("[prior]\nvalidation_share = 2\n", "validation_share is a share"),
        ("[prior]\ngraphics = 2\n", "graphics is a share"),
        ("[prior]\nscales = [0.5]\n", "scales must be two numbers"),
    ],
)
def test_bad_configs_are_refused(tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_prior_config(tmp_path / "bad.toml")


def test_pictures_without_an_inside_are_refused(tiny_folder):
    with pytest.raises(ConfigError, match="sides of 192 pixels or more"):
        make_maps(load_model(tiny_folder).networks, [torch.zeros(3, 100, 300, dtype=torch.uint8)], MapSettings())


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, tiny_folder, photographs, monkeypatch):
    monkeypatch.setattr(prior_only, "bits", lambda model, tokens, n: model.prior.constant.sum() * float("nan"))
    with pytest.raises(TrainingError, match="diverged at step 1"):
        train_prior(load_prior_config(settings_file(tmp_path, tiny_folder)), [photographs], tmp_path, threads=1)
