"""The command line: paths and messages only. Whatever computes is imported by the command that needs it."""

from dataclasses import replace
from pathlib import Path

import click

from leechcodec import __version__
from leechcodec.apps.cli.coding import decode, encode
from leechcodec.apps.cli.group import Commands
from leechcodec.apps.cli.inspecting import bench, completion, info, models
from leechcodec.apps.cli.releasing import release
from leechcodec.apps.cli.sampling import sample
from leechcodec.apps.cli.serving import serve
from leechcodec.apps.cli.tokenizing import detokenize, tokenize
from leechcodec.apps.cli.viewing import view


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leechcodec")
def main() -> None:
    """A neural image codec: photographs to small .lq files and back, the same on every machine.

    \b
    leechcodec encode photo.png               writes photo.lq
    leechcodec decode photo.lq                writes photo.png
    leechcodec encode photos/ -o small/       a folder of photographs
    leechcodec encode -q 80 - -o - < in.png   standard input to standard output
    """


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), multiple=True, required=True, help="Folder or .tar of images.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for checkpoint and log.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from this checkpoint, or model folder.")
@click.option("--steps", type=click.IntRange(1), help="Train for so many steps instead of the config's number.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 1e6, min_open=True),
    help="Train for so long in all, whatever the number of steps; the rates fall by the clock.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--lpips-weights", type=click.Path(path_type=Path), help="AlexNet, for [perceptual] or lpips.")
@click.option("--vf-weights", type=click.Path(path_type=Path), help="AlexNet, for a config with vf_weight.")
@click.option("--watch", is_flag=True, help="Train on images that arrive in a folder of --data, too.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, …")
def train(config, data, out, resume, init, steps, minutes, threads, lpips_weights, vf_weights, watch, device) -> None:
    """Train what CONFIG (TOML) describes, resumable at any step.

    \b
    [model] and [training]   a model; on several devices through torchrun
    [prior]                  a model's prior alone, on whole pictures
    [perceptual]             a second decoder for a model's files
    """
    from leechcodec.training.loop import train as run
    from leechcodec.training.perceptual import load_perceptual, train_perceptual
    from leechcodec.training.prior_only import load_prior_config, train_prior

    if minutes and steps:
        raise click.UsageError("--steps or --minutes, not both")
    if resume and init:
        raise click.UsageError("--resume or --init, not both")
    if (prior := load_prior_config(config)) is not None:
        if init or lpips_weights or vf_weights or watch or device != "cpu":
            raise click.UsageError("a config with [prior] takes --data, --out, --resume, --steps, --minutes, --threads")
        train_prior(prior, data, out, resume=resume, steps=steps, minutes=minutes, threads=threads)
        return
    perceptual = load_perceptual(config)
    if perceptual is None:
        options = {"init": init, "lpips_weights": lpips_weights, "vf_weights": vf_weights, "watch": watch}
        run(config, data, out, resume=resume, steps=steps, minutes=minutes, threads=threads, device=device, **options)
        return
    if init or minutes or vf_weights or watch or lpips_weights is None:
        raise click.UsageError("[perceptual] needs --lpips-weights, not --init, --minutes, --vf-weights or --watch")
    if steps:
        perceptual = replace(perceptual, steps=steps)
    train_perceptual(perceptual, data, out, lpips_weights, resume=resume, threads=threads, device=device)


for command in (encode, decode, info, view, serve, sample, tokenize, detokenize, models, bench, completion):
    main.add_command(command)
for command in (train, release):
    main.add_command(command)
