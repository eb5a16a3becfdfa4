"""What comparisons of models trained alike have in common: a changed config, a run, its curve through real files."""

import argparse
import itertools
import json
import statistics
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from leechcodec.errors import ConfigError
from leechcodec.lab import curves, results
from leechcodec.lab.evaluate import EvalConfig, evaluate
from leechcodec.lab.peers.base import PeerOptions
from leechcodec.training.loop import train
from leechcodec.training.release import release_checkpoint


def config_text(base: Path, changes: dict, seed: int) -> str:
    """The base config with some values changed. Raises ConfigError where it does not describe a whole model."""
    tables = tomllib.loads(base.read_text())
    if missing := [name for name in ("model", "training") if name not in tables]:
        raise ConfigError(f"{base}: no [{missing[0]}]: a config of a whole model is needed")
    for key, value in (changes | {"seed": seed}).items():
        tables["model" if key == "quantizer" else "training"][key] = value
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def config_of(base: Path, changes: dict, seed: int, target: Path) -> Path:
    """The changed config, written beside the run.

    Raises ConfigError where the run was begun with another one: what it left would pass for this one's.
    """
    text = config_text(base, changes, seed)
    if target.is_file() and target.read_text() != text:
        raise ConfigError(f"{target.parent}: begun with another config; delete it, or name another --out")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def trained(
    run: Path, config_path: Path, data: list[Path], threads: int | None = None, init: Path | None = None
) -> Path:
    """The released model of a run, trained first where it is not there yet; what training prints goes to train.log.
    init: a released model's folder, whose weights are the start."""
    model_folder = run / "model"
    if not (model_folder / "weights.safetensors").is_file():
        with open(run / "train.log", "a", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
            resume = (run / "checkpoint.safetensors").is_file()
            train(config_path, data, run, resume=resume, threads=threads, init=None if resume else init)
        release_checkpoint(run / "checkpoint.safetensors", model_folder)
        (run / "checkpoint.previous.safetensors").unlink(missing_ok=True)
    return model_folder


def curve_of(run: Path, model: Path, images: Path, dial: tuple[float, ...], lpips: Path | None = None) -> curves.Curve:
    """The rate-distortion curve of a model through real files, at these qualities."""
    options = PeerOptions(model=str(model))
    config = EvalConfig(images, ("leech",), run / "results", options, {"leech": dial}, lpips=lpips)
    return curves.measured(results.load(evaluate(config).written["leech"]))


def log_of(run: Path) -> list[dict]:
    """The rows of a run's log; none where it has not begun."""
    path = run / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def seconds_a_step(run: Path) -> float | None:
    """The median over stretches between two rows of the log, which a validation or a moment of other work does not
    move; None where there is no stretch."""
    rows = [row for row in log_of(run) if "seconds" in row]
    stretches = [
        (b["seconds"] - a["seconds"]) / (b["step"] - a["step"])
        for a, b in itertools.pairwise(rows)
        if b["step"] > a["step"]
    ]
    return statistics.median(stretches) if stretches else None


def arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What every comparison of trained twins is told."""
    parser.add_argument("images", type=Path, help="folder of images to measure on")
    parser.add_argument("--config", type=Path, default=Path("configs/twin.toml"))
    parser.add_argument("--data", type=Path, action="append", required=True, help="photographs to train on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    return parser
