"""What is in a file, what is installed, how fast it is here: info, models, bench, completion."""

import json
import os
import time
from collections.abc import Callable
from typing import TypeVar

import click
from click.shell_completion import get_completion_class

from leechcodec.apps.cli.streams import read, readable_size, runtime_options, set_threads
from leechcodec.apps.messages import naming
from leechcodec.errors import LqError

BENCH_QUALITIES = (10.0, 50.0, 90.0)
BENCH_SIZE = (768, 512)
BENCH_RUNS = 3


@click.command()
@click.argument("source", metavar="FILE")
@click.option("--tokens", is_flag=True, help="Decode the tokens too: how many each stage has, and bits per token.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(source: str, tokens: bool, as_json: bool) -> None:
    """Print what an .lq file holds: size, quality, models, chunks.

    Every checksum is verified.
    """
    from leechcodec.codec.dial import dial_quality, layer_of
    from leechcodec.detail.head import step_of
    from leechcodec.formats.container import HEADER_SIZE, ChunkKind, payload_of, read_file
    from leechcodec.postfilter.coding import unpack

    data = read(source)
    with naming(source):
        header, chunks = read_file(data)
        weights = payload_of(chunks, ChunkKind.FILTER)
        numbers = None if weights is None else unpack(weights)[0]
    facts = {
        "file": source,
        "bytes": len(data),
        "width": header.width,
        "height": header.height,
        "bpp": round(8 * len(data) / (header.width * header.height), 5),
        "quality": dial_quality(header, chunks),
        "version": header.version,
        "token_model": header.token_model.hex(),
        "synthesis": header.synthesis.hex(),
        "header_bytes": HEADER_SIZE,
        "chunks": [{"kind": ChunkKind(chunk.kind).name.lower(), "bytes": len(chunk.payload)} for chunk in chunks],
    }
    if (layer := layer_of(chunks)) and (step := step_of(layer)):
        facts["detail"] = {"step": round(step, 3), "tokens_quality": header.quality / 100}
    if numbers is not None:
        facts["filter"] = {"weights": int((numbers != 0).sum())}
    if tokens:
        with naming(source):
            facts["stages"] = _stages(data)
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{source}: {header.width} x {header.height}, {readable_size(len(data))}, {facts['bpp']:.4f} bpp")
    click.echo(f"quality      {facts['quality']:g}")
    click.echo(f"token model  {facts['token_model']}   synthesis {facts['synthesis']}   format {header.version}")
    click.echo(f"{'header':<12} {HEADER_SIZE:>9,} bytes")
    for chunk in facts["chunks"]:
        click.echo(f"{chunk['kind']:<12} {chunk['bytes']:>9,} bytes")
    if weights := facts.get("filter"):
        click.echo(f"post-filter of {weights['weights']} weights")
    if layer := facts.get("detail"):
        click.echo(f"detail layer of step {layer['step']:.2f} levels, on tokens of quality {layer['tokens_quality']:g}")
    for stage in facts.get("stages", ()):
        name = f"stride {stage['stride']}"
        click.echo(f"{name:<12} {stage['tokens']:>9,} tokens {stage['bits_per_token']:>6.2f} bits per token")


def _stages(data: bytes) -> list[dict]:
    """Stride, number of tokens, and bits per token by the coder's own probabilities, stage by stage."""
    from leechcodec.codec import api
    from leechcodec.codec.model_store import model_for_file

    tokens = api.read_tokens(data)
    layout, rows = tokens.layout(model_for_file(tokens.token_model).config), []
    for stage, bits in enumerate(api.token_bits(tokens)):
        count = layout.count(stage)
        row = {"stride": layout.stride(stage), "tokens": count, "bits_per_token": round(bits.sum() / max(count, 1), 3)}
        rows.append(row)
    return rows


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def models(as_json: bool) -> None:
    """List the installed models.

    A file names its token model and the synthesis transform that it was made for; any model with the same token model
    decodes it.
    """
    from leechcodec.codec.model_store import DEFAULT_MODEL, load_model
    from leechcodec.codec.paths import models_dir

    rows = []
    for folder in sorted(path.parent for path in models_dir().glob("*/config.json")):
        loaded = load_model(folder)
        row = {
            "name": loaded.name,
            "default": loaded.name == DEFAULT_MODEL,
            "token_model": loaded.token_model.hex(),
            "synthesis": loaded.synthesis.hex(),
            "quantizer": loaded.config.quantizer,
            "stages": len(loaded.config.min_quality),
            "parameters": loaded.parameters,
            "bytes": (folder / "weights.safetensors").stat().st_size,
            "folder": str(folder),
        }
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        raise LqError(f"no models in {models_dir()}")
    for row in rows:
        click.echo(f"{row['name']}{' (default)' if row['default'] else ''}")
        click.echo(f"  token model {row['token_model']}   synthesis {row['synthesis']}")
        click.echo(
            f"  {row['quantizer']}, {row['stages']} token stages, {row['parameters'] / 1e6:.1f} M parameters, "
            f"{readable_size(row['bytes'])}"
        )
        click.echo(f"  {row['folder']}")


@click.command()
@click.argument("image", required=False)
@click.option("--model", help="Model name or folder.  [default: leech-open]")
@click.option("--threads", type=click.IntRange(1), help="Threads to compute with.  [default: all cores]")
@click.option("--effort", type=click.IntRange(1, 9), default=1, show_default=True, help="Of encoding.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@runtime_options
def bench(image: str | None, model: str | None, threads: int | None, effort: int, as_json: bool) -> None:
    """Measure encoding and decoding on this machine.

    Best of three runs a quality, in memory, models loaded. IMAGE: what to code; without it a generated picture of
    768 x 512 pixels with the spectrum of a photograph.
    """
    from importlib import import_module

    from leechcodec.codec import api
    from leechcodec.formats.images import load_image
    from leechcodec.networks.devices import place
    from leechcodec.networks.runtime import RUNTIMES, runtime
    from leechcodec.threads import threads as count_threads

    set_threads(threads)
    picture = load_image(image) if image else _spectrum_of_a_photograph(*BENCH_SIZE)
    megapixels = picture.width * picture.height / 1e6
    warm = api.compress(picture, quality=100.0, effort=min(effort, 2), model=model)  # kernels, weights, memory
    api.decompress(warm, model=model)
    rows = []
    for quality in BENCH_QUALITIES:
        encode, data = _best(lambda q=quality: api.compress(picture, quality=q, effort=effort, model=model))
        decode, _ = _best(lambda d=data: api.decompress(d, model=model))
        row = {"quality": quality, "bytes": len(data), "encode_seconds": encode, "decode_seconds": decode}
        rows.append(row | {"encode_mp_per_s": megapixels / encode, "decode_mp_per_s": megapixels / decode})
    if as_json:
        click.echo(json.dumps(rows))
        return
    package = RUNTIMES[place()[0] or runtime()]
    library = f"{package} {import_module(package).__version__}"
    click.echo(f"{picture.width} x {picture.height}, {count_threads()} threads, {library}")
    click.echo("quality        size    encode    decode")
    for row in rows:
        click.echo(
            f"{row['quality']:>7g}  {readable_size(row['bytes']):>10}  {row['encode_seconds']:>6.2f} s  "
            f"{row['decode_seconds']:>6.2f} s   ({row['encode_mp_per_s']:.2f} and {row['decode_mp_per_s']:.2f} MP/s)"
        )


T = TypeVar("T")


def _best(work: Callable[[], T]) -> tuple[float, T]:
    """The least seconds of some runs, and the last result."""
    seconds, result = _timed(work)
    for _ in range(BENCH_RUNS - 1):
        again, result = _timed(work)
        seconds = min(seconds, again)
    return seconds, result


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _spectrum_of_a_photograph(width: int, height: int):
    """Noise whose amplitude falls with frequency, as a photograph's does."""
    import numpy as np

    from leechcodec.formats.images import from_array

    noise = np.random.default_rng(0).standard_normal((height, width, 3))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    spectrum = np.fft.rfft2(noise, axes=(0, 1)) / np.maximum(frequency, 1 / width)[:, :, None] ** 1.2
    picture = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    picture = 0.7 * picture.mean(2, keepdims=True) + 0.3 * picture
    return from_array((127.5 + 50 * picture / picture.std()).clip(0, 255).astype(np.uint8))


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), required=False)
def completion(shell: str | None) -> None:
    """Print the completion script of a shell.

    \b
    bash   eval "$(leechcodec completion bash)"            in ~/.bashrc
    zsh    eval "$(leechcodec completion zsh)"             in ~/.zshrc
    fish   leechcodec completion fish | source            in ~/.config/fish/config.fish
    """
    shell = shell or os.path.basename(os.environ.get("SHELL", ""))
    found = get_completion_class(shell)
    if found is None:
        raise LqError(f"no completion for {shell or 'an unknown shell'}; name bash, zsh or fish")
    from leechcodec.apps.cli import main

    click.echo(found(main, {}, "leechcodec", "_LEECHCODEC_COMPLETE").source())
