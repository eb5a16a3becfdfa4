"""encode and decode: one file, or many."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from leechcodec.apps.batch.coding import Decoding, Done, Encoding
from leechcodec.apps.batch.names import PHOTOGRAPHS, Names, Single, is_one_by_url, is_shards, is_single
from leechcodec.apps.cli.group import note
from leechcodec.apps.cli.streams import (
    check_output,
    count_bar,
    names_folder,
    progress_bar,
    read,
    readable_size,
    runtime_options,
    set_stamps,
    set_threads,
    split_format,
    stamps_of,
    target_of,
    tell_cache,
    tell_warning,
    warnings_told,
    write,
)
from leechcodec.apps.messages import about
from leechcodec.config import check_quality, header_quality
from leechcodec.formats.storage import is_newer, is_url

QUALITY = click.FloatRange(1, 100)
POSITIVE = click.FloatRange(0, min_open=True)
DEFAULT_QUALITY = 50.0
DAMAGED = 3
"""Exit status of decode --partial where something is missing."""


def _shared_options(command: Callable) -> Callable:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file on standard output."),
        click.option("--quiet", is_flag=True, help="No warnings and remarks, only errors."),
        click.option("-v", "--verbose", is_flag=True, help="Print size, bits per pixel, quality and time of each."),
        click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs."),
        click.option("--skip-existing", is_flag=True, help="Leave outputs no older than their inputs."),
        click.option("--keep-extension", is_flag=True, help="Name outputs photo.jpg.lq, not photo.lq."),
        click.option("--manifest", metavar="FILE", help="Many: a line of JSON for each, or FILE.parquet."),
        click.option("--jobs", type=click.IntRange(1), help="Many: by so many processes.  [default: threads]"),
        click.option("--ray", is_flag=True, help="Many: by Ray, on this machine."),
        click.option("--ray-address", metavar="ADDRESS", help="Many: by Ray, on the cluster at ADDRESS."),
        runtime_options,
        click.option(
            "--threads", type=click.IntRange(1), help="Threads a file.  [default: its share of cores; by processes 1]"
        ),
        click.option("--model", help="Model name or folder.  [default: leech-open]"),
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
@click.option(
    "--effort", type=click.IntRange(1, 9), help="1 to 9: refine the tokens.  [default: 1; 9 with --max-seconds]"
)
@click.option("--max-seconds", type=POSITIVE, help="Refine for as long as a file may take, about.")
@click.option("--verify", is_flag=True, help="Decode the file again before it gets its name.")
@click.option("--strip", is_flag=True, help="Drop EXIF, XMP and the colour profile (colours become sRGB).")
def encode(
    sources, output, model, threads, quality, bpp, target_size, psnr, effort, max_seconds, verify, strip, **more
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
    leechcodec encode --max-seconds 10 photo.png     as good as ten seconds make it
    leechcodec encode photos/ --recursive -o out/    a tree of folders
    """
    targets = {"size": target_size, "bpp": bpp, "psnr": psnr}
    if sum(value is not None for value in (quality, *targets.values())) > 1:
        raise click.UsageError("give at most one of -q, --bpp, --target-size and --psnr")
    if max_seconds and any(value is not None for value in targets.values()):
        raise click.UsageError("--max-seconds goes with -q, not with a target")
    named = split_format(output)[1] or Path(output or "").suffix.lower()
    if named in PHOTOGRAPHS and (is_single(sources) or is_one_by_url(sources, output)):
        raise click.UsageError(f"{output}: encode writes .lq files")
    if quality is not None:
        check_quality(quality)  # click lets nan pass
    show, many = _sorted_out(more)
    coding = Encoding(
        quality=DEFAULT_QUALITY if quality is None else header_quality(quality),
        targets=targets if any(value is not None for value in targets.values()) else None,
        effort=effort or (9 if max_seconds else 1),
        max_seconds=max_seconds,
        metadata=not strip,
        verify=verify,
        model=_absolute(model),
        judged=not show["quiet"] and not (model and Path(model).is_dir()),
        measure=show["as_json"] or bool(many["manifest"]),
    )
    _run(coding, sources, output, PHOTOGRAPHS, ".lq", threads=threads, show=show, many=many)


@click.command()
@_shared_options
@click.option("--format", "form", help="Format of the outputs: png, jpg, webp, …  [default: from the name, else png]")
@click.option("--partial", "partly", is_flag=True, help="Show what a damaged file still holds; then exit with 3.")
@click.option("--strip", is_flag=True, help="Leave out EXIF, XMP and the colour profile (colours become sRGB).")
def decode(sources, output, model, threads, form, partly, strip, **more) -> None:
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

    if named and output and not (form or prefix or is_shards(output)):
        if is_one_by_url(sources, output):
            suffix = Path(output).suffix
        elif is_single(sources) and not is_url(output):
            suffix = Path(output).suffix or (suffix if is_stream(output) else "")
    image_format(suffix)  # refused before the work
    show, many = _sorted_out(more)
    coding = Decoding(suffix, model=_absolute(model), partly=partly, strip=strip)
    _run(coding, sources, output, frozenset({".lq"}), suffix, threads=threads, show=show, many=many)


def _sorted_out(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of what is told and kept, and those of many files."""
    many = {name: options.pop(name) for name in ("recursive", "jobs", "ray", "ray_address", "manifest")}
    return options, many


def _absolute(model: str | None) -> str | None:
    """A model's name, or its folder as other processes find it."""
    return str(Path(model).resolve()) if model and Path(model).is_dir() else model


class _Report:
    """Tells what the user asked to be told of each file that is done, and remembers whether one was damaged."""

    def __init__(self, *, quiet: bool, verbose: bool, as_json: bool, many: bool) -> None:
        self.quiet, self.verbose, self.as_json, self.many = quiet, verbose, as_json, many
        self.damaged = False

    def __call__(self, done: Done) -> None:
        if not self.quiet:
            for warning in done.warnings:
                tell_warning(warning)
            for remark in done.facts.remarks:
                note(f"{done.input}: {remark}" if self.many else remark)
        if done.facts.missing:
            self.damaged = True
            note(f"{done.input}: missing: {'; '.join(done.facts.missing)}")
        if self.as_json:
            facts = {"input": done.input, "output": done.output} | asdict(done.facts)
            click.echo(json.dumps({key: value for key, value in facts.items() if value not in ((), [], None)}))
        elif self.verbose:
            click.echo(_line(done), err=True)


def _line(done: Done) -> str:
    facts = done.facts
    effort = f"effort {facts.effort}, " if facts.effort else ""
    return (
        f"{done.input} -> {done.output}: {facts.width} x {facts.height}, {readable_size(facts.bytes)}, "
        f"{facts.bpp:.4f} bpp, quality {facts.quality:g}, {effort}{facts.seconds:.2f} s"
    )


def _run(coding, sources, output, taken, suffix, *, threads, show, many) -> None:
    """One file with a bar of its own, or many by the batch engine; then what the user asked to be told."""
    output, _ = split_format(output)
    if show["force"] and show["skip_existing"]:
        raise click.UsageError("--skip-existing or -f, not both")
    tell = {name: show[name] for name in ("quiet", "verbose", "as_json")}
    if is_single(sources) and not is_shards(sources[0]) and not is_url(output or ""):
        if given := next((name for name, value in many.items() if value and name != "recursive"), None):
            raise click.UsageError(f"--{given.replace('_', '-')} is for many files, and {sources[0]} is one")
        finished, failed = _Report(**tell, many=False), 0
        _one(coding, sources[0], output, suffix, finished, threads=threads, show=show)
    else:
        from leechcodec.apps.batch.files import FileSettings
        from leechcodec.apps.batch.tars import Shards, ShardSettings

        finished, settings = _Report(**tell, many=True), partial(FileSettings, coding)
        shards = [is_shards(path) for path in (output, *sources)]
        if any(shards) and (many["recursive"] or show["keep_extension"]):
            raise click.UsageError("--recursive and --keep-extension are not for shards")
        if output and all(shards):
            names = Shards(sources, output)
            settings = partial(ShardSettings, coding, taken=taken, suffix=suffix)
        elif any(shards):
            raise click.UsageError("shards become shards: name them with -o, as in -o out-%06d.tar")
        elif output and is_one_by_url(sources, output):
            names = Single(sources[0], output)
        else:
            names = Names(sources, output, suffix, taken, many["recursive"], show["keep_extension"])
        failed = _many(settings, names, finished, threads=threads, show=show, many=many)
    if show["verbose"]:
        tell_cache()
    if failed:
        sys.exit(1)
    if finished.damaged:
        sys.exit(DAMAGED)


def _one(coding, source, output, suffix, finished: _Report, *, threads, show) -> None:
    from leechcodec.formats.files import is_stream

    skip = show["skip_existing"]
    named = source if not show["keep_extension"] or source == "-" else f"{source}.x"
    target = target_of(source, output, suffix, show["force"] or skip, named)
    if skip and target is not None and os.path.lexists(target) and not is_stream(target) and _is_done(target, source):
        if show["verbose"]:
            click.echo(f"{target}: is there", err=True)
        return
    if target is None and show["as_json"]:
        raise click.UsageError("--json and the file cannot both go to standard output")
    check_output(target)
    set_threads(threads)
    with warnings_told(show["quiet"]), about(source):
        whole, stamps = source == "-" or isinstance(coding, Decoding), stamps_of(source)
        made, facts = coding.make(read(source) if whole else source, source, progress_bar)
        write(target, made, show["force"] or skip)
        set_stamps(target, stamps)
        finished(Done(source, "standard output" if target is None else str(target), facts))


def _is_done(target: Path, source: str) -> bool:
    if source == "-" or not target.exists() or not os.path.exists(source):  # a link that leads nowhere is left alone
        return True
    return is_newer(os.stat(target).st_mtime, os.stat(source).st_mtime)


def _many(settings, names, finished: _Report, *, threads, show, many) -> int:
    """Returns the number of files that failed, each told in one line at the end.

    settings: makes the workers' settings of the threads that each computes with.
    """
    from leechcodec.apps.batch.drivers import Workers
    from leechcodec.apps.batch.files import Existing, run_files
    from leechcodec.apps.batch.manifest import Manifest
    from leechcodec.apps.batch.threads import run_threads

    workers = Workers(many["jobs"], many["ray"], many["ray_address"])
    if many["jobs"] or workers.ray:
        made = settings(threads=threads or 1)
        execute = workers.executor(made.alone, threads or 1)
        made.coding.prepare()  # one error where there is no model, and not one for each worker
    else:
        execute = partial(run_threads, settings().here, threads=threads)
    with (
        warnings_told(show["quiet"]),
        count_bar(None, "image") as bar,
        closing(Manifest(Path(many["manifest"]))) if many["manifest"] else nullcontext() as manifest,
    ):
        total = names.count() if not bar.disable and not any(map(is_url, names.sources)) else None

        def progress(done: int, present: int) -> None:
            bar.total = None if total is None else total - present
            bar.update(done - bar.n)

        def told(done: Done) -> None:
            with bar.external_write_mode():  # lines above the bar
                finished(done)

        existing = Existing(skip=show["skip_existing"], force=show["force"])
        summary = run_files(names, execute, existing, manifest=manifest, finished=told, progress=progress)
    for _, reason in sorted(summary.failures):
        note(reason)
    if (left := summary.failed - len(summary.failures)) > 0:
        note(f"and {left:,} more")
    if not show["quiet"]:
        note(summary.line())
    return summary.failed
