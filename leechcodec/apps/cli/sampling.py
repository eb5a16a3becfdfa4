"""sample: pictures drawn from the prior."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leechcodec.apps.cli.coding import QUALITY
from leechcodec.apps.cli.streams import (
    check_output,
    progress_bar,
    read,
    refuse_input,
    set_threads,
    split_format,
    target_of,
    tell_layer,
    warnings_told,
    write,
)
from leechcodec.apps.messages import naming

if TYPE_CHECKING:
    import numpy as np

    from leechcodec.codec.token_coding import Progress, Tokens


class Size(click.ParamType):
    """Width and height, written 640x480."""

    name = "WxH"

    def convert(self, value, param, ctx) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", value)
        if not found:
            self.fail(f"{value!r}: write width and height as 640x480", param, ctx)
        return int(found[1]), int(found[2])


@click.command()
@click.option("-o", "--output", required=True, help="Image, or .lq file of the tokens; - is standard output.")
@click.option("-n", "--number", type=click.IntRange(1), default=1, show_default=True, help="Pictures, on one sheet.")
@click.option("--size", type=Size(), help="Of each, in pixels.  [default: 256x256]")
@click.option("-q", "--quality", type=QUALITY, help="The dial, 1 to 100.  [default: 50]")
@click.option(
    "--temperature",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Below 1 the likely becomes likelier.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Draw from the likeliest values that make up this much probability.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the first picture; the next have seed + 1, …",
)
@click.option("--from", "source", metavar="FILE", help="An .lq file whose tokens are kept in part.")
@click.option("--keep-stages", type=click.IntRange(0), help="Keep so many of its token stages, coarse ones first.")
@click.option("--mask", metavar="IMAGE", help="Keep its tokens but where this image of its size is white.")
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing output.")
@click.option("--model", help="Model name or folder.  [default: leech-open, or the file's]")
@click.option("--threads", type=click.IntRange(1), help="Threads to compute with.  [default: all cores]")
def sample(
    output, number, size, quality, temperature, top_p, seed, source, keep_stages, mask, force, model, threads
) -> None:
    """Draw pictures from the model's prior.

    The prior that codes the tokens of photographs is a probability of every picture; here it is drawn from, stage by
    stage, coarse to fine. It is a small one and knows textures, not things. With --from, a real file's coarse tokens
    are kept and finer ones drawn, or all are kept but under the white of a mask. The same options and seed give the
    same tokens on every machine.

    \b
    leechcodec sample -n 16 -o sheet.png                             a sheet of sixteen
    leechcodec sample --size 512x512 -q 80 --seed 7 -o one.png       one picture
    leechcodec sample --from photo.lq --keep-stages 3 -o guess.png   its coarse tokens, the rest drawn
    leechcodec sample --from photo.lq --mask hole.png -o filled.png  a hole filled
    leechcodec sample -o drawn.lq                                    the tokens as a file
    """
    if source is None and (keep_stages is not None or mask is not None):
        raise click.UsageError("--keep-stages and --mask need --from")
    if source is not None and keep_stages is None and mask is None:
        raise click.UsageError("--from needs --keep-stages, --mask, or both")
    if source is not None and (size is not None or quality is not None):
        raise click.UsageError("a file given by --from has its own size and quality")
    output, prefix = split_format(output)
    suffix = (prefix or Path(output or "").suffix or (".png" if output == "-" else "")).lower()
    if suffix == ".lq" and number > 1:
        raise click.UsageError("an .lq file holds one picture, not -n pictures")
    from leechcodec.formats.images import contact_sheet, encode_image, image_format

    if suffix != ".lq":
        image_format(suffix)  # refused before the work
    target = target_of("-", output, suffix, force)
    refuse_input(target, source, mask)
    check_output(target)
    set_threads(threads)
    from leechcodec.codec import api, sampling

    with warnings_told():
        start = None if source is None else _start(source, model)
        draw = partial(
            sampling.sample,
            *(size or ()),
            quality=quality,
            temperature=temperature,
            top_p=top_p,
            start=start,
            keep_stages=keep_stages,
            mask=None if mask is None else _hole(mask),
            model=model,
        )
        width, height = (start.width, start.height) if start else size or (sampling.DEFAULT_SIZE,) * 2
        with progress_bar("drawing", number * width * height) as progress:
            tokens = _drawn(draw, seed, number, progress)
            if suffix == ".lq":
                data = api.write_tokens(next(tokens), model=model)
            else:
                pictures = (api.detokenize(found, model=model) for found in tokens)
                data = encode_image(contact_sheet(pictures, number, width, height), suffix)
    write(target, data, force)


def _drawn(draw: Callable[..., "Tokens"], seed: int, number: int, progress: "Progress | None") -> Iterator["Tokens"]:
    """The tokens of one picture after another."""
    for done in range(number):

        def step(stages: int, steps: int, before: int = done) -> None:
            if progress:
                progress(before * steps + stages, number * steps)

        yield draw(seed=seed + done, progress=step)


def _start(source: str, model: str | None) -> "Tokens":
    from leechcodec.codec import api

    data = read(source)
    with naming(source):
        tokens = api.read_tokens(data, model=model)
    tell_layer(source, data)
    return tokens


def _hole(mask: str) -> "np.ndarray":
    """Where an image is nearer to white than to black, bool (height, width)."""
    import numpy as np

    from leechcodec.formats.images import load_image, to_rgb

    image = load_image(mask)
    with naming(mask):
        return np.asarray(to_rgb(image).convert("L")) >= 128
