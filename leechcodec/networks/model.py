"""The codec's networks in one module: analysis, quantizer, synthesis, prior.

x ─▶ g_a ─▶ e ─▶ z ─▶ quantize ─▶ codes ─▶ g_s ─▶ x̂
                 ▲                  │  │
                 └── state of g_s ◀─┘  └─▶ prior ─▶ p(codes) ─▶ rate
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.networks.layout import positions_sent
from leechcodec.networks.prior import FloatView, Prior, drive
from leechcodec.networks.tiling import in_bands
from leechcodec.networks.transforms import AnalysisTransform, SynthesisTransform, TokenStage, knot_weights
from leechcodec.quantizers import make_quantizer

ALIGNMENT = STRIDES[0]
"""Images are padded to multiples of the coarsest stride."""


@dataclass
class Forward:
    """What one training pass gives. Rates are estimates where tokens were sampled, unbiased."""

    x_hat: Tensor
    """(B, 3, H, W), values about -1..1."""
    stage_bits: Tensor
    """(B, stages): bits of each stage of each image, zero where the stage is not sent."""
    entropy_loss: Tensor
    """Scalar: the quantizer's own penalty, mean over the stages; zero where it has none."""
    codebook_loss: Tensor
    """Scalar: what the quantizer minimises beside the codec's loss, mean over the stages; zero where nothing."""
    commitment: Tensor
    """(B,): squared distance of z from its code, in squared lengths of a codeword, summed over an image's tokens."""
    z: list[Tensor]
    """What was quantized, a stage: (n, h, w, dim), as the quantizer projects it, of the n images sent that stage."""
    codes: list[Tensor]
    """A stage: (n, dim, h, w)."""
    token_bits: list[Tensor]
    """A stage: (n, h, w), zero where a token was not sampled."""
    log_partitions: list[Tensor]
    """A pass of the prior: log Z in nats of the tokens that entered the rate term, (tokens,)."""


class CodecModel(nn.Module):
    """Networks of one config. Tensors in and out; bytes are the business of api.py."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = make_quantizer(config.quantizer)
        self.analysis = AnalysisTransform(config)
        self.synthesis = SynthesisTransform(config, self.quantizer.dim)
        self.prior = Prior(config, self.quantizer)
        if config.ramp and not self.quantizer.origin:
            raise ConfigError(f"a ramp needs a code that says nothing: leech-ball has one, {config.quantizer} none")
        self.code_scale = (self.quantizer.dim / self.quantizer.norm_squared) ** 0.5

    def forward(
        self,
        x: Tensor,
        quality: Tensor,
        rate_tokens: int | None = None,
        penalties: bool = True,
        images: Sequence[int] | None = None,
    ) -> Forward:
        """Code and reconstruct a batch with gradients for every part.

        x: (B, 3, H, W) in -1..1, H and W multiples of 64. quality: (B,) dial values 1..100, none above the one before
        it, so that a stage concerns the batch's first images and no work is done for the others.
        rate_tokens: at most so many tokens a stage pass enter the rate term, sampled (None: all). penalties: whether
        the quantizer's entropy penalty is wanted, which LGQ computes over all codewords. images: what
        :meth:`images_sent` says of the qualities, where that is known: to ask would be a wait for an accelerator.
        Raises ValueError where quality rises and images is not given.
        """
        if images is None:
            images = self.images_sent(quality)
        codes, entropy_losses, codebook_losses, distances, projected = [], [], [], [], []

        def answer(index: int, stage: TokenStage, state: Tensor) -> Tensor | None:
            count = images[index]
            if not count:
                return None
            feature = features[self.config.stage_scales[index]][:count]
            z = stage.encode(feature, state[:count], weights[:count]).permute(0, 2, 3, 1)
            if penalties:
                entropy_losses.append(self.quantizer.entropy_loss(z.reshape(-1, self.quantizer.dim)))
            codebook_losses.append(self.quantizer.codebook_loss(z.reshape(-1, self.quantizer.dim)))
            _, code = self.quantizer.quantize(z, check=False)
            projected.append(self.quantizer.project(z))
            distance = (projected[-1] - code.detach()).square().sum((1, 2, 3))
            distances.append(F.pad(distance / self.quantizer.norm_squared, (0, len(x) - count)))
            codes.append(code.permute(0, 3, 1, 2))
            return codes[-1] * self.code_scale

        weights = knot_weights(quality, self.config.quality_knots)
        features = self.analysis(x, weights)
        x_hat = self.synthesis(x.shape[2], x.shape[3], weights, answer)
        bits, token_bits, log_partitions = self.rates(codes, quality, x.shape[2], x.shape[3], rate_tokens)
        return Forward(
            x_hat=x_hat,
            stage_bits=bits,
            entropy_loss=torch.stack(entropy_losses).mean() if penalties else x.new_zeros(()),
            codebook_loss=torch.stack(codebook_losses).mean(),
            commitment=torch.stack(distances).sum(0),
            z=projected,
            codes=codes,
            token_bits=token_bits,
            log_partitions=log_partitions,
        )

    def images_sent(self, quality: Tensor) -> list[int]:
        """How many of a batch's images are sent each stage, the first ones: of qualities (B,), not rising.

        Raises ValueError where they rise.
        """
        if (quality.diff() > 0).any():
            raise ValueError("the qualities of a batch must not rise")
        return [sum(value >= least for value in quality.tolist()) for least in self.config.min_quality]

    def reconstruct(
        self, codes: list[Tensor], quality: Tensor, height: int, width: int, first: int = 0, partly: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """x̂ (B, 3, height, width) and the bits of every token, (n, h, w) a stage, of codes already chosen.

        codes: as in :class:`Forward`. quality: (B,), not rising. first: bits of earlier stages are left at zero.
        partly: count the tokens that a file holds alone (layout.py), all images being of one quality; a training pass
        sends every stage whole.
        """

        def answer(index: int, stage: TokenStage, state: Tensor) -> Tensor | None:
            return codes[index] * self.code_scale if index < len(codes) else None

        x_hat = self.synthesis(height, width, knot_weights(quality, self.config.quality_knots), answer)
        return x_hat, self.rates(codes, quality, height, width, None, first, partly)[1]

    @torch.no_grad()
    def calibrate(self, x: Tensor, quality: Tensor) -> None:
        """Set every stage's last layer from data: z of zero mean, spread over the whole code from the first step.

        Features have large means; without this most tokens start as one and the same codeword, and stay there.
        x, quality: a batch as for :meth:`forward`.
        """
        weights = knot_weights(quality, self.config.quality_knots)
        features = self.analysis(x, weights)

        def answer(index: int, stage: TokenStage, state: Tensor) -> Tensor:
            z = stage.encode(features[self.config.stage_scales[index]], state, weights)
            if z[:, 0].numel() > 1:  # one vector has no spread
                mean, spread = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp(min=1e-6)
                target = self.quantizer.initial_spread
                stage.to_z.bias.sub_(mean).mul_(target / spread)
                stage.to_z.weight.mul_((target / spread)[:, None, None, None])
                z = (z - mean[:, None, None]) * (target / spread)[:, None, None]
            _, code = self.quantizer.quantize(z.permute(0, 2, 3, 1), check=False)
            return code.permute(0, 3, 1, 2) * self.code_scale

        self.synthesis(x.shape[2], x.shape[3], weights, answer)

    def rates(
        self,
        codes: list[Tensor],
        quality: Tensor,
        height: int,
        width: int,
        rate_tokens: int | None = None,
        first: int = 0,
        partly: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Bits of every stage of every image, (B, stages), differentiable, and of every token, (n, h, w) a stage; log Z
        as in :class:`Forward`. Arguments as for :meth:`reconstruct` and :meth:`forward`."""
        batch, stages, device = len(quality), len(self.prior.stages), quality.device
        images = [len(code) for code in codes] + [0] * (stages - len(codes))
        token_maps = [code.new_zeros(code.shape[0] * code.shape[2] * code.shape[3]) for code in codes]
        passes = [0] * stages
        bits, log_partitions = [torch.zeros(batch, device=device) for _ in range(stages)], []

        def answer(stage: int, mask: Tensor | None, params: Tensor) -> Tensor:
            count, _, h, w = codes[stage].shape
            code = codes[stage] if mask is None else codes[stage] * mask
            if stage < first:
                return code
            if partly and (some := positions_sent(self.config, stage, quality[0].item(), h, w)) is not None:
                where = some.to(device) if mask is None else some.to(device) & mask
                (rows,) = where.expand(count, h, w).reshape(-1).nonzero(as_tuple=True)
            else:
                rows = _rows(count, h, w, mask, passes[stage], device)
                passes[stage] += 1
            total = len(rows)
            if rate_tokens is not None and total > rate_tokens:
                rows = rows[torch.randperm(total, device=device)[:rate_tokens]]
            flat_params = params.permute(0, 2, 3, 1).reshape(-1, self.prior.num_params)[rows]
            flat_codes = code.permute(0, 2, 3, 1).reshape(-1, self.quantizer.dim)[rows]
            token_bits, log_z = self.quantizer.bits_and_log_partition(
                flat_params.float().reshape(-1, self.quantizer.dim, self.quantizer.params_per_coordinate), flat_codes
            )
            log_partitions.append(log_z)
            token_maps[stage][rows] = token_bits.detach()
            summed = torch.zeros(batch, device=device).index_add(0, rows // (h * w), token_bits)
            bits[stage] = bits[stage] + summed * (total / max(len(rows), 1))
            return code

        drive(self.prior.walk(FloatView(self.prior, quality), height, width, images), answer)
        token_maps = [flat.reshape(-1, *code.shape[2:]) for flat, code in zip(token_maps, codes, strict=True)]
        return torch.stack(bits, 1), token_maps, log_partitions

    def encode(self, x: Tensor, quality: float) -> list[Tensor]:
        """Codes of one image, coarse to fine: int8 (1, dim, h, w) for each stage that this quality sends.

        x: (1, 3, H, W), float in -1..1 or uint8, H and W multiples of 64.
        """
        return self._encode(x, quality, picture=False)[0]

    def encode_and_decode(self, x: Tensor, quality: float) -> tuple[list[Tensor], Tensor]:
        """What :meth:`encode` gives, and what :meth:`decode` makes of it, from one walk."""
        return self._encode(x, quality, picture=True)

    def _encode(self, x: Tensor, quality: float, picture: bool) -> tuple[list[Tensor], Tensor | None]:
        """picture: go on to it, or leave after the last stage sent."""
        sent = self.config.stages_sent(quality)
        weights = knot_weights(torch.tensor([quality], device=x.device), self.config.quality_knots)
        features = self.analysis(x, weights)
        codes = []

        def answer(index: int, stage: TokenStage, state: Tensor) -> Tensor | None:
            if index >= sent:
                return None
            feature = features[self.config.stage_scales[index]]

            def nearest(part: Tensor, rows: slice) -> Tensor:
                z = stage.encode(feature[:, :, rows], part, weights)
                return self.quantizer.quantize(z.permute(0, 2, 3, 1), check=False)[0].permute(0, 3, 1, 2)

            codes.append(in_bands(nearest, state))
            some = positions_sent(self.config, index, quality, *state.shape[2:])
            if some is not None:
                codes[-1] *= some.to(x.device)
            return codes[-1].float() * self.code_scale

        stages = None if picture else sent
        x_hat = self.synthesis(x.shape[2], x.shape[3], weights, answer, stages=stages, in_place=True)
        return codes, x_hat

    def decode(self, codes: list[Tensor], height: int, width: int, quality: float) -> Tensor:
        """Image (1, 3, height, width), about -1..1, from the codes of its stages."""
        weights = knot_weights(self.synthesis.constant.new_tensor([quality]), self.config.quality_knots)

        def answer(index: int, stage: TokenStage, state: Tensor) -> Tensor | None:
            return codes[index].float() * self.code_scale if index < len(codes) else None

        return self.synthesis(height, width, weights, answer, in_place=True)


def _rows(count: int, height: int, width: int, mask: Tensor | None, parity: int, device: torch.device) -> Tensor:
    """Where a pass has tokens, in count maps one behind the other: int64 (n,).

    mask: prior.checkerboard's of that parity, or None for everywhere. How many places it has is known: to ask would be
    a wait for an accelerator.
    """
    cells = height * width
    if mask is None:
        return torch.arange(count * cells, device=device)
    places = mask.reshape(-1).logical_not().to(torch.uint8).argsort(stable=True)[: (cells + 1 - parity) // 2]
    return (torch.arange(count, device=device)[:, None] * cells + places).reshape(-1)
