"""Λ24-SQ against its BSQ twin: the same network, data, steps and seeds, one line of the config changed.

    python tools/compare_bsq.py KODAK --data photos/ --out runs/twin --seeds 1 2 3

Trains every variant with every seed from configs/twin.toml, releases and evaluates each through real files, and prints
BD-rates of Λ24-SQ against each BSQ (mean and sample standard deviation over the seeds, a pair a seed) and how the
tokens are used. Each finished part is kept: run again, it goes on where it stopped.
"""

import argparse
import math
import statistics
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leechcodec import codec
from leechcodec.checkpoint import save_model
from leechcodec.lab import bdrate, curves, results
from leechcodec.lab.evaluate import EvalConfig, evaluate
from leechcodec.lab.peers import PeerOptions
from leechcodec.model import CodecModel
from leechcodec.training.loop import train
from leechcodec.training.settings import load_settings
from leechcodec.training.state import load_weights

VARIANTS = {
    "leech-ball": {},
    "bsq-18": {"quantizer": "bsq-18"},
    "bsq-24": {"quantizer": "bsq-24"},
    "bsq-18-penalty": {"quantizer": "bsq-18", "entropy_weight": 0.1},
}
OURS = "leech-ball"
DIAL = (5.0, 25.0, 45.0, 65.0, 85.0)


def config_of(base: Path, changes: dict, seed: int, target: Path) -> Path:
    """The base config with some values changed, written beside the run."""
    tables = tomllib.loads(base.read_text())
    for key, value in (changes | {"seed": seed}).items():
        tables["model" if key == "quantizer" else "training"][key] = value
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items()), ""]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines))
    return target


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def trained(run: Path, config_path: Path, data: list[Path], threads: int | None) -> Path:
    """The released model of a run, trained first where it is not there yet."""
    model_folder = run / "model"
    if not (model_folder / "weights.safetensors").is_file():
        train(config_path, data, run, resume=(run / "checkpoint.safetensors").is_file(), threads=threads)
        config, _ = load_settings(config_path)
        model = CodecModel(config)
        load_weights(run / "checkpoint.safetensors", config, model)
        save_model(model_folder, model)
    return model_folder


def curve_of(run: Path, model: Path, images: Path, dial: tuple[float, ...] = DIAL) -> curves.Curve:
    """The rate-distortion curve of a model through real files, at these qualities."""
    config = EvalConfig(images, ("leech",), run / "results", PeerOptions(model=str(model)), {"leech": dial})
    return curves.measured(results.load(evaluate(config).written["leech"]))


def usage(model: Path, images: Iterable[Path], quality: float = 60) -> tuple[float, float, float]:
    """Tokens of some images: bits of their fixed-length index, entropy of their distribution, share of codewords used.

    The entropy is that of all stages' tokens together, in bits, from counts: with few images it is an underestimate.
    """
    tokens = [codec.tokenize(Image.open(path).convert("RGB"), quality=quality, model=model) for path in images]
    rows = np.concatenate([codes.reshape(-1, codes.shape[-1]) for found in tokens for codes in found.codes])
    _, counts = np.unique(rows, axis=0, return_counts=True)
    share = counts / counts.sum()
    bits = codec.load_model(model).networks.quantizer.bits
    return bits, float(-(share * np.log2(share)).sum()), len(counts) / 2**bits


def spread(values: list[float], form: str = ".2f") -> str:
    deviation = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{deviation}"


def arguments(description: str) -> argparse.ArgumentParser:
    """What every comparison of trained twins is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", type=Path)
    parser.add_argument("--config", type=Path, default=Path("configs/twin.toml"))
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    return parser


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    args = parser.parse_args()
    found: dict[str, dict[int, curves.Curve]] = {name: {} for name in args.variants}
    used: dict[str, list[tuple[float, float, float]]] = {name: [] for name in args.variants}
    for seed in args.seeds:
        for name in args.variants:
            run = args.out / f"{name}-{seed}"
            config_path = config_of(args.config, VARIANTS[name], seed, run / "config.toml")
            model = trained(run, config_path, args.data, args.threads)
            found[name][seed] = curve_of(run, model, args.images)
            used[name].append(usage(model, sorted(args.images.glob("*.png"))))
    print(
        "| quantizer | bits a token | entropy of the tokens | share of codewords used | BD-rate of Λ24-SQ against it |"
    )
    print("|---|---|---|---|---|")
    for name in args.variants:
        rates = []
        if name != OURS and OURS in found:
            for seed, anchor in found[name].items():
                rates.append(bdrate.bd_rate(anchor, found[OURS][seed], curves.PSNR).rate)
        rates = [rate for rate in rates if rate is not None and math.isfinite(rate)]
        against = f"{spread(rates)} % ({len(rates)} seeds)" if rates else "–"
        bits, entropy, share = zip(*used[name])
        shares = spread([100 * value for value in share])
        print(f"| {name} | {bits[0]:.2f} | {spread(list(entropy))} | {shares} % | {against} |")


if __name__ == "__main__":
    main()
