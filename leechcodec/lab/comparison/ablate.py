"""What each part of the recipe gives: one config, one change a row, at equal steps and seed.

    python -m leechcodec.lab.comparison.ablate --data photos/ --out runs/ablation \\
        --vf-weights alexnet.safetensors --lpips-weights …

Trains configs/twin.toml (or --config) once as it is and once with each change, one run after the other, and prints a
Markdown table: score, bits per pixel, PSNR and MS-SSIM of the held-out crops at the last step (training/validation.py,
means over its four qualities) and seconds per step (the median over stretches of 50 steps, from the run's log). Each
finished row is kept: run again, it goes on where it stopped. A row whose weights are not given is left out, by name.
--cores pins the process, so that rows trained beside other work are comparable in time.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

from leechcodec.lab.comparison.twins import config_of, log_of, seconds_a_step
from leechcodec.training.loop import train
from leechcodec.training.settings import load_settings

ROWS = {
    "as it is": {},
    "dion, full rank": {"optimizer": "dion"},
    "dion, rank 1/4": {"optimizer": "dion", "dion_rank": 0.25},
    "dion, rank 1/4, twice the rate": {"optimizer": "dion", "dion_rank": 0.25, "muon_lr": 0.004},
    "Z-loss": {"z_loss": 1e-4},
    "sphere": {"quantizer": "leech"},
    "sphere, Z-loss": {"quantizer": "leech", "z_loss": 1e-4},
    "sphere, Z-loss, a fifth": {"quantizer": "leech", "z_loss": 2e-5},
    "VF alignment": {"vf_weight": 0.1},
    "MS-SSIM": {"similarity": 0.2},
    "SSIMULACRA2": {"ssimulacra2": 0.2},
    "MAE": {"mae": 0.5},
    "LPIPS": {"lpips": 0.2},
    "MAE + LPIPS + GAN": {"mae": 0.5, "lpips": 0.5, "adversarial": 0.02},
    "commitment": {"commitment": 8.0},
    "contest": {"contest": 4.0},
}
"""Name -> what it changes. The sphere's Z-loss has a row without it to be compared with, and at a fifth
it is nearer to PaLM's balance; Dion's update at a quarter of the rank is half as long (docs/experiments.md)."""
WEIGHTS = {"lpips": "lpips_weights", "vf_weight": "vf_weights"}
"""Settings that need a file, and the option that names it."""


def slug(name: str) -> str:
    """A row's folder."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def result_of(run: Path, steps: int) -> dict | None:
    """The validation at the last step, None where the run has not come there."""
    return next(
        (row["validation"] for row in reversed(log_of(run)) if row["step"] == steps and "validation" in row), None
    )


def line_of(name: str, run: Path, steps: int) -> str:
    """A row of the table."""
    found, seconds = result_of(run, steps), seconds_a_step(run)
    if found is None:
        raise ValueError(f"{run}: no validation at step {steps}: the data must have images of 256 x 256 to hold out")
    bpp, psnr, alike = (
        statistics.mean(point[key] for point in found["points"]) for key in ("bpp", "psnr", "ms_ssim_db")
    )
    time = "–" if seconds is None else f"{seconds:.2f} s"
    return f"| {name} | {steps} | {found['score']:.4f} | {bpp:.4f} | {psnr:.2f} dB | {alike:.2f} dB | {time} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/twin.toml"))
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=", ".join(ROWS)
    )
    parser.add_argument("--steps", type=int, help="instead of the config's number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cores", type=int, nargs="+", help="CPU cores to stay on; as many threads, unless --threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lpips-weights", type=Path)
    parser.add_argument("--vf-weights", type=Path)
    args = parser.parse_args()
    if args.cores:
        os.sched_setaffinity(0, args.cores)
    threads = args.threads or (len(args.cores) if args.cores else None)
    steps = args.steps or load_settings(args.config)[1].steps
    lines = []
    for name in args.rows:
        if missing := [option for key, option in WEIGHTS.items() if key in ROWS[name] and not getattr(args, option)]:
            print(f"{name}: left out, needs --{missing[0].replace('_', '-')}", file=sys.stderr)
            continue
        run = args.out / f"{slug(name)}-{args.seed}"
        config = config_of(args.config, ROWS[name] | {"steps": steps}, args.seed, run / "config.toml")
        if result_of(run, steps) is None:
            resume = (run / "checkpoint.safetensors").is_file()
            weights = {option: getattr(args, option) for option in WEIGHTS.values()}
            train(config, args.data, run, resume=resume, threads=threads, device=args.device, **weights)
        lines.append(line_of(name, run, steps))
        print(lines[-1], flush=True)
    print("\n| change | steps | score | bpp | PSNR | MS-SSIM | s/step |\n|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
