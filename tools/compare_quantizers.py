"""The controlled comparison: the same network, data, steps and seeds with every quantizer in its place.

    python tools/compare_quantizers.py train KODAK --data photos/ --out runs/family --collect docs/quantizers.json
    python tools/compare_quantizers.py show docs/quantizers.json --anchor bsq-18

``train`` changes one line of configs/twin.toml (the quantizer; two where its own entropy penalty is on), trains and
releases each model and measures it through real files, one process a core; each finished run is kept, so that the same
command goes on where it stopped. ``show`` prints what was collected: BD-rates with their 95 % intervals (Student's t
over pairs of the same seed), and how the tokens are used.
"""

import argparse
import json
import math
import multiprocessing
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leechcodec import codec
from leechcodec.files import write_atomic
from leechcodec.lab import bdrate, curves, plot
from leechcodec.lab.errors import require
from leechcodec.lab.limits import lined_up
from leechcodec.lab.measure import start_worker
from leechcodec.machine import available_cores
from leechcodec.training.settings import load_settings
from tools import quantizer_figure
from tools.twins import arguments, config_of, curve_of, trained

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
"""17 to 18 bits, or nearly: structured codes."""
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
"""One symbol of 4,096, and rounding in as many dimensions."""
VARIANTS = LARGE | SMALL
DIAL = (5.0, 25.0, 45.0, 65.0, 85.0)
USAGE_AT = 60.0
"""The quality at which tokens are counted."""


@dataclass(frozen=True)
class Run:
    """What one trained model showed. Lists run over the dial.

    fixed_bpp: tokens sent times log2 of the codebook's size, without a prior; None for an unbounded code. ms_ssim in
    dB. seconds_a_step: median, of one thread. entropy: of the tokens' distribution, all stages together, in bits, from
    counts: with few images an underestimate. used: different codes among so many tokens.
    """

    variant: str
    seed: int
    quantizer: str
    bits: float
    steps: int
    seconds_a_step: float
    quality: tuple[float, ...]
    bpp: tuple[float, ...]
    fixed_bpp: tuple[float, ...] | None
    psnr: tuple[float, ...]
    ms_ssim: tuple[float, ...]
    lpips: tuple[float | None, ...]
    entropy: float
    used: int
    tokens: int

    def curve(self) -> curves.Curve:
        metrics = {curves.PSNR: self.psnr, curves.MS_SSIM: self.ms_ssim, curves.LPIPS: self.lpips}
        return curves.Curve(self.variant, self.variant, False, self.bpp, metrics)


def run_of(variant: str, seed: int, args: argparse.Namespace) -> Run:
    """Train, release and measure one model, or read what is there."""
    folder = args.out / f"{variant.replace(' + ', '-')}-{seed}"
    kept = folder / "run.json"
    if kept.is_file():
        return read_run(json.loads(kept.read_text()))
    config_path = config_of(args.config, VARIANTS[variant], seed, folder / "config.toml")
    model = trained(folder, config_path, args.data, threads=1)
    curve = curve_of(folder, model, args.images, DIAL, args.lpips_weights)
    quantizer = codec.load_model(model).networks.quantizer
    entropy, used, tokens = usage(model, sorted(args.images.glob("*.png")))
    run = Run(
        variant=variant,
        seed=seed,
        quantizer=quantizer.name,
        bits=round(quantizer.bits, 4),
        steps=load_settings(config_path)[1].steps,
        seconds_a_step=seconds_a_step(folder / "log.jsonl"),
        quality=DIAL,
        bpp=_rounded(curve.bpp),
        fixed_bpp=None if math.log2(quantizer.size) > 63 else _rounded(fixed_rates(model, args.images)),
        psnr=_rounded(curve.metrics[curves.PSNR]),
        ms_ssim=_rounded(curve.metrics[curves.MS_SSIM]),
        lpips=_rounded(curve.metrics[curves.LPIPS]),
        entropy=round(entropy, 3),
        used=used,
        tokens=tokens,
    )
    kept.write_text(json.dumps(asdict(run), indent=1))
    return run


def _rounded(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None else round(value, 5) for value in values)


def read_run(values: dict) -> Run:
    return Run(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def usage(model: Path, images: Sequence[Path]) -> tuple[float, int, int]:
    """Entropy of the tokens of some images in bits, different codes among them, and how many tokens there are."""
    tokens = [codec.tokenize(Image.open(path).convert("RGB"), quality=USAGE_AT, model=model) for path in images]
    rows = np.concatenate([codes.reshape(-1, codes.shape[-1]) for found in tokens for codes in found.codes])
    _, counts = np.unique(rows, axis=0, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()), len(counts), len(rows)


def fixed_rates(model: Path, folder: Path) -> list[float]:
    """Bits a pixel of every quality without a prior: tokens sent times the bits of one, a mean over the images."""
    loaded = codec.load_model(model)
    sizes = [Image.open(path).size for path in sorted(folder.glob("*.png"))]
    rates = []
    for quality in DIAL:
        scales = loaded.config.stage_scales[: loaded.config.stages_sent(quality)]
        each = []
        for width, height in sizes:
            padded = [(side + 63) // 64 * 64 for side in (width, height)]
            tokens = sum((padded[0] >> 6 - scale) * (padded[1] >> 6 - scale) for scale in scales)
            each.append(tokens * loaded.networks.quantizer.bits / (width * height))
        rates.append(statistics.mean(each))
    return rates


def seconds_a_step(log: Path) -> float:
    """Median over the intervals of the log, which a moment of other work does not move."""
    rows = [row for row in map(json.loads, log.read_text().splitlines()) if "seconds" in row]
    paces = [
        (b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in zip(rows, rows[1:]) if b["step"] > a["step"]
    ]
    return round(statistics.median(paces), 3) if paces else math.nan


def train_all(args: argparse.Namespace) -> list[Run]:
    """All runs, those of the first seed first, as many processes as cores. What was collected before is not run again,
    and what is new is added to it at once."""
    runs = collected(args.collect) if args.collect and args.collect.is_file() else []
    known = {(run.variant, run.seed) for run in runs}
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
            runs.sort(key=lambda run: (list(VARIANTS).index(run.variant), run.seed))
            if args.collect:
                text = json.dumps([asdict(run) for run in runs], indent=1)
                write_atomic(args.collect, (text + "\n").encode(), force=True)
            print(f"{variant}, seed {seed}: {run.bpp} bpp, {run.psnr} dB", flush=True)
    return runs


def collected(path: Path) -> list[Run]:
    return [read_run(values) for values in json.loads(path.read_text())]


# --- what was found --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """Mean over the seeds, sample standard deviation, and half width of the 95 % interval; None with one seed."""

    mean: float
    deviation: float | None
    half: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:+.1f} %" + ("" if self.half is None else f" ± {self.half:.1f}")


def interval(values: Sequence[float]) -> Interval | None:
    """Student's t; None without a value."""
    if not values:
        return None
    if len(values) == 1:
        return Interval(values[0], None, None, 1)
    deviation = statistics.stdev(values)
    quantile = float(require("scipy.stats").t.ppf(0.975, len(values) - 1))
    return Interval(statistics.mean(values), deviation, quantile * deviation / len(values) ** 0.5, len(values))


def rates_against(anchor: Sequence[Run], runs: Sequence[Run], metric: str) -> list[float]:
    """BD-rates of some runs against the anchor's of the same seeds, those that exist."""
    anchors = {run.seed: run.curve() for run in anchor}
    rates = [bdrate.bd_rate(anchors[run.seed], run.curve(), metric).rate for run in runs if run.seed in anchors]
    return [rate for rate in rates if rate is not None and math.isfinite(rate)]


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    return {name: [run for run in runs if run.variant == name] for name in dict.fromkeys(run.variant for run in runs)}


HEADER = (
    "quantizer", "bits", "BD-rate: PSNR", "MS-SSIM", "LPIPS", "bpp", "fixed-length", "PSNR", "entropy", "in use",
    "s a step", "seeds",
)  # fmt: skip


def table(runs: Sequence[Run], anchor: str, turned: bool = False) -> list[tuple[str, ...]]:
    """A row a variant: its BD-rates against the anchor; turned, the anchor's against it. bpp, fixed-length bpp and PSNR
    at the middle of the dial; tokens at quality 60."""
    groups = grouped(runs)
    middle = len(DIAL) // 2
    rows = []
    for name, group in groups.items():
        pair = (group, groups[anchor]) if turned else (groups[anchor], group)
        found = [interval(rates_against(*pair, metric)) for metric in curves.METRICS]
        fixed = group[0].fixed_bpp
        used = statistics.mean(run.used for run in group)
        rows.append(
            (
                name,
                f"{group[0].bits:.2f}" if fixed else "–",
                *("" if name == anchor else str(rate or "–") for rate in found),
                _mean([run.bpp[middle] for run in group], ".3f"),
                f"{fixed[middle]:.3f}" if fixed else "–",
                _mean([run.psnr[middle] for run in group], ".2f"),
                _mean([run.entropy for run in group], ".2f"),
                f"{used:,.0f}" + (f" ({100 * used / 2 ** group[0].bits:.2g} %)" if fixed else ""),
                _mean([run.seconds_a_step for run in group], ".2f"),
                str(len(group)),
            )
        )
    return rows


def _mean(values: Sequence[float], form: str) -> str:
    return f"{statistics.mean(values):{form}}"


def show(runs: Sequence[Run], anchor: str, turned: bool, form: str) -> None:
    if anchor not in {run.variant for run in runs}:
        raise SystemExit(f"no run of {anchor!r}: {', '.join(sorted({run.variant for run in runs}))}")
    what = f"of {anchor} against each" if turned else f"against {anchor}"
    print(f"BD-rates {what}, a pair a seed, with 95 % intervals; {runs[0].steps} steps\n")
    print(lined_up(HEADER, table(runs, anchor, turned), form))


def mean_curves(runs: Sequence[Run]) -> list[curves.Curve]:
    """A curve a variant: the mean of every point over its seeds."""

    def mean(columns: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
        return tuple(None if None in point else statistics.mean(point) for point in zip(*columns))

    found = []
    for name, group in grouped(runs).items():
        each = [run.curve() for run in group]
        metrics = {metric: mean([curve.metrics[metric] for curve in each]) for metric in curves.METRICS}
        found.append(curves.Curve(name, name, False, mean([curve.bpp for curve in each]), metrics))
    return found


def draw(runs: Sequence[Run], anchor: str, target: Path) -> None:
    groups = grouped(runs)
    rates = {
        metric: {name: rates_against(groups[anchor], group, metric) for name, group in groups.items() if name != anchor}
        for metric in curves.METRICS
    }
    halves = {
        metric: {name: found.half for name, values in row.items() if (found := interval(values))}
        for metric, row in rates.items()
    }
    quantizer_figure.draw(rates, halves, anchor, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = arguments(commands.add_parser("train"))
    making.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    making.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="NAME")
    making.add_argument("--lpips-weights", type=Path)
    making.add_argument("--jobs", type=int, default=len(available_cores()), help="processes of one thread each")
    making.add_argument("--collect", type=Path, help="file of runs: those in it are not run again")
    showing = commands.add_parser("show")
    showing.add_argument("collected", type=Path)
    for command in (making, showing):
        command.add_argument("--anchor", default="bsq-18")
        command.add_argument("--figure", type=Path, help="draw the BD-rates, .png or .svg")
        command.add_argument("--curves", type=Path, help="draw the rate-distortion curves, means over the seeds")
        command.add_argument("--turned", action="store_true", help="BD-rates of the anchor against each other one")
        command.add_argument("--only", nargs="+", metavar="NAME", help="show these variants")
        command.add_argument("--format", choices=["text", "markdown"], default="text")
    args = parser.parse_args()
    if args.command == "show":
        runs = collected(args.collected)
    else:
        runs = train_all(args)
    if args.only:
        runs = [run for run in runs if run.variant in args.only]
    show(runs, args.anchor, args.turned, args.format)
    if args.curves:
        plot.draw(mean_curves(runs), args.curves)
    if args.figure:
        draw(runs, args.anchor, args.figure)


if __name__ == "__main__":
    main()
