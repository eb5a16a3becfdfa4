"""A second decoder for the same files: pictures that look right, in place of pictures that measure right.

x ─▶ released model, frozen ─▶ codes ─▶ g_s, its fine scales trained ─▶ x̂ ─┬─▶ MAE + LPIPS with x
                                                                          └─▶ discriminator ─▶ "real or decoded?"

The tokens stay those of the released model, so any file decodes either way. Zhao et al., arXiv 2512.14697, train with
these losses.
"""

import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from leechcodec.codec.model_store import load_model, save_decoder
from leechcodec.errors import ConfigError
from leechcodec.networks.model import CodecModel
from leechcodec.networks.transforms import SynthesisTransform, knot_weights
from leechcodec.training.data import Cropper, load_images
from leechcodec.training.discriminator import Discriminator, hinge_loss
from leechcodec.training.loop import TrainingError, check_device, log_row
from leechcodec.training.precision import check_precision, choose_precision
from leechcodec.training.settings import read_tables
from leechcodec.training.state import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class PerceptualConfig:
    """How a decoder is trained on a model's tokens: the [perceptual] table of a config file.

    Loss of a batch: mae · |x - x̂| + lpips · LPIPS - adversarial · D(x̂), values in -1..1.
    """

    base: str = "leech-vbr"
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
    precision: str = "auto"
    validation_share: float = 0.02
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.crop < 64 or self.crop % 64:
            raise ConfigError("training needs steps >= 1, batch >= 1 and a crop that is a multiple of 64")
        if not 0 <= self.first_scale <= 4:
            raise ConfigError(f"first_scale must be 0..4, got {self.first_scale}")
        if not 1 <= self.quality_min <= self.quality_max <= 100:
            raise ConfigError("need 1 <= quality_min <= quality_max <= 100")
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
    return PerceptualConfig(**tables["perceptual"])


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

    data: folders or tar files of images. lpips_weights: the LPIPS backbone, a file or its folder. Raises ConfigError,
    ModelError, and TrainingError where it diverges.
    """
    from leechcodec.training.lpips_net import Lpips  # lpips is an extra

    if threads:
        torch.set_num_threads(threads)
    check_device(device)
    config = replace(config, precision=choose_precision(config.precision, device))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    lpips = Lpips(lpips_weights).net.to(device)
    base = copy.deepcopy(load_model(config.base).networks).to(device)  # the loaded one is everyone's
    networks = PerceptualNetworks(base).to(device).to(memory_format=torch.channels_last)
    synthesis, discriminator = networks.synthesis.requires_grad_(False), networks.discriminator
    names = trained_names(synthesis, config.first_scale)
    trained = [synthesis.get_parameter(name).requires_grad_() for name in names]
    optimizers = {
        "adam": torch.optim.AdamW(trained, lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0),
        "discriminator": torch.optim.AdamW(discriminator.parameters(), lr=config.discriminator_lr, betas=(0.5, 0.99)),
    }
    ema = {name: p.detach().clone() for name, p in networks.named_parameters()}
    generator = torch.Generator().manual_seed(config.seed)
    path, step, seconds = out / "checkpoint.safetensors", 0, 0.0
    if resume:
        step, seconds, _ = load_checkpoint(path, base.config, networks, ema, optimizers, generator)
    training, _ = load_images(data, validation_share=config.validation_share, threads=threads or 1)
    crops = Cropper([image.to(device) for image in training], generator)

    def pictures(batch: Tensor) -> tuple[Tensor, Tensor]:
        x = (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        draws = torch.rand(len(x), generator=generator).sort(descending=True).values
        quality = (config.quality_min + (config.quality_max - config.quality_min) * draws).to(device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            codes = base.encode_batch(x, quality)
            weights = knot_weights(quality, base.config.quality_knots)
            return x, synthesis(x.shape[2], x.shape[3], weights, base.given_codes(codes)).float()

    last_save = time.monotonic()
    started = last_save - seconds
    progress = tqdm(total=config.steps, initial=step, disable=not sys.stderr.isatty(), unit="step")
    while step < config.steps:
        factor = config.rate_factor(step)
        optimizers["adam"].param_groups[0]["lr"] = config.lr * factor
        optimizers["discriminator"].param_groups[0]["lr"] = config.discriminator_lr * factor
        x, x_hat = pictures(crops(config.batch, config.crop))

        discriminator.requires_grad_(True)
        judged = hinge_loss(discriminator, x, x_hat)
        if not torch.isfinite(judged):
            raise TrainingError(f"diverged at step {step + 1}: {path} is from before")
        judged.backward()
        optimizers["discriminator"].step()
        discriminator.requires_grad_(False)

        mae, similarity = (x - x_hat).abs().mean(), lpips(x_hat, x).mean()
        loss = config.mae * mae + config.lpips * similarity
        if step >= config.adversarial_start:
            loss = loss - config.adversarial * discriminator(x_hat).mean()
        loss.backward()
        if not torch.isfinite(nn.utils.clip_grad_norm_(trained, 1.0)):
            raise TrainingError(f"diverged at step {step + 1}: {path} is from before")
        optimizers["adam"].step()
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        step += 1
        with torch.no_grad():
            share = 1 - min(config.ema, (step + 1) / (step + 10))
            for name, parameter in networks.named_parameters():
                ema[name].lerp_(parameter, share)
        progress.update()
        if step % 50 == 0:
            row = {"step": step, "seconds": round(time.monotonic() - started, 1), "mae": round(mae.item(), 4)}
            log_row(out, row | {"lpips": round(similarity.item(), 4), "judged": round(judged.item(), 3)})
        if step == config.steps or time.monotonic() - last_save > 60 * config.checkpoint_minutes:
            elapsed = time.monotonic() - started
            save_checkpoint(path, base.config, networks, ema, optimizers, generator, step, elapsed, None)
            last_save = time.monotonic()
    progress.close()
    blended = {name: base.synthesis.get_parameter(name).lerp(ema[f"synthesis.{name}"], config.blend) for name in names}
    save_decoder(out / "model", config.base, blended)
