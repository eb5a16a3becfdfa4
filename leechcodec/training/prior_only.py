"""The prior alone, trained on the tokens of whole pictures: the last step of every model.

    token maps (token_maps.py) ─▶ prior ─▶ bits per pixel ─▶ loss ─▶ AdamW ─▶ averaged weights ─▶ model folder

Transforms and tokens stay as they are; files get smaller and show the same pixels. Networks train on crops, which hold
few positions at stride 64, and the inside of a picture is strange to a prior that saw nothing else: at low rates that
costs a tenth of the bits (docs/experiments.md).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leechcodec.codec.model_store import LoadedModel, load_model, model_folder, save_model
from leechcodec.errors import ConfigError
from leechcodec.field_types import check_types
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.model import CodecModel
from leechcodec.training.data import load_images
from leechcodec.training.grow import load_grown
from leechcodec.training.processes import refuse_several
from leechcodec.training.run import MODEL, Budget, Run, refuse_to_overwrite
from leechcodec.training.settings import check_ranges, read_tables
from leechcodec.training.token_maps import MapSettings, TokenMap, holds_a_map, kept_maps, token_map
from leechcodec.training.validation import QUALITIES, whole

HALF_RATE = 0.3
"""Bits per pixel at which a map's loss has weight 1."""
LEAST_RATE = 0.01
"""Bits per pixel below which a map weighs no more: of a flat picture every bit would count thousandfold."""


@dataclass(frozen=True)
class PriorConfig:
    """How a prior is trained alone: the [prior] table of a config file, which holds the keys of MapSettings too.

    Loss of a map: bpp · (0.3 / bpp)^exponent, the fraction without gradient; with 1 every map's bits would count alike
    whatever its rate, with 0 every bit.
    """

    base: str = "leech-open"
    """The model whose prior is trained: a name or a folder."""
    passes: tuple[int, ...] | None = None
    """In how many passes the new prior codes each stage (config.py), never fewer than the base's. None: the base's."""
    gates: bool | None = None
    """Whether the new prior may repeat tokens. None: as the base."""
    channels: tuple[int, ...] | None = None
    """Its widths, stride 64 to 4, none below the base's. None: the base's."""
    token_maps: MapSettings = field(default_factory=MapSettings)
    steps: int = 3000
    batch: int = 4
    lr: float = 5e-4
    """AdamW's, after 30 steps, falling to zero."""
    rate_tokens: int = 2500
    """Tokens a stage pass that enter the rate term."""
    exponent: float = 0.7
    ema: float = 0.99
    validation_share: float = 0.02
    """As the base was trained with, so that what it never saw stays so ..."""
    exclude: tuple[str, ...] = ()
    """... and its file names never trained on."""
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.steps, self.batch, self.rate_tokens) < 1:
            raise ConfigError("a prior needs steps, batch and rate_tokens of 1 or more")
        check_ranges(self, shares=("ema", "exponent", "validation_share"), numbers=("lr", "checkpoint_minutes"))


def load_prior_config(path: Path) -> PriorConfig | None:
    """The [prior] table of a TOML file, None where it has none. Raises ConfigError for what it does not know."""
    tables = read_tables(path)
    if "prior" not in tables:
        return None
    if unknown := sorted(set(tables) - {"prior"}):
        raise ConfigError(f"{path}: [{unknown[0]}] beside [prior]: the base model fixes all else")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in tables["prior"].items()}
    own, of_maps = ({field.name for field in fields(kind)} for kind in (PriorConfig, MapSettings))
    own.discard("token_maps")
    if unknown := sorted(set(values) - own - of_maps):
        raise ConfigError(f"{path}: unknown prior key {unknown[0]!r} (known: {', '.join(sorted(own | of_maps))})")
    maps = MapSettings(**{key: value for key, value in values.items() if key in of_maps})
    return PriorConfig(token_maps=maps, **{key: value for key, value in values.items() if key in own})


def train_prior(
    config: PriorConfig,
    data: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    steps: int | None = None,
    minutes: float | None = None,
    threads: int | None = None,
) -> None:
    """Train a model's prior; resumable. Writes out/maps.safetensors, out/checkpoint.safetensors, out/log.jsonl and, at
    the end, out/model: the base model with the new prior.

    data: folders or tar files of images. resume: go on from out's checkpoint; without it there must be none. steps,
    minutes: in place of the config's number; of minutes in all, after the maps are made. Raises ConfigError,
    ModelError, and TrainingError where it diverges.
    """
    refuse_several("a prior alone")
    if not resume:
        refuse_to_overwrite(out)
    if threads:
        torch.set_num_threads(threads)
    if steps:
        config = replace(config, steps=steps)
    loaded = load_model(config.base)
    torch.manual_seed(config.token_maps.seed)  # of what the config adds to the prior
    model = _to_train(config, loaded)
    training, held_out = load_images(
        data, validation_share=config.validation_share, exclude=config.exclude, threads=threads or 1
    )
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    maps = kept_maps(out / "maps.safetensors", config.token_maps, model, loaded.token_model, training)
    pictures = [whole(image) for image in held_out[::3] if holds_a_map(image)]
    watched = [token_map(model, picture, quality) for picture in pictures for quality in QUALITIES]
    run = _run_of(config, model, out, minutes)
    if resume:
        run.load()
    if watched:
        run.log({"validation": _bits_per_pixel(model, watched)})
    with run:
        while run.done < 1:
            _take_step(config, model, maps, run)
            run.save_if_due()
    with run.averaged():
        if watched:
            run.log({"validation": _bits_per_pixel(model, watched)})
        save_model(out / MODEL, model)


def _run_of(config: PriorConfig, model: CodecModel, out: Path, minutes: float | None) -> Run:
    """A run of the prior alone, with one AdamW."""
    seed = config.token_maps.seed
    torch.manual_seed(seed)
    prior = model.prior.requires_grad_(True)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0)
    return Run(
        out, model.config, prior, {"adam": optimizer}, torch.Generator().manual_seed(seed),
        Budget(config.steps, minutes), ema=config.ema, checkpoint_minutes=config.checkpoint_minutes,
    )  # fmt: skip


def _take_step(config: PriorConfig, model: CodecModel, maps: Sequence[TokenMap], run: Run) -> None:
    """A batch of maps, and an update. Raises TrainingError where the loss is not finite."""
    optimizer = run.optimizers["adam"]
    optimizer.param_groups[0]["lr"] = config.lr * min((run.step + 1) / 30, 1 - run.done)
    optimizer.zero_grad(set_to_none=True)
    for number in torch.randint(len(maps), (config.batch,), generator=run.generator).tolist():
        bpp = bits(model, maps[number], config.rate_tokens).sum()
        value = bpp.item()
        (bpp * (HALF_RATE / max(value, LEAST_RATE)) ** config.exponent / config.batch).backward()
        run.mean_loss = value if run.mean_loss is None else 0.99 * run.mean_loss + 0.01 * value
    if not torch.isfinite(nn.utils.clip_grad_norm_(model.prior.parameters(), 0.25)):
        raise run.diverged()
    optimizer.step()
    run.advance()
    run.average()
    if run.log_is_due:
        run.log({"seconds": round(run.seconds, 1), "bpp": round(run.mean_loss or 0.0, 5)})


def _to_train(config: PriorConfig, base: LoadedModel) -> CodecModel:
    """The base's networks, with what the config adds to the prior.

    Passes and channels leave the function as it was at first; gates are next to nothing, 2^-6 nats. New channels are
    drawn from torch's own generator.
    """
    wanted = {"passes": config.passes, "gates": config.gates, "prior_channels": config.channels}
    shape = replace(base.config, **{key: value for key, value in wanted.items() if value is not None})
    if shape == base.config:
        return copy.deepcopy(base.networks)  # the loaded one is everyone's
    model = CodecModel(shape)
    load_grown(model_folder(config.base), shape, model)
    return model.eval().requires_grad_(False)


def bits(model: CodecModel, tokens: TokenMap, rate_tokens: int | None = None) -> Tensor:
    """Bits per pixel of each stage that is sent, (stages,), differentiable in the prior's parameters."""
    size = (tokens.height, tokens.width)
    codes, quality = [code.float() for code in tokens.codes], torch.tensor([tokens.quality])
    layout = TokenLayout(model.config, tokens.quality, size)
    found = model.rates(codes, quality, *size, rate_tokens, layout=layout)
    return found.bits[0] / (tokens.height * tokens.width)


@torch.no_grad()
def _bits_per_pixel(model: CodecModel, maps: Sequence[TokenMap]) -> dict[str, float]:
    """Mean bits per pixel at each quality."""
    rates: dict[str, list[float]] = {}
    for tokens in maps:
        rates.setdefault(f"q{tokens.quality:g}", []).append(bits(model, tokens).sum().item())
    return {quality: round(sum(values) / len(values), 5) for quality, values in rates.items()}
