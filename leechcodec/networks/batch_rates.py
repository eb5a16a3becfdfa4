"""What a batch's codes cost by the prior in floating point, for training and refinement.

pass of the prior ─▶ params at its tokens ─▶ p(code) ─▶ bits of tokens, stages, images
                                            log Z
"""

from typing import NamedTuple

import torch
from torch import Tensor

from leechcodec.config import ModelConfig
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.passes import pass_size
from leechcodec.quantizers.base import Quantizer


class Rates(NamedTuple):
    """What codes cost. Estimates where tokens were sampled, unbiased."""

    bits: Tensor
    """(B, stages): of every stage of every image, zero where it is not sent."""
    token_bits: list[Tensor]
    """Per stage: (n, h, w), zero where a token was not sampled."""
    log_partitions: list[Tensor]
    """Per pass of the prior: log Z in nats of the tokens that entered the rate term, (tokens,)."""
    peak: Tensor
    """Scalar: the prior's largest activation. It ends at 64; near it the prior is about to break."""
    excess: Tensor
    """Scalar: the sum of squares of what the prior's activations are beyond 32, half their limit."""
    squares: Tensor
    """Scalar: the sum of squares of all tokens' parameters."""


class BatchRates:
    """Adds up what given codes cost, pass by pass of the prior."""

    def __init__(
        self,
        config: ModelConfig,
        quantizer: Quantizer,
        codes: list[Tensor],
        quality: Tensor,
        rate_tokens: int | None,
        first: int,
        layout: TokenLayout | None,
        windowed: bool,
    ) -> None:
        self.config, self.quantizer, self.codes, self.device = config, quantizer, codes, quality.device
        self.rate_tokens, self.first, self.layout, self.windowed = rate_tokens, first, layout, windowed
        self.bits = [torch.zeros(len(quality), device=self.device) for _ in config.stage_scales]
        self.token_bits = [code.new_zeros(code.shape[0] * code.shape[2] * code.shape[3]) for code in codes]
        self.log_partitions: list[Tensor] = []
        self.squares = torch.zeros((), device=self.device)
        self._passes = [0] * len(codes)

    def code_pass(self, stage: int, mask: Tensor | None, params: Tensor) -> Tensor:
        code = self.codes[stage] if mask is None else self.codes[stage] * mask
        if stage < self.first:
            return code
        rows = self._rows(stage, mask)
        total, quantizer = len(rows), self.quantizer
        if self.rate_tokens is not None and total > self.rate_tokens:
            rows = rows[torch.randperm(total, device=self.device)[: self.rate_tokens]]
        tokens_each = total / max(len(rows), 1)
        flat_params = params.permute(0, 2, 3, 1).reshape(-1, quantizer.num_params)[rows].float()
        flat_codes = code.permute(0, 2, 3, 1).reshape(-1, quantizer.dim)[rows]
        token_bits, log_z = quantizer.bits_and_log_partition(
            flat_params.reshape(-1, quantizer.dim, quantizer.params_per_coordinate), flat_codes
        )
        self.squares = self.squares + flat_params.square().sum() * tokens_each
        self.log_partitions.append(log_z)
        self.token_bits[stage][rows] = token_bits.detach()
        image = rows // (code.shape[2] * code.shape[3])
        summed = torch.zeros_like(self.bits[stage]).index_add(0, image, token_bits)
        self.bits[stage] = self.bits[stage] + summed * tokens_each
        return code

    def rates(self, peak: Tensor, excess: Tensor) -> Rates:
        """Once all passes are through. peak, excess: of the prior's view."""
        maps = [flat.reshape(-1, *code.shape[2:]) for flat, code in zip(self.token_bits, self.codes, strict=True)]
        return Rates(torch.stack(self.bits, 1), maps, self.log_partitions, peak, excess, self.squares)

    def _rows(self, stage: int, mask: Tensor | None) -> Tensor:
        """Where a pass has tokens, in the images' maps one behind the other: int64 (n,)."""
        count, _, h, w = self.codes[stage].shape
        sent = None if self.layout is None else self.layout.mask(stage)
        if sent is not None:
            where = torch.from_numpy(sent).to(self.device)
            mask = where if mask is None else where & mask
        if mask is not None and (sent is not None or self.windowed):
            return mask.expand(count, h, w).reshape(-1).nonzero(as_tuple=True)[0]
        self._passes[stage] += 1
        size = pass_size(h, w, self.config.passes[stage], self._passes[stage] - 1)
        return _all_rows(count, h * w, mask, size, self.device)


def _all_rows(count: int, cells: int, mask: Tensor | None, size: int, device: torch.device) -> Tensor:
    """Where a pass has tokens, in count maps of so many cells one behind the other: int64 (n,).

    mask: of the pass, or None for everywhere. size: how many positions it has; to ask the mask would be a wait for an
    accelerator.
    """
    if mask is None:
        return torch.arange(count * cells, device=device)
    places = mask.reshape(-1).logical_not().to(torch.uint8).argsort(stable=True)[:size]
    return (torch.arange(count, device=device)[:, None] * cells + places).reshape(-1)
