"""The laboratory's commands: paths and messages only. What computes is imported by the command that needs it."""

import contextlib
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from leechcodec.apps.cli.streams import device_option, tell_layer
from leechcodec.apps.messages import about_picture, naming
from leechcodec.errors import LqError
from leechcodec.lab.report.command import report

PATH = click.Path(path_type=Path)
DEFAULT_LPIPS = Path("data/lpips")
SAMPLE = Path("data/sample.png")
NO_LPIPS = "no LPIPS: leechcodec data lpips gets its backbone, --lpips-weights names one"
RATES_SAMPLES = "Uniform directions, with --rates tokens.  [default: 100000, with --rates 20000]"


@click.command("eval")
@click.argument("dataset", type=PATH)
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    help="leech, jpeg, …, or an installed model; repeat it.  [default: leech and the peers but compressai]",
)
@device_option
@click.option("-o", "--output", type=PATH, default=Path("results"), show_default=True, help="Folder of results.")
@click.option("--model", help="Model name or folder of the codec leech.  [default: leech-open]")
@click.option("--bsq-model", help="Model name or folder of the codec bsq.  [default: bsq-twin]")
@click.option("--compressai-weights", type=PATH, help="Folder of CompressAI's …-7eb97409.pth.tar files.")
@click.option("--dial", "dials", multiple=True, metavar="CODEC=Q,Q,…", help="Measure a codec at these settings.")
@click.option("--lpips-weights", type=PATH, help="AlexNet, a file or its folder.  [default: data/lpips where it is]")
@click.option("--jobs", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
@click.option("--process/--no-process", default=True, help="Time one image in a process of its own.  [default: yes]")
@click.option("--fresh", is_flag=True, help="Measure again what is in the cache.")
def evaluate(dataset, codecs, output, model, bsq_model, compressai_weights, dials, lpips_weights, jobs, process, fresh):
    """Measure codecs on a folder of images, or on a folder of folders, each a kind of images.

    Writes one JSON a codec, and the compressed files. An interrupted run goes on where it stopped. Codecs: leech,
    leech-effort2 to leech-effort9, bsq (the model bsq-twin), any installed model by its name, jpeg, jpegli, jpeg2000,
    webp, avif, avif-420, jxl, heic, compressai-ARCHITECTURE.
    """
    wanted: dict[str, tuple[float, ...]] = {}
    for name, values in map(_dial, dials):
        wanted[name] = wanted.get(name, ()) + values
    from leechcodec.lab import evaluate as lab
    from leechcodec.lab.peers.base import PeerOptions
    from leechcodec.lab.peers.registry import DEFAULT, option_of

    options = PeerOptions(
        model=_absolute(model), bsq_model=_absolute(bsq_model), compressai_weights=_absolute(compressai_weights)
    )
    heeded = {option_of(codec) for codec in codecs or DEFAULT}
    for option in ("model", "bsq_model", "compressai_weights"):
        if getattr(options, option) and option not in heeded:
            raise click.UsageError(f"--{option.replace('_', '-')}: no codec that is measured has it")
    lpips_weights = lpips_weights or _default_lpips()
    if lpips_weights is None:
        _note(NO_LPIPS)
    config = lab.EvalConfig(
        dataset=dataset,
        codecs=codecs or DEFAULT,
        output=output,
        options=options,
        dials=wanted,
        jobs=jobs or len(lab.available_cores()),
        lpips=lpips_weights,
        fresh=fresh,
        process=process,
    )
    with _notes(), _bar("files") as bar:

        def progress(codec: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_description(codec, refresh=False)
            bar.update(done - bar.n)

        outcome = lab.evaluate(config, progress)
    for codec, reason in outcome.skipped.items():
        _note(f"skipped {codec}: {reason}")
    for name, reason in outcome.unreadable:
        _note(f"skipped {name}: {reason}")
    for codec, name, reason in outcome.failed:
        _note(f"{codec} left out {name}: {reason}")
    for codec, reason in outcome.untimed.items():
        _note(f"{codec} is not timed in a process of its own: {reason}")
    for path in outcome.written.values():
        click.echo(str(path))
    if outcome.kinds:
        _note(f"each kind's results are in its own folder there: {', '.join(outcome.kinds)}")
    if not outcome.written:
        raise LqError("no codec could be measured")


@click.command()
@click.argument("results", type=PATH, nargs=-1, required=True)
@click.option("--published", type=PATH, help="JSON of published curves, drawn dashed.")
@click.option("--only", multiple=True, help="Draw this published curve only; repeat it.")
@click.option("-o", "--output", type=PATH, multiple=True, required=True, help=".svg, .png or .pdf; repeat it.")
@click.option("--max-bpp", type=click.FloatRange(0, 1000, min_open=True), help="Right end of the rate axis.")
@click.option("--labels", is_flag=True, help="Name each curve at its end, in place of a legend.")
@click.option("--title", help="Above the panels.")
def plot(results, published, only, output, max_bpp, labels, title) -> None:
    """Draw rate-distortion curves.

    RESULTS are files or folders of leechcodec eval. One panel each for PSNR, MS-SSIM in dB,
    SSIMULACRA2 and LPIPS.
    """
    from leechcodec.lab.figures import check_figure
    from leechcodec.lab.plot import draw

    _check_only(published, only)
    if max_bpp is not None and math.isnan(max_bpp):
        raise click.BadParameter("not a number", param_hint="--max-bpp")
    for path in output:
        check_figure(path)
    curves = _curves(_results(results), published, only)
    for path in output:
        draw(curves, path, max_bpp=max_bpp, title=title, labels=labels)
        click.echo(str(path))


@click.command()
@click.argument("results", type=PATH, nargs=-1, required=True)
@click.option("--anchor", help="Codec, or name of a curve, that every other is compared with.")
@click.option("--of", help="Codec to compare with every other as its anchor, in every metric.")
@click.option(
    "--metric", type=click.Choice(("psnr", "ms-ssim", "ssimulacra2", "lpips")), help="With --anchor.  [default: psnr]"
)
@click.option("--published", type=PATH, help="JSON of published curves, compared too.")
@click.option("--only", multiple=True, help="Compare this published curve only; repeat it.")
@click.option("--by", type=click.Choice(("kind", "image")), help="A row for every kind of images, or every image.")
@click.option("--format", "form", type=click.Choice(("text", "markdown", "csv")), default="text", show_default=True)
def bdrate(results, anchor, of, metric, published, only, by, form) -> None:
    """Print Bjontegaard delta rates against an anchor.

    RESULTS are files or folders of leechcodec eval. A negative rate means smaller files at equal quality.
    """
    from leechcodec.lab import bdrate as lab

    _check_only(published, only)
    if (anchor is None) == (of is None):
        raise click.UsageError("--anchor or --of, one of them")
    if metric and of:
        raise click.UsageError("--of shows every metric: --metric needs --anchor")
    metric = metric or "psnr"
    if by and of:
        raise click.UsageError("--by needs --anchor")
    if by and published:
        raise click.UsageError("published curves are means only: --by or --published, not both")
    found = _results(results)
    curves = _curves(found, published, only)
    chosen = lab.find_anchor(curves, anchor or of)
    if of:
        click.echo(lab.of_table(curves, chosen, form))
        return
    if by:
        groups = lab.bd_groups(found, anchor, metric, by)
        click.echo(lab.groups_table(groups, chosen, metric, form))
        return
    click.echo(lab.FORMATS[form](lab.bd_table(curves, chosen, metric), chosen, metric))


@click.command()
@click.argument("results", type=PATH, nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(("text", "markdown")), default="text", show_default=True)
def summary(results, form) -> None:
    """Print where each codec's dial ends, and how fast it is.

    RESULTS are files or folders of leechcodec eval. Seconds per megapixel are of the call alone, over the whole dial;
    those of a process are one image's from start to end, imports and models included.
    """
    from leechcodec.lab import summary as lab

    click.echo(lab.table([lab.summary(found) for found in _results(results)], form))


@click.command()
@click.argument("name", type=click.Choice(("kodak", "lpips", "graphics")))
@click.option(
    "--from",
    "source",
    type=PATH,
    help="Take it from this folder or file instead of the network; for graphics the photograph with captions.",
)
@click.option("-o", "--output", type=PATH, help="Folder for it.  [default: data/NAME]")
@click.option("--seed", type=click.IntRange(0), help="Of the graphics.  [default: 0]")
@click.option("--url", hidden=True, help="Another place to download from.")
def data(name, source, output, seed, url) -> None:
    """Get the Kodak images or the LPIPS backbone, or draw the graphics.

    What is downloaded is checked by SHA-256, and goes on where it stopped. Graphics are a folder of folders: text,
    interfaces, charts, drawings, gradients, flat colours, noise, checkerboards, a photograph with captions.
    """
    if seed is not None and name != "graphics":
        raise click.UsageError("--seed is of the graphics")
    target = output or Path("data") / name
    if name == "graphics":
        from leechcodec.lab.graphics import graphics

        photograph = source or (SAMPLE if SAMPLE.is_file() else None)
        counts = graphics(target, seed or 0, photograph)
        click.echo(f"{target}: {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
        if photograph is None:
            _note("no captions: --from names the photograph that they are put on")
        return
    options = {"url": url} if url else {}
    with _bar("B", unit_scale=True, unit_divisor=1024) as bar:

        def progress(file: str, done: int, total: int | None) -> None:
            if bar.desc != f"{file}: ":
                bar.reset(total)
                bar.set_description(file)
            bar.update(done - bar.n)

        if name == "kodak":
            from leechcodec.lab.datasets import kodak

            added = kodak(target, source, progress=progress, **options)
            message = f"{target}: 24 images, {added} of them new"
        else:
            from leechcodec.lab.backbone import backbone

            message = str(backbone(target, source, progress=progress, **options))
    click.echo(message)


@click.command()
@click.argument("images", type=PATH, nargs=-1)
@click.option("--model", help="Model whose latents are quantized too.  [default: leech-open]")
@click.option("--samples", type=click.IntRange(1000), help=RATES_SAMPLES)
@click.option("-o", "--output", type=PATH, multiple=True, help="Draw the figure: .svg, .png or .pdf; repeat it.")
@click.option("--format", "form", type=click.Choice(("text", "markdown")), default="text", show_default=True)
@click.option("--rates", is_flag=True, help="All of the lattice and others at 0.1 to 4 bits per dimension.")
def limits(images, model, samples, output, form, rates) -> None:
    """Print how far Λ24-SQ, BSQ and FSQ are from the rate-distortion bound.

    One token of a unit vector, best scalar gain, no entropy coding: on uniform directions and, where IMAGES are given,
    on what the model asks its quantizer about them. With --rates: the whole Leech lattice, scalars, stacked shells and
    BSQ on Gaussian and Laplacian sources, entropy-coded.
    """
    from leechcodec.lab.figures import check_figure

    for path in output:
        check_figure(path)
    if rates:
        if images:
            raise click.UsageError("--rates is of two known sources, without IMAGES")
        if model:
            raise click.UsageError("--model needs IMAGES")
        from leechcodec.lab import rate_limits

        rows = rate_limits.rate_limits(samples=samples or rate_limits.SAMPLES)
        click.echo(rate_limits.table(rows, form))
        for path in output:
            rate_limits.draw(rows, path)
            click.echo(str(path))
        return
    if model and not images:
        raise click.UsageError("--model needs IMAGES")
    from leechcodec.formats.images import load_image
    from leechcodec.lab import limits as lab

    latents = lab.latents_of([load_image(path) for path in images], model) if images else None
    rows = lab.limits(latents, samples or lab.SAMPLES)
    click.echo(lab.table(rows, form))
    for path in output:
        lab.draw(rows, path)
        click.echo(str(path))


@click.command()
@click.argument("images", type=PATH, nargs=-1)
@click.option("--model", help="Model whose latents are counted, with IMAGES.  [default: leech-open]")
@click.option("-q", "--quantizer", "names", multiple=True, help="This one, as in a config; repeat it.")
@click.option("--samples", type=click.IntRange(1000), help=RATES_SAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--rates", is_flag=True, help="leech-lattice and others at 0.1 to 4 bits per dimension.")
def quantizers(images, model, names, samples, as_json, markdown, rates) -> None:
    """Print the table of quantizers.

    Size, smallest distance between codewords, distortion of uniform directions against the rate-distortion bound and,
    where IMAGES are given, how many codes the model's latents use.
    """
    from leechcodec.formats.images import load_image
    from leechcodec.lab import limits, quantizer_table

    if as_json and markdown:
        raise click.UsageError("--json or --markdown, not both")
    if model and not images:
        raise click.UsageError("--model needs IMAGES")
    if rates:
        if images or names:
            raise click.UsageError("--rates is of two known sources, without IMAGES or --quantizer")
        from leechcodec.lab import rate_limits

        found = rate_limits.rate_limits(samples=samples or rate_limits.SAMPLES)
        as_text = rate_limits.table(found, "markdown" if markdown else "text")
        click.echo(json.dumps([asdict(row) for row in found]) if as_json else as_text)
        return
    latents = limits.latents_of([load_image(path) for path in images], model) if images else None
    found = quantizer_table.rows(names or quantizer_table.NAMES, latents, model, samples or limits.SAMPLES)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found]))
    else:
        click.echo(quantizer_table.table(found, "markdown" if markdown else "text"))


@click.command()
@click.argument("source", metavar="FILE", type=PATH)
@click.option("--model", help="Model name or folder.  [default: the installed one that fits]")
@click.option("-o", "--output", type=PATH, required=True, help="The figure: .png, .svg or .pdf.")
def tokens(source, model, output) -> None:
    """Draw where the bits of an .lq file went.

    One map a token stage of the bits of each token, and one of its codeword's class.
    """
    from leechcodec.codec import api
    from leechcodec.lab import token_maps
    from leechcodec.lab.figures import check_figure

    check_figure(output)
    with naming(str(source)):
        data = source.read_bytes()
        found = api.read_tokens(data, model=model)
    tell_layer(str(source), data)
    token_maps.draw(api.detokenize(found, model=model), token_maps.stage_maps(found, model), output)
    click.echo(str(output))


@click.command()
@click.argument("original", type=PATH)
@click.argument("others", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@click.option("--lpips-weights", type=PATH, help="AlexNet, a file or its folder.  [default: data/lpips where it is]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def compare(original, others, lpips_weights, as_json) -> None:
    """Print PSNR, MS-SSIM, SSIM, SSIMULACRA2 and LPIPS of images against ORIGINAL.

    Any format that Pillow reads, and .lq files. SSIMULACRA2: 100 is the original, 70 high quality, 30 low.
    """
    import leechcodec.pillow  # noqa: F401 (registers .lq)
    from leechcodec.formats.images import load_image
    from leechcodec.formats.side_data import as_coded, comparable
    from leechcodec.lab.metrics import scores
    from leechcodec.training.lpips_net import Lpips, find_weights

    weights = lpips_weights or _default_lpips()
    lpips = Lpips(find_weights(weights)) if weights else None
    with _notes():
        source, rows = load_image(original, lq=True), []
        with naming(str(original)):
            coded = as_coded(source)
        for path in others:
            found = load_image(path, lq=True)
            if found.size != source.size:
                sizes = [f"{one.width} x {one.height}" for one in (source, found)]
                raise LqError(f"{path}: {sizes[1]} pixels, {original} has {sizes[0]}")
            with naming(str(path)):
                reference, image = comparable(source, found, coded)
            bpp = 8 * path.stat().st_size / (image.width * image.height)
            rows.append({"image": str(path), "bpp": round(bpp, 5), **asdict(scores(reference, image, lpips))})
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(5, *(len(row["image"]) for row in rows))
    click.echo(f"{'image':<{width}}      bpp   PSNR dB  MS-SSIM    SSIM  SSIMULACRA2   LPIPS")
    digits = {"ms_ssim": ">7.4f", "ssim": ">8.4f", "ssimulacra2": ">13.2f", "lpips": ">8.4f"}
    for row in rows:
        values = [format(row[name], form) if row[name] is not None else f"{'–':>{form[1:-3]}}"
                  for name, form in digits.items()]  # fmt: skip
        click.echo(f"{row['image']:<{width}}  {row['bpp']:>7.4f}  {row['psnr']:>8.2f}  {''.join(values)}")
    if lpips is None:
        _note(NO_LPIPS)


COMMANDS = {
    str(command.name): command
    for command in (evaluate, plot, bdrate, summary, report, limits, quantizers, tokens, compare, data)
}


def _results(paths) -> list:
    """The results of files and folders over the images that all have, this codec's first."""
    from leechcodec.lab import curves, results
    from leechcodec.lab.errors import ResultsError

    files = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise ResultsError(f"{path}: no results in it; leechcodec eval writes them")
        files += inside
    found, note = curves.over_common_images(results.load_all(files))
    if note:
        _note(note)
    return list(found)


def _check_only(published, only) -> None:
    if only and not published:
        raise click.UsageError("--only is one of --published")


def _curves(results, published, only) -> list:
    """Curves of results, then the published ones."""
    from leechcodec.lab import curves

    return [curves.measured(each) for each in results] + (curves.published(published, only) if published else [])


def _dial(text: str) -> tuple[str, tuple[float, ...]]:
    codec, _, values = text.partition("=")
    try:
        return codec, tuple(float(value) for value in values.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r}: write it as jpeg=10,50,90", param_hint="--dial") from None


def _default_lpips() -> Path | None:
    """Where the backbone is by default, if it is there."""
    from leechcodec.training.lpips_net import FILE_NAME

    return DEFAULT_LPIPS if (DEFAULT_LPIPS / FILE_NAME).is_file() else None


def _absolute(model: str | Path | None) -> str | None:
    """A folder as the worker processes, and later readers of the results, will find it; a name as it is."""
    return os.path.abspath(model) if model and Path(model).is_dir() else model and str(model)


def _note(message: str) -> None:
    click.echo(f"leechcodec: {' '.join(message.split())}", err=True)


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Warnings about images as one line each."""
    caught: dict[str, None] = {}

    def show(message, category, *_, **__) -> None:
        if category is UserWarning and (text := about_picture(str(message))):
            caught[text] = None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
    for message in caught:
        _note(f"warning: {message}")


@contextlib.contextmanager
def _bar(unit: str, **options) -> Iterator:
    """A progress bar with the time left, on a terminal; without one a line every half minute."""
    from tqdm import tqdm

    slow = {} if sys.stderr.isatty() else {"mininterval": 30}
    with tqdm(unit=unit, leave=False, delay=0.5, **slow, **options) as bar:
        yield bar
