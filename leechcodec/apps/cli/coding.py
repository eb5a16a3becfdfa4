"""encode and decode: one file, or many."""

import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click

from leechcodec.apps.cli import batch
from leechcodec.apps.cli.batch import Job
from leechcodec.apps.cli.group import note
from leechcodec.apps.cli.streams import (
    about,
    check_output,
    keep_stamps,
    names_folder,
    naming,
    progress_bar,
    read,
    readable_size,
    runtime_option,
    set_threads,
    split_format,
    target_of,
    tell_cache,
    warnings_told,
    write,
)
from leechcodec.config import header_quality

QUALITY = click.FloatRange(1, 100)
POSITIVE = click.FloatRange(0, min_open=True)
DEFAULT_QUALITY = 50.0
POOR = 18.0
"""dB; with a tenth of the quality what photographs hardly ever stay below."""
DAMAGED = 3
"""Exit status of decode --partial where something is missing."""


@dataclass(frozen=True)
class Done:
    """What became of a file. bytes: of the .lq file, whichever way. seconds: of the work, reading and writing left
    out. effort, psnr: of a file that was made; psnr in dB, of its colours. remarks: lines for the user. missing: what a
    damaged file no longer holds."""

    input: str
    output: str
    width: int
    height: int
    bytes: int
    bpp: float
    quality: float
    seconds: float
    effort: int | None = None
    psnr: float | None = None
    remarks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def line(self) -> str:
        effort = f"effort {self.effort}, " if self.effort else ""
        return (
            f"{self.input} -> {self.output}: {self.width} x {self.height}, {readable_size(self.bytes)}, "
            f"{self.bpp:.4f} bpp, quality {self.quality:g}, {effort}{self.seconds:.2f} s"
        )


def _shared_options(command: Callable) -> Callable:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file on standard output."),
        click.option("--quiet", is_flag=True, help="No warnings and remarks, only errors."),
        click.option("-v", "--verbose", is_flag=True, help="Print size, bits per pixel, quality and time of each."),
        click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs."),
        click.option("--skip-existing", is_flag=True, help="Leave existing outputs as they are, and do the others."),
        click.option("--keep-extension", is_flag=True, help="Name outputs photo.jpg.lq, not photo.lq."),
        click.option("--jobs", type=click.IntRange(1), help="Files at a time.  [default: one a core]"),
        runtime_option,
        click.option("--threads", type=click.IntRange(1), help="Threads a file.  [default: the cores' share]"),
        click.option("--model", help="Model name or folder.  [default: leech-vbr]"),
        click.option("--recursive", is_flag=True, help="Take folders' subfolders too."),
        click.option("-o", "--output", help="Output file, - for standard output, or a folder.  [default: beside each]"),
        click.argument("sources", metavar="INPUT...", nargs=-1, required=True),
    ):
        command = option(command)
    return command


@click.command()
@_shared_options
@click.option(
    "-q",
    "--quality",
    type=QUALITY,
    help="The dial, 1 to 100, decimals allowed; above 90 of any picture.  [default: 50]",
)
@click.option("--bpp", type=POSITIVE, help="The best file of at most so many bits per pixel.")
@click.option("--target-size", type=click.IntRange(1), help="The best file of at most so many bytes.")
@click.option("--psnr", type=POSITIVE, help="The smallest file with at least this PSNR in dB.")
@click.option("--effort", type=click.IntRange(1, 9), default=1, show_default=True, help="1 to 9: refine the tokens.")
@click.option("--verify", is_flag=True, help="Decode the file again before it gets its name.")
@click.option("--strip", is_flag=True, help="Drop EXIF, XMP and the colour profile (colours become sRGB).")
def encode(
    sources, output, recursive, model, threads, jobs, quality, bpp, target_size, psnr, effort, verify, strip, **show
) -> None:
    """Compress images to .lq files.

    INPUT is an image, - for standard input, a folder, or a pattern. --bpp, --target-size and --psnr search the dial, in
    place of -q: five to ten times the work, two or three times with an effort. --effort above 1 refines the tokens for
    this image: a better picture in a file of the same size, in many times the time; decoding takes no longer. Several
    files share one model and all cores; what fails is told at the end, the rest is done. Time stamps are kept. Of
    photo.jpg and photo.png in one folder become photo.jpg.lq and photo.png.lq.

    \b
    leechcodec encode photo.png                      photo.lq at quality 50
    leechcodec encode -q 80 photo.png -o small.lq    another name, another quality
    leechcodec encode --target-size 20000 photo.png  the best in 20 kB
    leechcodec encode --effort 5 photo.png           better, slower
    leechcodec encode photos/ --recursive -o out/    a tree of folders
    """
    targets = {"size": target_size, "bpp": bpp, "psnr": psnr}
    if sum(value is not None for value in (quality, *targets.values())) > 1:
        raise click.UsageError("give at most one of -q, --bpp, --target-size and --psnr")
    if output and batch.is_single(sources) and Path(output).suffix.lower() in batch.PHOTOGRAPHS:
        raise click.UsageError(f"{output}: encode writes .lq files")
    work = partial(
        encode_file,
        quality=DEFAULT_QUALITY if quality is None else header_quality(quality),
        targets=targets if any(value is not None for value in targets.values()) else None,
        options={"effort": effort, "metadata": not strip, "verify": verify, "model": model},
        force=show["force"],
        judged=not show["quiet"] and not (model and Path(model).is_dir()),
        measure=show["as_json"],
    )
    _run(work, sources, output, ".lq", batch.PHOTOGRAPHS, recursive, model, threads, jobs, **show)


@click.command()
@_shared_options
@click.option("--format", "form", help="Format of the outputs: png, jpg, webp, …  [default: from the name, else png]")
@click.option("--partial", "partly", is_flag=True, help="Show what a damaged file still holds; then exit with 3.")
@click.option("--strip", is_flag=True, help="Leave out EXIF, XMP and the colour profile (colours become sRGB).")
def decode(sources, output, recursive, model, threads, jobs, form, partly, strip, **show) -> None:
    """Decompress .lq files to images.

    INPUT is an .lq file, - for standard input, a folder, or a pattern.

    \b
    leechcodec decode photo.lq                  photo.png
    leechcodec decode photo.lq -o photo.jpg     another format (jpg, webp and avif at their quality of 95)
    leechcodec decode photo.lq -o png:- | feh - standard output
    leechcodec decode photos/ -o out/           every .lq file of a folder
    """
    output, prefix = split_format(output)
    suffix = prefix or (f".{form.lstrip('.').lower()}" if form else ".png")
    named = output not in (None, "-") and not Path(output).is_dir() and not names_folder(output)
    from leechcodec.formats.files import is_stream
    from leechcodec.formats.images import image_format

    if named and output and batch.is_single(sources) and not (form or prefix):
        suffix = Path(output).suffix or (suffix if is_stream(output) else "")
    image_format(suffix)  # refused before the work
    work = partial(decode_file, suffix=suffix, model=model, partly=partly, strip=strip, force=show["force"])
    _run(work, sources, output, suffix, frozenset({".lq"}), recursive, model, threads, jobs, **show)


class _Report:
    """Tells what the user asked to be told of each file that is done, and remembers whether one was damaged."""

    def __init__(self, *, quiet: bool, verbose: bool, as_json: bool) -> None:
        self.quiet, self.verbose, self.as_json = quiet, verbose, as_json
        self.damaged = False

    def __call__(self, job: Job, done: Done) -> None:
        for remark in () if self.quiet else done.remarks:
            note(remark if not job.batch else f"{job.source}: {remark}")
        if done.missing:
            self.damaged = True
            note(f"{job.source}: missing: {'; '.join(done.missing)}")
        if self.as_json:
            facts = asdict(done)
            click.echo(json.dumps({key: value for key, value in facts.items() if value not in ((), None)}))
        elif self.verbose:
            click.echo(done.line(), err=True)


def _run(
    work, sources, output, suffix, taken, recursive, model, threads, jobs,
    *, force, skip_existing, keep_extension, verbose, quiet, as_json,
) -> None:  # fmt: skip
    """One file with a bar of its own, or many through the pool; then what the user asked to be told."""
    output, _ = split_format(output)
    if force and skip_existing:
        raise click.UsageError("--skip-existing or -f, not both")
    finished = _Report(quiet=quiet, verbose=verbose, as_json=as_json)

    def there(target: Path | None) -> bool:
        found = skip_existing and target is not None and os.path.lexists(target) and not is_stream(target)
        if found and verbose:
            click.echo(f"{target}: is there", err=True)
        return found

    from leechcodec.formats.files import is_stream

    if batch.is_single(sources):
        (source,) = sources
        named = source if not keep_extension or source == "-" else f"{source}.x"
        target = target_of(source, output, suffix, force or skip_existing, named)
        if there(target):
            return
        job = Job(source, target)
        if job.target is None and as_json:
            raise click.UsageError("--json and the file cannot both go to standard output")
        check_output(job.target)
        set_threads(threads)
        with warnings_told(quiet), about(source):
            done = work(job)
            keep_stamps(source, job.target)
            finished(job, done)
        failed = 0
    else:
        todo = batch.plan(sources, output, suffix, taken, recursive, keep_extension)
        todo = [job for job in todo if not there(job.target)]
        if not todo:
            return
        from leechcodec.codec.model_store import load_model

        if suffix == ".lq":
            load_model(model)  # once, and one error where there is none
        with warnings_told(quiet):
            failed = batch.run(todo, work, finished, force=force, workers=jobs, threads=threads)
    if verbose:
        tell_cache()
    if failed:
        sys.exit(1)
    if finished.damaged:
        sys.exit(DAMAGED)


def encode_file(
    job: Job,
    *,
    quality: float,
    targets: dict | None,
    options: dict,
    force: bool,
    judged: bool = False,
    measure: bool = False,
) -> Done:
    """Compress a job's file; options and targets are those of api.compress and compress_to. judged: warn of a poor
    result. (Of an installed model: one that is being trained is no measure.) measure: tell the PSNR."""
    from leechcodec.codec import api
    from leechcodec.formats.images import load_image

    image = load_image(io.BytesIO(read(job.source)) if job.source == "-" else job.source)
    started, remarks, psnr = time.perf_counter(), (), []
    measured = psnr.append if judged or measure else None
    bar = nullcontext() if job.batch else progress_bar("encoding", image.width * image.height)
    with naming(job.source), bar as progress:
        if targets:
            data, found = api.compress_to(image, **targets, **options, progress=progress, measured=measured)
            quality = found.quality
            if not found.close:
                reached = f"{found.value:.2f} dB" if targets["psnr"] else f"{found.value:,} bytes"
                remarks = (f"nearest to the target: {reached} at quality {found.quality:g}",)
        else:
            data = api.compress(image, quality=quality, **options, progress=progress, measured=measured)
    seconds = time.perf_counter() - started
    write(job.target, data, force)
    if judged and psnr[-1] < POOR + quality / 10:
        warnings.warn(
            f"{psnr[-1]:.1f} dB is poor for quality {quality:g}: this picture is unlike photographs; a quality above "
            f"90 keeps more of it, PNG or lossless WebP all",
            stacklevel=1,
        )
    decibels = round(psnr[-1], 3) if psnr else None
    return _done(
        job,
        image.width,
        image.height,
        len(data),
        quality,
        seconds,
        effort=options["effort"],
        psnr=decibels,
        remarks=remarks,
    )


def decode_file(job: Job, *, suffix: str, model: str | None, partly: bool, force: bool, strip: bool = False) -> Done:
    """Decompress a job's file to an image of the format that suffix names."""
    from leechcodec.codec.dial import dial_quality
    from leechcodec.formats.container import read_header, salvage

    data = read(job.source)
    with naming(job.source):
        header, _ = read_header(data)
    from leechcodec.codec import api
    from leechcodec.formats.writing import encode_image, stripped

    started, missing = time.perf_counter(), []
    bar = nullcontext() if job.batch else progress_bar("decoding", header.width * header.height)
    with naming(job.source), bar as progress:
        if partly:
            image, missing = api.decompress_partial(data, model=model)
        else:
            image = api.decompress(data, model=model, progress=progress)
    seconds = time.perf_counter() - started
    with naming(job.source):
        made = encode_image(stripped(image) if strip else image, suffix)
    write(job.target, made, force)
    quality = dial_quality(header, salvage(data)[1])
    return _done(job, image.width, image.height, len(data), quality, seconds, missing=tuple(missing))


def _done(job: Job, width: int, height: int, size: int, quality: float, seconds: float, **more) -> Done:
    output = "standard output" if job.target is None else str(job.target)
    bpp = round(8 * size / (width * height), 5)
    return Done(job.source, output, width, height, size, bpp, quality, round(seconds, 4), **more)
