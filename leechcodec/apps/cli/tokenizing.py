"""tokenize and detokenize: images to files of integers and back; a folder to shards."""

import errno
import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leechcodec.apps.batch.names import PHOTOGRAPHS
from leechcodec.apps.cli.coding import DEFAULT_QUALITY, QUALITY
from leechcodec.apps.cli.group import note
from leechcodec.apps.cli.sampling import Size
from leechcodec.apps.cli.streams import (
    check_output,
    count_bar,
    progress_bar,
    read,
    readable_size,
    runtime_options,
    set_threads,
    split_format,
    target_of,
    tell_cache,
    tell_layer,
    warnings_told,
    write,
)
from leechcodec.apps.messages import about, naming
from leechcodec.errors import ConfigError

if TYPE_CHECKING:
    from leechcodec.codec.token_coding import Tokens

FORMATS = ("safetensors", "npz", "npy")


@click.command()
@click.argument("source", metavar="INPUT")
@click.option("-o", "--output", help="File of tokens, - for standard output; for a folder tokens-%06d.tar.")
@click.option("-q", "--quality", type=QUALITY, help="The dial, 1 to 100, decimals allowed.  [default: 50]")
@click.option("--effort", type=click.IntRange(1, 9), default=1, show_default=True, help="1 to 9: refine the tokens.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: from the name, else safetensors]")
@click.option("--model", help="Model name or folder.  [default: leech-open, or the file's]")
@click.option("--threads", type=click.IntRange(1), help="Threads an image.  [default: all cores; in shards 1]")
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing file.")
@click.option("-v", "--verbose", is_flag=True, help="Print what was written.")
@click.option("--recursive", is_flag=True, help="Shards: take the folder's subfolders too.")
@click.option("--shard-size", type=click.IntRange(1), help="Shards: images in each.  [default: 1000]")
@click.option("--jobs", type=click.IntRange(1), help="Shards: worker processes.  [default: one a core]")
@click.option("--ray", "by_ray", is_flag=True, help="Shards: by Ray, on this machine.")
@click.option("--ray-address", metavar="ADDRESS", help="Shards: by Ray, on the cluster at ADDRESS.")
@runtime_options
def tokenize(
    source, output, quality, effort, form, model, threads, force, verbose, recursive, shard_size, jobs, by_ray,
    ray_address,
) -> None:  # fmt: skip
    """Turn images into tokens: integers for a language model.

    INPUT is an image, an .lq file, - for standard input, or a folder. Tokens are numbers in the codebook, stages coarse
    to fine, in each the rows from the top. A .safetensors or .npz describes itself, a .npy holds the numbers alone.

    A folder becomes WebDataset shards. Run it again after an interruption: only what is missing is done. An image that
    fails is listed in tokens-failed.jsonl and tried again by the next run; the others are done.

    \b
    leechcodec tokenize photo.png                            photo.safetensors at quality 50
    leechcodec tokenize photo.png -q 80 -o photo.npy         the numbers alone
    leechcodec tokenize photo.lq -o npy:- | wc -c            the tokens of a file
    leechcodec tokenize photos/ -o tokens-%06d.tar           a folder, by one process a core
    leechcodec tokenize photos/ -o tokens-%06d.tar --ray     by Ray
    """
    sharding = {"--recursive": recursive, "--shard-size": shard_size, "--jobs": jobs, "--ray": by_ray}
    sharding["--ray-address"] = ray_address
    if Path(source).is_dir():
        if output is None or not output.endswith(".tar"):
            raise click.UsageError("a folder becomes shards: name them with -o, as in -o tokens-%06d.tar")
        if force:
            raise click.UsageError("shards are gone on with, never overwritten: delete them, or name others")
        _shards(
            Path(source), Path(output), quality=DEFAULT_QUALITY if quality is None else quality, effort=effort,
            form=form or "safetensors", model=model, threads=threads or 1, verbose=verbose, recursive=recursive,
            shard_size=shard_size, jobs=jobs, by_ray=by_ray, ray_address=ray_address,
        )  # fmt: skip
        return
    if source != "-" and not os.path.lexists(source):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
    if given := next((name for name, value in sharding.items() if value), None):
        raise click.UsageError(f"{given} is for a folder, and {source} is none")
    output, prefix = split_format(output)
    form = form or _format_of(prefix or (Path(output).suffix if output and not Path(output).is_dir() else ""))
    target = target_of(source, output, f".{form}", force)
    check_output(target)
    set_threads(threads)
    from leechcodec.codec import token_files

    with warnings_told():
        tokens = _tokens_of(source, quality, effort, model)
        with naming(source):
            data = token_files.serialize_tokens(tokens, form, model=model)
    write(target, data, force)
    if verbose:
        where = f"{source} -> {target or 'standard output'}"
        click.echo(f"{where}: {_described(tokens)}, {readable_size(len(data))}", err=True)
        tell_cache()


def _described(tokens: "Tokens") -> str:
    count = sum(codes.shape[0] * codes.shape[1] for codes in tokens.codes)
    size = f"{tokens.width} x {tokens.height}, quality {tokens.quality:g}"
    return f"{size}, {count:,} tokens in {len(tokens.codes)} stages"


def _format_of(suffix: str) -> str:
    """The format that a name's ending names."""
    if suffix in ("", "."):
        return FORMATS[0]
    if (form := suffix.lower().removeprefix(".")) not in FORMATS:
        raise ConfigError(f"cannot write tokens of type {suffix!r}; use {', '.join('.' + known for known in FORMATS)}")
    return form


def _tokens_of(source: str, quality: float | None, effort: int, model: str | None) -> "Tokens":
    """Of an image, or of an .lq file, which has its own quality."""
    from leechcodec.codec import api
    from leechcodec.formats.container import MAGIC
    from leechcodec.formats.images import load_image
    from leechcodec.formats.side_data import flattened

    data = read(source)
    if data.startswith(MAGIC):
        if quality is not None or effort > 1:
            raise click.UsageError("an .lq file has its tokens; -q and --effort are for images")
        with naming(source):
            tokens = api.read_tokens(data, model=model)
        tell_layer(source, data)
        return tokens
    file = io.BytesIO(data)
    if source != "-":
        file.name = source
    with about(source):
        image = load_image(file)
    with naming(source), progress_bar("tokenizing", image.width * image.height) as progress:
        quality = DEFAULT_QUALITY if quality is None else quality
        return api.tokenize(flattened(image), quality=quality, effort=effort, model=model, progress=progress)


def _shards(
    folder, output, *, verbose, recursive, shard_size, jobs, by_ray, ray_address, form, model, **settings
) -> None:
    from leechcodec.apps.batch.drivers import Workers
    from leechcodec.apps.shards.plan import SHARD_SIZE, Plan, find_images
    from leechcodec.apps.shards.run import write_shards
    from leechcodec.apps.shards.worker import Settings, Worker

    workers = Workers(jobs, by_ray, ray_address)
    plan = Plan(folder, find_images(folder, PHOTOGRAPHS, recursive), output, shard_size or SHARD_SIZE)
    model = str(Path(model).resolve()) if model and Path(model).is_dir() else model
    settings = Settings(folder.resolve(), form=form, model=model, **settings)
    execute = workers.executor(partial(Worker, settings), settings.threads)
    with count_bar(len(plan.sources), "image") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        report = write_shards(plan, settings, execute, progress)
    if verbose:
        for path in report.written:
            click.echo(f"{path}: {readable_size(path.stat().st_size)}", err=True)
        click.echo(f"{report.done:,} tokenized, {report.present:,} were there before", err=True)
    for _, message in report.failed:
        note(message)
    if report.failed:
        note(f"{len(report.failed)} of {len(plan.sources)} images failed; {plan.failed} lists them")
        sys.exit(1)


@click.command()
@click.argument("source", metavar="FILE")
@click.option("-o", "--output", help="Image, or .lq file; - is standard output.  [default: FILE with .png]")
@click.option("--size", type=Size(), help="Width and height of a .npy's image, in pixels.")
@click.option("-q", "--quality", type=QUALITY, help="The dial of a .npy's image.")
@click.option("--model", help="Model name or folder.  [default: the file's; of a .npy leech-open]")
@click.option("--threads", type=click.IntRange(1), help="Threads to compute with.  [default: all cores]")
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing output.")
@runtime_options
def detokenize(source, output, size, quality, model, threads, force) -> None:
    """Turn tokens back into an image.

    FILE is what tokenize writes, or a language model in its place: .safetensors, .npz or .npy, - for standard input.

    \b
    leechcodec detokenize photo.safetensors -o back.png                  a picture
    leechcodec detokenize photo.safetensors -o back.jpg                  another format
    leechcodec detokenize photo.npy --size 768x512 -q 50 -o back.png     what a .npy does not hold
    leechcodec detokenize photo.safetensors -o back.lq                   the tokens as an .lq file
    """
    if (size is None) != (quality is None):
        raise click.UsageError("--size and -q go together")
    output, prefix = split_format(output)
    named = output not in (None, "-") and not Path(output).is_dir()
    suffix = (prefix or (Path(output).suffix if named and output else "") or ".png").lower()
    from leechcodec.formats.images import encode_image, image_format

    if suffix != ".lq":
        image_format(suffix)  # refused before the work
    target = target_of(source, output, suffix, force)
    check_output(target)
    set_threads(threads)
    from leechcodec.codec import api, token_files

    data = read(source)
    with warnings_told(), naming(source):
        tokens = token_files.deserialize_tokens(data, size=size, quality=quality, model=model)
        if suffix == ".lq":
            with progress_bar("encoding", tokens.width * tokens.height) as progress:
                made = api.write_tokens(tokens, model=model, progress=progress)
        else:
            made = encode_image(api.detokenize(tokens, model=model), suffix)
    write(target, made, force)
