"""What training minimises: the loss of a batch, and the networks that only training needs.

x ─▶ model ─┬─▶ x̂ ──▶ squared error, MS-SSIM, SSIMULACRA2, MAE, LPIPS, discriminator ─▶ D ─┐
            ├─▶ bits ───────────────────────────────────────────────────────────────▶ bpp ─┼─▶ loss
            └─▶ z, log Z ─▶ commitment, contest, Z-loss, alignment ────────────────────────┘

Whatever has weight zero in the settings is neither built nor computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.networks.model import CodecModel, Forward
from leechcodec.networks.ms_ssim import PER_SQUARED_ERROR, ms_ssim
from leechcodec.networks.ssimulacra2 import PER_SSIMULACRA2, ssimulacra2_distance
from leechcodec.training.alignment import Alignment
from leechcodec.training.discriminator import Discriminator, hinge_loss
from leechcodec.training.runner_up_loss import Draw, draw, runner_up_loss
from leechcodec.training.settings import TrainingConfig

PER_ABSOLUTE_ERROR = 3000.0
"""What MAE (values 0..1) weighs against 255² · MSE: they are equal at 30 dB (the released model's decoded sample has
255² · MSE = 17.0 · 255 · MAE at 27.2 dB, 10.8 · 255 · MAE at 30.9 dB)."""
PER_LPIPS = 330.0
"""What LPIPS weighs against 255² · MSE: their ratio on Kodak was 300 to 400 at every quality for the weights at -0.944
(docs/experiments.md), and is 475 (q = 1) to 291 (q = 85) for those at -1.011."""
USUAL_LOSS = 0.5
"""Of a crop of a photograph at any quality, about: squared error and rate with the weight of its quality."""
LEAST_LOSS = 0.01
"""Below it a picture weighs no more: of a flat one every bit would count thousandfold."""
MOST_MASKING = 4.0
"""How much more, and less, an error may weigh for what is around it: a flat picture has next to none."""
DISCRIMINATOR_LR = 3e-4
"""Peak rate of AdamW, with betas of 0.5 and 0.99, for the discriminator: as for the second decoder (perceptual.py)."""


@dataclass
class BatchLoss:
    """A batch's loss, and what is worth logging."""

    loss: Tensor
    """Scalar, of the model."""
    codec_loss: Tensor
    """Scalar, squared error and rate alone: never negative, which penalties, contests and a discriminator may be."""
    mse: Tensor
    """(B,), values 0..1."""
    bpp: Tensor
    """(B,)."""
    stage_bits: Tensor
    """(B, stages)."""
    discriminator_loss: Tensor | None = None
    """Scalar, of the discriminator alone: no gradient of it reaches the model."""
    terms: dict[str, float | Tensor] = field(default_factory=dict)
    """Scalars to be logged: the prior's peak, and of optional terms of the loss what they are before their weights."""

    def backward(self) -> None:
        (self.loss if self.discriminator_loss is None else self.loss + self.discriminator_loss).backward()


class Objective:
    """The loss of a config's settings.

    lpips_weights, vf_weights: AlexNet's file or its folder (lpips_net.py), where the settings have lpips or
    vf_weight. Raises ConfigError where one is missing, ModelError for a file of another network, MissingPackageError
    where lpips is not installed. The global random state is left as it was.
    """

    def __init__(
        self,
        config: ModelConfig,
        settings: TrainingConfig,
        dim: int,
        *,
        lpips_weights: Path | None = None,
        vf_weights: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.settings = config, settings
        self.trained = nn.ModuleDict()
        """Networks trained beside the model, kept in checkpoints."""
        if lpips_weights and not settings.lpips:
            raise ConfigError("--lpips-weights is of a config with lpips")
        if vf_weights and not settings.vf_weight:
            raise ConfigError("--vf-weights is of a config with vf_weight")
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            if settings.lpips:
                from leechcodec.training.lpips_net import Lpips  # lpips is an extra

                self.lpips = Lpips(_given(lpips_weights, "lpips", "--lpips-weights")).net.to(device)
            if settings.adversarial:
                self.trained["discriminator"] = Discriminator().to(device)
            if settings.vf_weight:
                weights = _given(vf_weights, "vf_weight", "--vf-weights")
                self.trained["alignment"] = Alignment(config, dim, weights, device)

    def parameter_groups(self) -> list[dict]:
        """For AdamW, one a network."""
        own = {"discriminator": {"lr": DISCRIMINATOR_LR, "betas": (0.5, 0.99)}}
        return [{"params": list(part.parameters())} | own.get(name, {}) for name, part in self.trained.items()]

    def average_gradients(self, world: int) -> None:
        """Over the processes, since no DistributedDataParallel wraps these networks."""
        for parameter in self.trained.parameters() if world > 1 else ():
            dist.all_reduce(parameter.grad)
            parameter.grad /= world

    def gradients_are_finite(self) -> bool:
        """Of the networks beside the model."""
        return all(bool(torch.isfinite(parameter.grad).all()) for parameter in self.trained.parameters())

    def __call__(
        self,
        model: nn.Module,
        batch: Tensor,
        quality: Tensor,
        step: int,
        images: Sequence[int] | None = None,
        drawn: Draw | None = None,
    ) -> BatchLoss:
        """model: a CodecModel, or one wrapped for several devices. batch: uint8 (B, 3, H, W). quality: (B,), not
        rising. step: of the run, 0 for the first. images, drawn: how many are sent each stage, and which tokens are
        contested; drawn, and asked of the qualities, where not given; to ask is a wait for the device."""
        settings = self.settings
        bare = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        if images is None:
            images = bare.images_sent(quality)
        if drawn is None and settings.contest:
            drawn = draw(self.config, images, batch.shape[2])
        x = batch.float() / 127.5 - 1
        with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            out = model(
                x.contiguous(memory_format=torch.channels_last),
                quality,
                settings.rate_tokens,
                settings.entropy_weight > 0,
                images,
            )
        x_hat, terms = out.x_hat.float(), {"prior_peak": out.rates.peak}
        mse = (x_hat - x).square().mean((1, 2, 3)) / 4
        pixels = x.shape[2] * x.shape[3]
        bpp, commitment = out.rates.bits.sum(1) / pixels, settings.commitment * out.commitment / pixels
        precise = quality.to(torch.float32 if quality.device.type == "mps" else torch.float64)
        lmbda = self.config.lmbda(precise).float()
        weight = (lmbda / (self.config.lmbda_min * self.config.lmbda_max) ** 0.5) ** -settings.loss_exponent
        rate_weight = settings.rate_weight(step)
        squared, rate = 255**2 * mse, rate_weight * bpp
        distortion = self._distortion(x, x_hat, squared, terms)
        if settings.masking:
            distortion = distortion * _masking(squared.detach(), weight * lmbda, settings.masking)
        if settings.adversarial and step >= settings.adversarial_start:
            distortion = distortion - settings.adversarial * PER_LPIPS * self._verdict(x_hat)
        losses = lmbda * distortion + rate + commitment
        if settings.contest:
            change = self._contest(bare, x, quality, out, lmbda, drawn, rate_weight)
            losses = losses + settings.contest * change / pixels
        own = (weight * (lmbda * squared + rate)).detach()
        share = (USUAL_LOSS / own.clamp(min=LEAST_LOSS)) ** settings.picture_exponent
        loss, codec_loss = (share * weight * losses).mean(), own.mean()
        loss = loss + self._penalties(out, len(x) * pixels, terms)
        if settings.vf_weight:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                terms["vf"] = self.trained["alignment"](x, out.z)
            loss = loss + settings.vf_weight * terms["vf"]
        judged = hinge_loss(self.trained["discriminator"], x, x_hat) if settings.adversarial else None
        if judged is not None:
            terms["judged"] = judged
        terms = {name: value.detach() for name, value in terms.items()}
        return BatchLoss(loss, codec_loss, mse.detach(), bpp.detach(), out.rates.bits.detach(), judged, terms)

    def _distortion(self, x: Tensor, x_hat: Tensor, squared: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """(B,), in units of 255² · MSE. x, x_hat: (B, 3, H, W) in -1..1. squared: (B,)."""
        settings, result = self.settings, squared
        if settings.similarity:
            unlike = 1 - ms_ssim(x / 2 + 0.5, x_hat / 2 + 0.5)
            result = squared.lerp(PER_SQUARED_ERROR * unlike, settings.similarity)
        if settings.ssimulacra2:
            distance = ssimulacra2_distance(x / 2 + 0.5, x_hat / 2 + 0.5)
            terms["ssimulacra2"] = distance.mean()
            result = result + settings.ssimulacra2 * (PER_SSIMULACRA2 * distance - squared)
        if settings.mae:
            absolute = (x_hat - x).abs().mean((1, 2, 3)) / 2
            result = result + settings.mae * (PER_ABSOLUTE_ERROR * absolute - squared)
        if settings.lpips:
            unlike = self.lpips(x_hat, x).reshape(-1)
            terms["lpips"] = unlike.mean()
            result = result + settings.lpips * (PER_LPIPS * unlike - squared)
        return result

    def _penalties(self, out: Forward, pixels: int, terms: dict[str, Tensor]) -> Tensor:
        """Of the quantizer and the prior, a scalar. pixels: of the whole batch."""
        settings = self.settings
        loss = settings.entropy_weight * out.entropy_loss + out.codebook_loss
        if settings.z_loss:
            terms["z_loss"] = torch.cat(out.rates.log_partitions).square().mean()
            loss = loss + settings.z_loss * terms["z_loss"]
        if settings.activation_penalty:
            loss = loss + settings.activation_penalty * out.rates.excess / pixels
        if settings.score_penalty:
            loss = loss + settings.score_penalty * out.rates.squares / pixels
        return loss

    def _verdict(self, x_hat: Tensor) -> Tensor:
        """How real each picture looks to the discriminator as it is, (B,)."""
        discriminator = self.trained["discriminator"].requires_grad_(False)
        verdict = discriminator(x_hat).mean((1, 2, 3))
        discriminator.requires_grad_(True)
        return verdict

    def _contest(
        self,
        model: CodecModel,
        x: Tensor,
        quality: Tensor,
        out: Forward,
        lmbda: Tensor,
        drawn: Draw,
        rate_weight: float,
    ) -> Tensor:
        weight = self.settings.squared_share * lmbda * 255**2 / 4
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            x = x.contiguous(memory_format=torch.channels_last)
            return runner_up_loss(model, x, quality, out, weight, drawn, rate_weight)


def _masking(squared: Tensor, weight: Tensor, exponent: float) -> Tensor:
    """(B,): how much an error weighs in each picture, more than 1 where it has less of it than is usual.

    squared: (B,), 255² · MSE. weight: (B,), of the squared error in the loss, of which it usually is the half.
    """
    return (USUAL_LOSS / 2 / (weight * squared)).pow(exponent).clamp(1 / MOST_MASKING, MOST_MASKING)


def _given(weights: Path | None, setting: str, option: str) -> Path:
    if weights is None:
        raise ConfigError(f"a config with {setting} needs {option}")
    return weights
