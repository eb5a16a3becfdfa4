"""Contests: what would a token's neighbour have cost? The encoder's gradient by trying, not by differentiating.

z ─▶ nearest c ─────────────▶ L(c)  ─┐
 └─▶ nearest other code c' ─▶ L(c') ─┴▶ Δ = L(c') - L(c) ─▶ sigmoid(-margin / τ) · Δ

    margin = (|z - c'|² - |z - c|²) / 2n          n = |c|², and on a sphere this is z · (c - c') / n

A straight-through gradient is the slope of the loss at the code chosen. Codes are far apart (60° for Λ24-SQ), the loss
bends in between, and the rate jumps: at low rates a step along that slope makes things worse as often as better. Here
one token in four of one stage is replaced by its nearest other code, the loss is computed anew, and the difference
around each token says which of the two z should lean to. It is the exact gradient for a quantizer that takes the second
code with probability sigmoid(-margin / τ).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.networks.model import CodecModel, Forward

TEMPERATURE = 0.05
"""τ: a margin, as a share of a codeword's squared length, at which the second code would be taken with 27 %."""
LIMIT = 16.0
"""Bits: larger differences are clipped."""
PITCH = 2
"""One token in PITCH² is replaced at a time, on a grid, so that their surroundings overlap little."""


@dataclass(frozen=True)
class Draw:
    """Which tokens are contested: of one stage those of every PITCH-th row and column from these on."""

    stage: int
    row: int | Tensor
    """0..PITCH - 1, or a scalar tensor of it: a recorded step (recorded.py) draws anew without being recorded anew."""
    column: int | Tensor


def draw(config: ModelConfig, images: Sequence[int], crop: int) -> Draw:
    """A stage in proportion to its tokens, and a place on the grid, from torch's global generator.

    The loss is not divided by that chance: a token of a fine stage, of which there are many, is contested as often as
    one of a coarse stage is rarely, and contest (settings.py) is a weight of both.

    images: how many crops are sent each stage. crop: their side in pixels.
    """
    tokens = [count * (crop // STRIDES[scale]) ** 2 for count, scale in zip(images, config.stage_scales, strict=True)]
    stage = int(torch.multinomial(torch.tensor(tokens, dtype=torch.float32), 1))
    return Draw(stage, *torch.randint(PITCH, (2,)).tolist())


def runner_up_loss(
    model: CodecModel,
    x: Tensor,
    quality: Tensor,
    out: Forward,
    squared_weight: Tensor,
    drawn: Draw,
    rate_weight: float = 1.0,
) -> Tensor:
    """Expected change of the loss, in bits where those weigh 1, summed over an image's tokens of the stage drawn: (B,).

    x: (B, 3, H, W) in -1..1. out: of the same x and quality; where the rate term took a sample of the tokens, the
    others' bits are computed here. squared_weight: (B,), what a squared error of 1 in a pixel's mean over channels
    weighs. rate_weight: what a bit weighs. Only z receives a gradient.
    """
    stage = drawn.stage
    codes, z = out.codes[stage].detach().permute(0, 2, 3, 1), out.z[stage]
    count, height, width, dim = codes.shape
    rows, columns = (_every(start, size, x.device) for start, size in ((drawn.row, height), (drawn.column, width)))
    cells = (rows.clamp(max=height - 1)[:, None] * width + columns.clamp(max=width - 1)).reshape(-1)
    inside = ((rows < height)[:, None] & (columns < width)).reshape(-1)

    flat_z = z.reshape(count, -1, dim)[:, cells]
    first = codes.reshape(count, -1, dim)[:, cells]
    second = model.quantizer.runner_up(flat_z.detach().reshape(-1, dim), first.reshape(-1, dim).to(torch.int8))
    second = torch.where(inside[:, None], second.to(first).reshape(first.shape), first)
    replaced = codes.reshape(count, -1, dim).index_copy(1, cells, second).reshape(codes.shape)
    with torch.no_grad():
        before = out.rates.token_bits
        if sum(map(len, out.rates.log_partitions)) < sum(bits.numel() for bits in before):
            before = model.rates(out.codes, quality, x.shape[2], x.shape[3], None, stage).token_bits
        changed = list(out.codes)
        changed[stage] = replaced.permute(0, 3, 1, 2)
        x_hat, token_bits = model.reconstruct(changed, quality, x.shape[2], x.shape[3], stage)
        squares = ((x_hat.float() - x).square() - (out.x_hat.float() - x).square()).mean(1)
        changes = [
            F.pad(rate_weight * (new - old)[:, None], (0, 0, 0, 0, 0, 0, 0, len(x) - len(new)))
            for new, old in zip(token_bits[stage:], before[stage:], strict=True)
        ]
        change = around((squares * squared_weight[:, None, None])[:, None], changes, height)[:count, 0]
        change = change.reshape(count, -1)[:, cells].clamp(-LIMIT, LIMIT)
    farther = (flat_z - second).square().sum(-1) - (flat_z - first).square().sum(-1)
    margin = farther / (2 * model.quantizer.norm_squared)
    loss = (torch.sigmoid(-margin / TEMPERATURE) * change * inside).sum(1) * PITCH**2
    return F.pad(loss, (0, len(x) - count))


def _every(start: int | Tensor, size: int, device: torch.device) -> Tensor:
    """Every PITCH-th of so many rows from one on, as many whichever it is, and so perhaps one beyond: int64 (n,)."""
    return torch.arange(0, size, PITCH, device=device) + start


def around(pixels: Tensor, tokens: list[Tensor], height: int) -> Tensor:
    """Bits in the 3 x 3 cells around each cell of a grid of that height: (B, 1, height, w).

    pixels: (B, 1, H, W). tokens: (B, 1, h, w) a stage.
    """
    total = _resampled(pixels, height) + sum(_resampled(bits, height) for bits in tokens)
    return F.avg_pool2d(F.pad(total, (1, 1, 1, 1)), 3, 1) * 9


def _resampled(bits: Tensor, height: int) -> Tensor:
    """Bits (B, 1, h, w) summed, or shared out, on a grid of another height."""
    if bits.shape[2] >= height:
        factor = bits.shape[2] // height
        return F.avg_pool2d(bits, factor) * factor**2
    factor = height // bits.shape[2]
    return F.interpolate(bits, scale_factor=factor) / factor**2
