"""A second decoder for the same files: pictures that look right, in place of pictures that measure right.

x ─▶ released model, frozen ─▶ codes ─▶ g_s, its fine scales trained ─▶ x̂ ─┬─▶ MAE + LPIPS with x
                                                                          └─▶ discriminator ─▶ "real or decoded?"

The tokens stay those of the released model, so any file decodes either way. Zhao et al., arXiv 2512.14697, train with
these losses.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leechcodec.codec.model_store import LoadedModel, load_model, save_decoder
from leechcodec.errors import ConfigError
from leechcodec.field_types import check_types
from leechcodec.networks.model import CodecModel
from leechcodec.networks.transforms import SynthesisTransform, knot_weights
from leechcodec.training.data import Cropper, load_images
from leechcodec.training.discriminator import Discriminator, hinge_loss
from leechcodec.training.precision import check_precision, choose_precision
from leechcodec.training.processes import check_device, refuse_several
from leechcodec.training.run import MODEL, Budget, Run, refuse_to_overwrite
from leechcodec.training.settings import check_ranges, read_tables

_NEVER_NEGATIVE = (
    "seed", "lr", "discriminator_lr", "mae", "lpips", "adversarial", "adversarial_start", "units",
    "checkpoint_minutes",
)  # fmt: skip


@dataclass(frozen=True)
class PerceptualConfig:
    """How a decoder is trained on a model's tokens: the [perceptual] table of a config file.

    Loss of a batch: mae · |x - x̂| + lpips · LPIPS - adversarial · D(x̂), values in -1..1.
    """

    base: str = "leech-open"
    """Name or folder of the released model."""
    steps: int = 4000
    batch: int = 8
    crop: int = 128
    seed: int = 1
    lr: float = 3e-4
    discriminator_lr: float = 3e-4
    mae: float = 4.0
    lpips: float = 1.0
    adversarial: float = 0.05
    adversarial_start: int = 500
    """The discriminator learns alone up to this step."""
    first_scale: int = 3
    """Blocks of the synthesis transform from this scale on (0..4: strides 64 to 4) are trained."""
    quality_min: float = 1.0
    quality_max: float = 70.0
    """Qualities are drawn evenly from this part of the dial: above it the two decoders differ little."""
    decay: float = 0.5
    """Share of the steps at the end over which the rates fall linearly to a twentieth."""
    ema: float = 0.998
    blend: float = 0.75
    """How far the decoder written goes from the released one's weights to those trained (Wang et al., "ESRGAN", arXiv
    1809.00219, "network interpolation"): all the way it is nearer to LPIPS and shows a fine hatching."""
    units: float = 0.0
    """Matrices of what is written are in levels, so many units in a row's root mean square; 0: nothing of 16 bits is
    lost."""
    precision: str = "auto"
    validation_share: float = 0.02
    """As the base was trained with, so that what it never saw stays so ..."""
    exclude: tuple[str, ...] = ()
    """... and its file names never trained on."""
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.steps < 1 or self.batch < 1 or self.crop < 64 or self.crop % 64:
            raise ConfigError("training needs steps >= 1, batch >= 1 and a crop that is a multiple of 64")
        if not 0 <= self.first_scale <= 4:
            raise ConfigError(f"first_scale must be 0..4, got {self.first_scale}")
        if not 1 <= self.quality_min <= self.quality_max <= 100:
            raise ConfigError("need 1 <= quality_min <= quality_max <= 100")
        check_ranges(self, shares=("decay", "ema", "validation_share"), numbers=_NEVER_NEGATIVE)
        if not 0 < self.blend <= 1:
            raise ConfigError(f"blend is a share, above 0 and up to 1, got {self.blend}")
        check_precision(self.precision)

    def rate_factor(self, step: int) -> float:
        """Learning rate at a step as a share of its peak."""
        return min(1.0, max(0.05, (self.steps - step) / max(1.0, self.decay * self.steps)))


def load_perceptual(path: Path) -> PerceptualConfig | None:
    """The [perceptual] table of a TOML file, None where it has none. Raises ConfigError for what it does not know."""
    tables = read_tables(path)
    if "perceptual" not in tables:
        return None
    if unknown := sorted(set(tables) - {"perceptual"}):
        raise ConfigError(f"{path}: [{unknown[0]}] beside [perceptual]: the base model fixes all else")
    known = {field.name for field in fields(PerceptualConfig)}
    if unknown := sorted(set(tables["perceptual"]) - known):
        raise ConfigError(f"{path}: unknown perceptual key {unknown[0]!r} (known: {', '.join(sorted(known))})")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in tables["perceptual"].items()}
    return PerceptualConfig(**values)


class PerceptualNetworks(nn.Module):
    """What is trained: a synthesis transform that starts as the released one, and the discriminator."""

    def __init__(self, base: CodecModel) -> None:
        super().__init__()
        self.synthesis = SynthesisTransform(base.config, base.quantizer.dim)
        self.synthesis.load_state_dict(base.synthesis.state_dict())
        self.discriminator = Discriminator()


def trained_names(synthesis: SynthesisTransform, first_scale: int) -> list[str]:
    """Parameters of the synthesis transform that are trained: blocks, upsampling and head of the fine scales."""
    prefixes = ["head."] + [f"blocks.{scale}." for scale in range(first_scale, 5)]
    prefixes += [f"up.{scale - 1}." for scale in range(max(1, first_scale), 5)]
    return [name for name, _ in synthesis.named_parameters() if name.startswith(tuple(prefixes))]


class _Pictures:
    """Crops, and what the decoder in training makes of the frozen model's codes of them."""

    def __init__(
        self, config: PerceptualConfig, base: CodecModel, synthesis: SynthesisTransform, crops: Cropper
    ) -> None:
        self.config, self.base, self.synthesis, self.crops = config, base, synthesis, crops

    def __call__(self) -> tuple[Tensor, Tensor]:
        """x and x̂, (B, 3, crop, crop) in -1..1. Qualities fall over the batch."""
        config = self.config
        batch = self.crops(config.batch, config.crop)
        x = (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        draws = torch.rand(len(x), generator=self.crops.generator).sort(descending=True).values
        quality = (config.quality_min + (config.quality_max - config.quality_min) * draws).to(x.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            codes = self.base.encode_batch(x, quality)
            weights = knot_weights(quality, self.base.config.quality_knots)
            return x, self.synthesis(x.shape[2], x.shape[3], weights, self.base.given_codes(codes)).float()


def train_perceptual(
    config: PerceptualConfig,
    data: Sequence[Path],
    out: Path,
    lpips_weights: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    device: str = "cpu",
) -> None:
    """Train a decoder; resumable. Writes out/checkpoint.safetensors, out/log.jsonl and, at the end, out/model.

    data: folders or tar files of images. lpips_weights: the LPIPS backbone, a file or its folder. resume: go on
    from out's checkpoint; without it there must be none. Raises ConfigError, ModelError, and TrainingError where it
    diverges.
    """
    from leechcodec.training.lpips_net import Lpips  # lpips is an extra

    refuse_several("a second decoder")
    if not resume:
        refuse_to_overwrite(out)
    if threads:
        torch.set_num_threads(threads)
    check_device(device)
    config = replace(config, precision=choose_precision(config.precision, device))
    torch.manual_seed(config.seed)
    lpips = Lpips(lpips_weights).net.to(device)
    base = copy.deepcopy(base_of(config, out).networks).to(device)  # the loaded one is everyone's
    networks = PerceptualNetworks(base).to(device)
    networks.to(memory_format=torch.channels_last)  # pyright: ignore (torch's types know no memory format here)
    synthesis = networks.synthesis.requires_grad_(False)
    names = trained_names(synthesis, config.first_scale)
    trained = [synthesis.get_parameter(name).requires_grad_() for name in names]
    generator = torch.Generator().manual_seed(config.seed)
    run = Run(
        out, base.config, networks, _optimizers(config, trained, networks.discriminator), generator,
        Budget(config.steps),
        ema=config.ema, checkpoint_minutes=config.checkpoint_minutes,
    )  # fmt: skip
    if resume:
        run.load()
    training, _ = load_images(
        data, validation_share=config.validation_share, exclude=config.exclude, threads=threads or 1
    )
    pictures = _Pictures(config, base, synthesis, Cropper([image.to(device) for image in training], generator))
    _train(config, run, trained, networks.discriminator, lpips, pictures)
    blended = {
        name: base.synthesis.get_parameter(name).lerp(run.averages[f"synthesis.{name}"], config.blend) for name in names
    }
    save_decoder(Path(out) / MODEL, config.base, blended, config.units or None)


def base_of(config: PerceptualConfig, out: Path) -> LoadedModel:
    """The model that the decoder is to go with. Raises ConfigError for one that no decoder can name."""
    base = load_model(config.base)
    if base.is_second_decoder:
        raise ConfigError(f"base is {config.base}, a second decoder: name the model that it goes with")
    if base.name == MODEL:
        raise ConfigError(f"base is a folder called {MODEL}, as {out}'s own will be: release it under another name")
    return base


def _optimizers(
    config: PerceptualConfig, trained: list[Tensor], discriminator: Discriminator
) -> dict[str, torch.optim.Optimizer]:
    judge = discriminator.parameters()
    return {
        "adam": torch.optim.AdamW(trained, lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0),
        "discriminator": torch.optim.AdamW(judge, lr=config.discriminator_lr, betas=(0.5, 0.99)),
    }


def _train(
    config: PerceptualConfig,
    run: Run,
    trained: list[Tensor],
    discriminator: Discriminator,
    lpips: nn.Module,
    pictures: _Pictures,
) -> None:
    """Steps of discriminator and decoder in turn until the run is done."""
    rates = {"adam": config.lr, "discriminator": config.discriminator_lr}
    with run:
        while run.done < 1:
            for name, optimizer in run.optimizers.items():
                optimizer.zero_grad(set_to_none=True)
                optimizer.param_groups[0]["lr"] = rates[name] * config.rate_factor(run.step)
            x, x_hat = pictures()
            judged = _teach(discriminator, run.optimizers["discriminator"], x, x_hat)
            mae, similarity = (x - x_hat).abs().mean(), lpips(x_hat, x).mean()
            loss = config.mae * mae + config.lpips * similarity
            if run.step >= config.adversarial_start:
                loss = loss - config.adversarial * discriminator(x_hat).mean()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(trained, 1.0)
            if not torch.isfinite(judged) or not torch.isfinite(norm):
                raise run.diverged()
            run.optimizers["adam"].step()
            run.advance()
            run.average()
            if run.log_is_due:
                row = {"seconds": round(run.seconds, 1), "mae": round(mae.item(), 4)}
                run.log(row | {"lpips": round(similarity.item(), 4), "judged": round(judged.item(), 3)})
            run.save_if_due()


def _teach(discriminator: Discriminator, optimizer: torch.optim.Optimizer, x: Tensor, x_hat: Tensor) -> Tensor:
    """A step of the discriminator, which is left frozen. Returns its loss."""
    discriminator.requires_grad_(True)
    judged = hinge_loss(discriminator, x, x_hat)
    judged.backward()
    optimizer.step()
    discriminator.requires_grad_(False)
    return judged.detach()
