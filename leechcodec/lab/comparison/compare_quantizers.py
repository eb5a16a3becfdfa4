"""The controlled comparison: the same network, data, steps and seeds with every quantizer in its place.

    python -m leechcodec.lab.comparison.compare_quantizers train KODAK --data photos/ --out runs/family \\
        --collect docs/quantizers.json
    python -m leechcodec.lab.comparison.compare_quantizers show docs/quantizers.json --anchor bsq-18

``train`` changes one line of configs/twin.toml (the quantizer; two where its own entropy penalty is on), trains and
releases each model and measures it through real files, one process a core; each finished run is kept, so that the same
command goes on where it stopped. ``show`` prints what was collected: BD-rates with their 95 % intervals (Student's t
over pairs of the same seed), and how the tokens are used.
"""

import argparse
import hashlib
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.errors import ConfigError
from leechcodec.formats.files import write_atomic
from leechcodec.formats.machine import available_cores
from leechcodec.lab import curves, plot
from leechcodec.lab.comparison.quantizer_runs import Run, collected, draw, mean_curves, read_run, show
from leechcodec.lab.comparison.twins import arguments, config_of, config_text, curve_of, seconds_a_step, trained
from leechcodec.lab.datasets import photographs
from leechcodec.lab.measure import start_worker
from leechcodec.networks.layout import TokenLayout
from leechcodec.training.settings import load_settings

LARGE = {
    "leech-ball": {"quantizer": "leech-ball"},
    "leech": {"quantizer": "leech"},
    "bsq-18": {"quantizer": "bsq-18"},
    "bsq-18 + penalty": {"quantizer": "bsq-18", "entropy_weight": 0.1},
    "bsq-24": {"quantizer": "bsq-24"},
    "bsq-24 + penalty": {"quantizer": "bsq-24", "entropy_weight": 0.1},
    "lfq-18": {"quantizer": "lfq-18"},
    "lfq-18 + penalty": {"quantizer": "lfq-18", "entropy_weight": 0.1},
    "fsq-8x8x8x5x5x5": {"quantizer": "fsq-8x8x8x5x5x5"},
    "fsq-3^11": {"quantizer": "fsq-3x3x3x3x3x3x3x3x3x3x3"},
    "e8x2": {"quantizer": "e8x2"},
    "e8x3": {"quantizer": "e8x3"},
}
"""16 to 24 bits: structured codes."""
SMALL = {
    "bsq-12": {"quantizer": "bsq-12"},
    "bw16": {"quantizer": "bw16"},
    "rpq-12-12": {"quantizer": "rpq-12-12"},
    "fibonacci-12-12": {"quantizer": "fibonacci-12-12"},
    "vq-12-12": {"quantizer": "vq-12-12"},
    "simvq-12-12": {"quantizer": "simvq-12-12"},
    "lgq-12-12": {"quantizer": "lgq-12-12"},
    "lgq-12-12 + penalty": {"quantizer": "lgq-12-12", "entropy_weight": 0.005},
    "round-12": {"quantizer": "round-12"},
}
"""About 12 bits, and rounding in as many dimensions."""
VARIANTS = LARGE | SMALL
DIAL = (5.0, 25.0, 45.0, 65.0, 85.0)
USAGE_AT = 60.0
"""The quality at which tokens are counted."""


def run_of(variant: str, seed: int, args: argparse.Namespace) -> Run:
    """Train, release and measure one model, or read what is there."""
    folder = args.out / f"{variant.replace(' + ', '-')}-{seed}"
    kept, wanted = folder / "run.json", digest(args.config, variant, seed)
    config_path = config_of(args.config, VARIANTS[variant], seed, folder / "config.toml")
    if kept.is_file():
        found = read_run(json.loads(kept.read_text()))
        if found.config != wanted:
            raise ConfigError(f"{kept}: of another config; delete it, or name another --out")
        return found
    model = trained(folder, config_path, args.data, threads=1)
    curve = curve_of(folder, model, args.images, DIAL, args.lpips_weights)
    quantizer = api.load_model(model).networks.quantizer
    images = [photograph.path for photograph in photographs(args.images)[0]]
    entropy, used, tokens = usage(model, images)
    pace = seconds_a_step(folder)
    run = Run(
        variant=variant,
        seed=seed,
        config=wanted,
        quantizer=quantizer.name,
        bits=round(quantizer.bits, 4),
        steps=load_settings(config_path)[1].steps,
        seconds_a_step=None if pace is None else round(pace, 3),
        quality=DIAL,
        bpp=_rounded(curve.bpp),
        fixed_bpp=None if quantizer.delta_min is None else _rounded(fixed_rates(model, images)),
        psnr=_rounded(curve.metrics[curves.PSNR]),
        ms_ssim=_rounded(curve.metrics[curves.MS_SSIM]),
        lpips=_rounded(curve.metrics[curves.LPIPS]),
        entropy=round(entropy, 3),
        used=used,
        tokens=tokens,
    )
    write_atomic(kept, json.dumps(asdict(run), indent=1).encode(), force=True)
    return run


def digest(base: Path, variant: str, seed: int) -> str:
    """Of a run's config."""
    return hashlib.sha256(config_text(base, VARIANTS[variant], seed).encode()).hexdigest()[:16]


def _rounded(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None else round(value, 5) for value in values)


def usage(model: Path, images: Sequence[Path]) -> tuple[float, int, int]:
    """Entropy of the tokens of some images in bits, different codes among them, and how many tokens there are."""
    tokens = [api.tokenize(Image.open(path).convert("RGB"), quality=USAGE_AT, model=model) for path in images]
    rows = np.concatenate([codes.reshape(-1, codes.shape[-1]) for found in tokens for codes in found.codes])
    _, counts = np.unique(rows, axis=0, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()), len(counts), len(rows)


def fixed_rates(model: Path, images: Sequence[Path]) -> list[float]:
    """Bits a pixel of every quality without a prior: tokens sent times the bits of one, a mean over the images."""
    loaded = api.load_model(model)
    sizes = [Image.open(path).size for path in images]
    rates = []
    for quality in DIAL:
        each = []
        for width, height in sizes:
            layout = TokenLayout(loaded.config, quality, (height, width))
            tokens = sum(layout.count(stage) for stage in range(layout.stages))
            each.append(tokens * loaded.networks.quantizer.bits / (width * height))
        rates.append(statistics.mean(each))
    return rates


def train_all(args: argparse.Namespace) -> list[Run]:
    """All runs, those of the first seed first, as many processes as cores. What was collected before is not run again,
    and what is new is added to it at once."""
    runs = collected(args.collect) if args.collect and args.collect.is_file() else []
    for run in runs:
        if run.variant in VARIANTS and run.config != digest(args.config, run.variant, run.seed):
            raise SystemExit(f"{args.collect}: {run.variant}, seed {run.seed} is of another config; collect elsewhere")
    known = {(run.variant, run.seed) for run in runs}
    order = {variant: place for place, variant in enumerate(VARIANTS)}
    wanted = [(variant, seed) for seed in args.seeds for variant in args.variants if (variant, seed) not in known]
    context = multiprocessing.get_context("spawn")
    start = (available_cores(), context.Value("i", 0), 1)
    with ProcessPoolExecutor(args.jobs, context, initializer=start_worker, initargs=start) as pool:
        futures = {pool.submit(run_of, variant, seed, args): (variant, seed) for variant, seed in wanted}
        for future in as_completed(futures):
            variant, seed = futures[future]
            try:
                run = future.result()
            except Exception as error:  # a run that diverges must not end the others
                print(f"{variant}, seed {seed}: {type(error).__name__}: {error}", flush=True)
                continue
            runs.append(run)
            runs.sort(key=lambda run: (order.get(run.variant, len(order)), run.seed))
            if args.collect:
                text = json.dumps([asdict(run) for run in runs], indent=1)
                write_atomic(args.collect, (text + "\n").encode(), force=True)
            print(f"{variant}, seed {seed}: {run.bpp} bpp, {run.psnr} dB", flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = arguments(commands.add_parser("train"))
    making.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    making.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="NAME")
    making.add_argument("--lpips-weights", type=Path)
    making.add_argument("--jobs", type=int, default=len(available_cores()), help="processes of one thread each")
    making.add_argument("--collect", type=Path, help="file of runs: those in it are not run again")
    showing = commands.add_parser("show")
    showing.add_argument("collected", type=Path)
    showing.add_argument("--seeds", type=int, nargs="+", help="show runs of these seeds alone")
    for command in (making, showing):
        command.add_argument("--anchor", default="bsq-18")
        command.add_argument("--figure", type=Path, help="draw the BD-rates against the anchor, .png or .svg")
        command.add_argument("--curves", type=Path, help="draw the rate-distortion curves, means over the seeds")
        command.add_argument("--turned", action="store_true", help="BD-rates of the anchor against each other one")
        command.add_argument("--each", action="store_true", help="the BD-rates alone, with those of every seed")
        command.add_argument("--only", nargs="+", metavar="NAME", help="show these variants")
        command.add_argument("--format", choices=["text", "markdown"], default="text")
    args = parser.parse_args()
    if args.command == "show":
        runs = [run for run in collected(args.collected) if not args.seeds or run.seed in args.seeds]
    else:
        runs = train_all(args)
    if args.only:
        runs = [run for run in runs if run.variant in {*args.only, args.anchor}]
    show(runs, args.anchor, args.turned, args.format, args.each)
    if args.curves:
        plot.draw(mean_curves(runs), args.curves)
    if args.figure:
        draw(runs, args.anchor, args.figure)


if __name__ == "__main__":
    main()
