"""The codec's networks in one module: analysis, quantizer, synthesis, prior.

x ─▶ g_a ─▶ e ─▶ z ─▶ quantize ─▶ codes ─▶ g_s ─▶ x̂
                 ▲                  │  │
                 └── state of g_s ◀─┘  └─▶ prior ─▶ p(codes) ─▶ rate
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from leechcodec.config import ModelConfig
from leechcodec.networks.batch_rates import BatchRates, Rates, token_places
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.prior import FloatView, Prior
from leechcodec.networks.shapes import check_code
from leechcodec.networks.tiling import tiled
from leechcodec.networks.transforms import (
    AnalysisTransform,
    ChooseCodes,
    Quality,
    QualityVectors,
    SynthesisTransform,
    TokenStage,
    knot_weights,
)
from leechcodec.quantizers import make_quantizer


@dataclass
class Forward:
    """What one training pass gives."""

    x_hat: Tensor
    """(B, 3, H, W), values about -1..1."""
    rates: Rates
    entropy_loss: Tensor
    """Scalar: the quantizer's own penalty, mean over the stages; zero where it has none."""
    codebook_loss: Tensor
    """Scalar: what the quantizer minimises beside the codec's loss, mean over the stages; zero where nothing."""
    commitment: Tensor
    """(B,): squared distance of z from its code, in squared lengths of a codeword, summed over an image's tokens."""
    z: list[Tensor]
    """What was quantized, per stage: (n, h, w, dim), as the quantizer projects it, of the n images sent that stage."""
    codes: list[Tensor]
    """Per stage: (n, dim, h, w)."""


class CodecModel(nn.Module):
    """Networks of one config. Tensors in and out; bytes are the business of leechcodec.codec."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = make_quantizer(config.quantizer)
        self.analysis = AnalysisTransform(config)
        self.synthesis = SynthesisTransform(config, self.quantizer.dim)
        self.prior = Prior(config, self.quantizer)
        check_code(config, self.quantizer)
        self.code_scale = self.quantizer.code_scale

    # --- batches, for training --------------------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        quality: Tensor,
        rate_tokens: int | None = None,
        penalties: bool = True,
        images: Sequence[int] | None = None,
    ) -> Forward:
        """Code and reconstruct a batch with gradients for every part.

        x: (B, 3, H, W) in -1..1, H and W multiples of 64.
        quality: (B,) dial values 1..100, none above the one before it, so that a stage concerns the batch's first
            images and no work is done for the others.
        rate_tokens: at most so many tokens of a stage's pass enter the rate term, sampled (None: all).
        penalties: whether the quantizer's entropy penalty is wanted, which LGQ computes over all codewords.
        images: what :meth:`images_sent` says of the qualities, where that is known: to ask would be a wait for an
            accelerator.
        Raises ValueError where quality rises and images is not given.
        """
        if images is None:
            images = self.images_sent(quality)
        q = QualityVectors(knot_weights(quality, self.config.quality_knots), self.analysis, self.synthesis)
        chosen = _BatchCodes(self, self.analysis(x, q), q, images, penalties)
        x_hat = self.synthesis(x.shape[2], x.shape[3], q, chosen.choose_codes)
        return Forward(
            x_hat=x_hat,
            rates=self.rates(chosen.codes, quality, x.shape[2], x.shape[3], rate_tokens),
            entropy_loss=torch.stack(chosen.entropy_losses).mean() if penalties else x.new_zeros(()),
            codebook_loss=torch.stack(chosen.codebook_losses).mean(),
            commitment=chosen.commitment(len(x)),
            z=chosen.projected,
            codes=chosen.codes,
        )

    def images_sent(self, quality: Tensor) -> list[int]:
        """How many of a batch's images are sent each stage, the first ones: of qualities (B,), not rising.

        A training pass sends every stage whole, ramp or not. Raises ValueError where qualities rise.
        """
        if (quality.diff() > 0).any():
            raise ValueError("the qualities of a batch must not rise")
        return [sum(value >= least for value in quality.tolist()) for least in self.config.min_quality]

    @torch.no_grad()
    def encode_batch(self, x: Tensor, quality: Tensor) -> list[Tensor]:
        """A batch's codes, float (n, dim, h, w) per stage. x, quality: as for :meth:`forward`."""
        weights = knot_weights(quality, self.config.quality_knots)
        chosen = _BatchCodes(self, self.analysis(x, weights), weights, self.images_sent(quality), penalties=False)
        self.synthesis(x.shape[2], x.shape[3], weights, chosen.choose_codes, stages=len(self.config.stage_scales))
        return chosen.codes

    def reconstruct(
        self, codes: list[Tensor], quality: Tensor, height: int, width: int, first: int = 0
    ) -> tuple[Tensor, list[Tensor]]:
        """x̂ (B, 3, height, width) and the bits of every token, (n, h, w) per stage, of codes already chosen.

        codes: as in :class:`Forward`.
        quality: (B,), not rising.
        first: bits of earlier stages are left at zero.
        """
        weights = knot_weights(quality, self.config.quality_knots)
        x_hat = self.synthesis(height, width, weights, self.given_codes(codes))
        return x_hat, self.rates(codes, quality, height, width, None, first).token_bits

    def given_codes(self, codes: Sequence[Tensor]) -> ChooseCodes:
        """Codes already chosen, as the synthesis takes them. codes: (n, dim, h, w) for each stage that is sent."""

        def choose_codes(stage: int, state: Tensor) -> Tensor | None:
            return codes[stage].float() * self.code_scale if stage < len(codes) else None

        return choose_codes

    @torch.no_grad()
    def calibrate(self, x: Tensor, quality: Tensor) -> None:
        """Set every stage's last layer from data: z of zero mean, spread over the whole code from the first step.

        Features have large means; without this most tokens start as one and the same codeword, and stay there.
        x, quality: a batch as for :meth:`forward`.
        """
        weights = knot_weights(quality, self.config.quality_knots)
        calibrate_stage = partial(self._calibrate_stage, self.analysis(x, weights), weights)
        self.synthesis(x.shape[2], x.shape[3], weights, calibrate_stage)

    def _calibrate_stage(self, features: dict[int, Tensor], weights: Tensor, stage: int, state: Tensor) -> Tensor:
        layers = cast(TokenStage, self.synthesis.stages[stage])
        z = layers.encode(features[self.config.stage_scales[stage]], state, weights)
        if z[:, 0].numel() > 1:  # one vector has no spread
            mean, spread = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp(min=1e-6)
            target = self.quantizer.initial_spread
            cast(Tensor, layers.to_z.bias).sub_(mean).mul_(target / spread)
            layers.to_z.weight.mul_((target / spread)[:, None, None, None])
            z = (z - mean[:, None, None]) * (target / spread)[:, None, None]
        _, code = self.quantizer.quantize(z.permute(0, 2, 3, 1), check=False)
        return code.permute(0, 3, 1, 2) * self.code_scale

    def rates(
        self,
        codes: list[Tensor],
        quality: Tensor,
        height: int,
        width: int,
        rate_tokens: int | None = None,
        first: int = 0,
        layout: TokenLayout | None = None,
        corner: tuple[int, int] | None = None,
    ) -> Rates:
        """What codes cost by the prior in floating point, differentiable.

        codes, quality, height, width, first: as for :meth:`reconstruct`.
        rate_tokens: as for :meth:`forward`.
        layout: count the tokens that such a file holds alone, all images being of its quality. None: every stage is
            sent whole, as in training.
        corner: top and left, in pixels, multiples of 64, of codes that are a window of a larger image's.
        """
        counted = BatchRates(
            self.config,
            self.quantizer,
            codes,
            quality,
            rate_tokens,
            first,
            layout,
            corner is not None,
        )
        window = None if corner is None else (*corner, height)
        images = [len(code) for code in codes] + [0] * (len(self.prior.stages) - len(codes))
        view = FloatView(self.prior, quality, window)
        self.prior.run(view, height, width, counted.code_pass, images)
        return counted.rates(*view.peak_and_excess())

    # --- one image, for coding --------------------------------------------------------------------------------

    def encode(self, x: Tensor, quality: float) -> list[Tensor]:
        """Codes of one image, coarse to fine: int8 (1, dim, h, w) for each stage that this quality sends.

        x: (1, 3, H, W), float in -1..1 or uint8, H and W multiples of 64.
        """
        return self._encode(x, quality, picture=False)[0]

    def encode_and_decode(self, x: Tensor, quality: float) -> tuple[list[Tensor], Tensor]:
        """What :meth:`encode` gives, and what :meth:`decode` makes of it, from one pass of the synthesis."""
        codes, x_hat = self._encode(x, quality, picture=True)
        return codes, cast(Tensor, x_hat)

    def _encode(self, x: Tensor, quality: float, picture: bool) -> tuple[list[Tensor], Tensor | None]:
        """picture: go on to it, or leave after the last stage sent."""
        height, width = x.shape[2:]
        layout = TokenLayout(self.config, quality, (height, width))
        weights = knot_weights(torch.tensor([quality], device=x.device), self.config.quality_knots)
        chosen = _ImageCodes(self, self.analysis(x, weights), weights, layout)
        stages = None if picture else layout.stages
        x_hat = self.synthesis(height, width, weights, chosen.choose_codes, stages=stages, in_place=True)
        return chosen.codes, x_hat

    def decode(self, codes: list[Tensor], height: int, width: int, quality: float) -> Tensor:
        """Image (1, 3, height, width), about -1..1, from the codes of its stages."""
        weights = knot_weights(self.synthesis.constant.new_tensor([quality]), self.config.quality_knots)
        return self.synthesis(height, width, weights, self.given_codes(codes), in_place=True)


class _BatchCodes:
    """Chooses a batch's codes with straight-through gradients, and keeps what the loss is made of."""

    def __init__(
        self, model: CodecModel, features: dict[int, Tensor], q: Quality, images: Sequence[int], penalties: bool
    ) -> None:
        self.model, self.features, self.q, self.images, self.penalties = model, features, q, images, penalties
        self.codes, self.projected = [], []
        self.entropy_losses, self.codebook_losses = [], []

    def choose_codes(self, stage: int, state: Tensor) -> Tensor | None:
        count, quantizer = self.images[stage], self.model.quantizer
        if not count:
            return None
        feature, q = self.features[self.model.config.stage_scales[stage]], self.q
        layers = cast(TokenStage, self.model.synthesis.stages[stage])
        if count < len(state):
            feature, state, q = feature[:count], state[:count], q[:count]
        z = layers.encode(feature, state, q).permute(0, 2, 3, 1)
        if self.penalties:
            self.entropy_losses.append(quantizer.entropy_loss(z.reshape(-1, quantizer.dim)))
        self.codebook_losses.append(quantizer.codebook_loss(z.reshape(-1, quantizer.dim)))
        self.projected.append(quantizer.project(z))
        _, code = quantizer.quantize_projected(self.projected[-1])
        self.codes.append(code.permute(0, 3, 1, 2))
        return self.codes[-1] * self.model.code_scale

    def commitment(self, images: int) -> Tensor:
        """Of each of so many images, (images,): :class:`Forward`'s."""
        dim, stages = self.model.quantizer.dim, len(self.model.config.stage_scales)
        z = torch.cat([projected.reshape(-1, dim) for projected in self.projected])
        codes = torch.cat([code.detach().permute(0, 2, 3, 1).reshape(-1, dim) for code in self.codes])
        distances = (z - codes).square().sum(1) / self.model.quantizer.norm_squared
        places = torch.cat([token_places(code, stage, stages) for stage, code in enumerate(self.codes)])
        return distances.new_zeros(images * stages).index_add(0, places, distances).view(images, stages).sum(1)


class _ImageCodes:
    """Chooses the codes of one image, tile by tile, and keeps them as integers."""

    def __init__(self, model: CodecModel, features: dict[int, Tensor], weights: Tensor, layout: TokenLayout) -> None:
        self.model, self.features, self.weights, self.layout = model, features, weights, layout
        self.codes = []

    def choose_codes(self, stage: int, state: Tensor) -> Tensor | None:
        if stage >= self.layout.stages:
            return None
        codes = tiled(partial(self._nearest, stage), state)
        sent = self.layout.mask(stage)
        if sent is not None:
            codes *= torch.from_numpy(sent).to(codes.device)
        self.codes.append(codes)
        return codes.float() * self.model.code_scale

    def _nearest(self, stage: int, part: Tensor, rows: slice) -> Tensor:
        feature = self.features[self.model.config.stage_scales[stage]][:, :, rows]
        layers = cast(TokenStage, self.model.synthesis.stages[stage])
        z = layers.encode(feature, part, self.weights)
        return self.model.quantizer.quantize(z.permute(0, 2, 3, 1), check=False)[0].permute(0, 3, 1, 2)
