"""``leechcodec release``: from a training run to a model that others can name."""

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the model.")
@click.option("-f", "--force", is_flag=True, help="Write over a model that is there.")
@click.option(
    "--units",
    type=click.FloatRange(1, 1000),
    nargs=3,
    metavar="ANALYSIS SYNTHESIS PRIOR",
    help="Round matrices to 6 to 10 bits: units in a row's root mean square, by part; 24 80 20, say.  [default: exact]",
)
def release(run, output, force, units) -> None:
    """Write the model that RUN trained: config.json and weights.safetensors.

    RUN is the folder of leechcodec train --out, or a checkpoint in it. The averaged weights are taken. The model's
    card.md is written by hand.
    """
    from leechcodec.errors import ModelError
    from leechcodec.training.packed import UNITS
    from leechcodec.training.release import release as write

    if not force and (output / "weights.safetensors").exists():
        raise ModelError(f"{output}: there is a model already; --force writes over it")
    made = write(run, output, None if units is None else dict(zip(UNITS, units, strict=True)))
    trained = "" if made.step is None or made.seconds is None else f"step {made.step}, {made.seconds / 3600:.2f} h, "
    apart = "" if made.apart is None else f", torch and ONNX Runtime {made.apart} levels apart at most"
    click.echo(
        f"{output}: {trained}{made.size / 2**20:.1f} MiB, token model {made.model.token_model.hex()}, "
        f"synthesis {made.model.synthesis.hex()}{apart}"
    )
