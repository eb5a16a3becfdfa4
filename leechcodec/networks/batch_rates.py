"""What a batch's codes cost by the prior in floating point, for training and refinement.

passes of the prior ─▶ params at their tokens, gathered ─▶ p(code) ─▶ bits of tokens, stages, images
                                                           log Z
"""

from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from leechcodec.config import ModelConfig
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.passes import pass_size
from leechcodec.quantizers.base import Quantizer


class _Tokens(NamedTuple):
    """Of a pass: those that enter the rate term."""

    stage: int
    rows: Tensor | None
    """Where they are in the images' maps, one behind the other: int64 (n,). None: everywhere."""
    params: Tensor
    """(n, num_params)."""
    codes: Tensor
    """(n, dim)."""
    each: float
    """How many tokens of the pass each stands for."""


class Rates(NamedTuple):
    """What codes cost. Estimates where tokens were sampled, unbiased."""

    bits: Tensor
    """(B, stages): of every stage of every image, zero where it is not sent."""
    token_bits: list[Tensor]
    """Per stage: (n, h, w), zero where a token was not sampled."""
    log_partitions: list[Tensor]
    """log Z in nats of the tokens that entered the rate term, as they were gathered: (tokens,) each."""
    peak: Tensor
    """Scalar: the prior's largest activation. It ends at 64; near it the prior is about to break."""
    excess: Tensor
    """Scalar: the sum of squares of what the prior's activations are beyond 32, half their limit."""
    squares: Tensor
    """Scalar: the sum of squares of all tokens' parameters."""


GATHERED = 4096
"""Tokens whose probabilities are computed together on a processor: more would leave its cache. An accelerator takes all
of a batch at once, and starts a tenth of the kernels that it would for each pass by itself."""


class BatchRates:
    """Adds up what given codes cost, in the order of the prior's passes."""

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
        self.bits = torch.zeros(len(quality) * len(config.stage_scales), device=self.device)
        self.token_bits: dict[int, Tensor] = {}
        self.log_partitions: list[Tensor] = []
        self.squares = torch.zeros((), device=self.device)
        self._passes = [0] * len(codes)
        self._gathered: list[_Tokens] = []

    def code_pass(self, stage: int, mask: Tensor | None, params: Tensor) -> Tensor:
        code = self.codes[stage] if mask is None else self.codes[stage] * mask
        if stage < self.first:
            return code
        flat_params = params.permute(0, 2, 3, 1).reshape(-1, self.quantizer.num_params)
        flat_codes = code.permute(0, 2, 3, 1).reshape(-1, self.quantizer.dim)
        rows = self._rows(stage, mask)
        total = len(flat_codes) if rows is None else len(rows)
        if self.rate_tokens is not None and total > self.rate_tokens:
            chosen = torch.randperm(total, device=self.device)[: self.rate_tokens]
            rows = chosen if rows is None else rows[chosen]
        if rows is not None:
            flat_params, flat_codes = flat_params[rows], flat_codes[rows]
        gathered = sum(len(tokens.codes) for tokens in self._gathered)
        if self.device.type == "cpu" and gathered + len(flat_codes) > GATHERED:
            self._count()
        self._gathered.append(_Tokens(stage, rows, flat_params, flat_codes, total / max(len(flat_codes), 1)))
        return code

    def _count(self) -> None:
        """What the tokens gathered so far cost."""
        gathered, self._gathered, quantizer = self._gathered, [], self.quantizer
        if not gathered:
            return
        params = torch.cat([tokens.params for tokens in gathered]).float()
        token_bits, log_z = quantizer.bits_and_log_partition(
            params.reshape(-1, quantizer.dim, quantizer.params_per_coordinate),
            torch.cat([tokens.codes for tokens in gathered]),
        )
        self.log_partitions.append(log_z)
        sizes = [len(tokens.codes) for tokens in gathered]
        for tokens, own in zip(gathered, token_bits.detach().split(sizes), strict=True):
            if tokens.rows is None:
                self.token_bits[tokens.stage] = own
            else:
                self._bits_of(tokens.stage)[tokens.rows] = own
        squares = params.square().sum(1)
        if any(tokens.each != 1 for tokens in gathered):
            each = torch.cat([squares.new_full((len(tokens.codes),), tokens.each) for tokens in gathered])
            token_bits, squares = token_bits * each, squares * each
        self.bits = self.bits.index_add(0, self._places(gathered), token_bits)
        self.squares = self.squares + squares.sum()

    def _bits_of(self, stage: int) -> Tensor:
        """Of all its tokens, zero where none was counted yet: (tokens,)."""
        if stage not in self.token_bits:
            code = self.codes[stage]
            self.token_bits[stage] = code.new_zeros(code[:, 0].numel())
        return self.token_bits[stage]

    def _places(self, gathered: list[_Tokens]) -> Tensor:
        """Where tokens are added up: int64 (n,), image by image and stage by stage."""
        parts, stages = [], len(self.config.stage_scales)
        for tokens in gathered:
            code = self.codes[tokens.stage]
            if tokens.rows is None:
                parts.append(token_places(code, tokens.stage, stages))
            else:
                parts.append(tokens.rows // code[0, 0].numel() * stages + tokens.stage)
        return torch.cat(parts)

    def rates(self, peak: Tensor, excess: Tensor) -> Rates:
        """Once all passes are through. peak, excess: of the prior's view."""
        self._count()
        maps = [self._bits_of(stage).reshape(-1, *code.shape[2:]) for stage, code in enumerate(self.codes)]
        bits = self.bits.view(-1, len(self.config.stage_scales))
        return Rates(bits, maps, self.log_partitions, peak, excess, self.squares)

    def _rows(self, stage: int, mask: Tensor | None) -> Tensor | None:
        """Where a pass has tokens, in the images' maps one behind the other: int64 (n,). None: everywhere."""
        count, _, h, w = self.codes[stage].shape
        sent = None if self.layout is None else self.layout.mask(stage)
        if sent is not None:
            where = torch.from_numpy(sent).to(self.device)
            mask = where if mask is None else where & mask
        if mask is not None and (sent is not None or self.windowed):
            return mask.expand(count, h, w).reshape(-1).nonzero(as_tuple=True)[0]
        self._passes[stage] += 1
        size = pass_size(h, w, self.config.passes[stage], self._passes[stage] - 1)
        return None if mask is None else _all_rows(count, h * w, mask, size, self.device)


def token_places(code: Tensor, stage: int, stages: int) -> Tensor:
    """For every token of a stage's maps (n, dim, h, w) the number of its image · stages + stage: int64 (n · h · w,)."""
    kept = _places_for_now if code.device.type == "cpu" else _places_for_good
    return kept(len(code), code[0, 0].numel(), stage, stages, code.device)


@torch.inference_mode(False)  # kept, and used where gradients are wanted
def _token_places(images: int, cells: int, stage: int, stages: int, device: torch.device) -> Tensor:
    return torch.arange(images, device=device).repeat_interleave(cells) * stages + stage


_places_for_now = lru_cache(maxsize=64)(_token_places)
_places_for_good = cache(_token_places)
"""A recorded step (training/recorded.py) goes on reading them where they lie."""


def _all_rows(count: int, cells: int, mask: Tensor, size: int, device: torch.device) -> Tensor:
    """Where a pass has tokens, in count maps of so many cells one behind the other: int64 (n,).

    size: how many positions the pass has; to ask the mask would be a wait for an accelerator.
    """
    places = mask.reshape(-1).logical_not().to(torch.uint8).argsort(stable=True)[:size]
    return (torch.arange(count, device=device)[:, None] * cells + places).reshape(-1)
