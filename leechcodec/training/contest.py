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

import torch
import torch.nn.functional as F
from torch import Tensor

from leechcodec.model import CodecModel, Forward

TEMPERATURE = 0.05
"""τ: a margin, as a share of a codeword's squared length, at which the second code would be taken with 27 %."""
LIMIT = 16.0
"""Bits: larger differences are clipped."""
PITCH = 2
"""One token in PITCH² is replaced at a time, on a grid, so that their surroundings overlap little."""


def contest_loss(model: CodecModel, x: Tensor, quality: Tensor, out: Forward, squared_weight: Tensor) -> Tensor:
    """Expected change of the loss in bits, summed over an image's tokens of one stage drawn at random: (B,).

    x: (B, 3, H, W) in -1..1. out: of the same x and quality. squared_weight: (B,), bits for a squared error of 1 in a
    pixel's mean over channels. Only z receives a gradient.
    """
    tokens = [float(bits.numel()) for bits in out.token_bits]
    stage = int(torch.multinomial(torch.tensor(tokens), 1))
    codes, z = out.codes[stage].detach(), out.z[stage]
    count, _, height, width = codes.shape
    row, column = torch.randint(PITCH, (2,)).tolist()
    chosen = torch.zeros(height, width, dtype=torch.bool, device=x.device)
    chosen[row::PITCH, column::PITCH] = True
    chosen = chosen.expand(count, height, width)

    first = codes.permute(0, 2, 3, 1)[chosen]
    second = model.quantizer.runner_up(z.detach()[chosen], first.to(torch.int8)).to(first)
    replaced = codes.permute(0, 2, 3, 1).clone()
    replaced[chosen] = second
    with torch.no_grad():
        changed = list(out.codes)
        changed[stage] = replaced.permute(0, 3, 1, 2)
        x_hat, token_bits = model.reconstruct(changed, quality, x.shape[2], x.shape[3], stage)
        squares = ((x_hat.float() - x).square() - (out.x_hat.float() - x).square()).mean(1)
        changes = [
            F.pad((new - old)[:, None], (0, 0, 0, 0, 0, 0, 0, len(x) - len(new)))
            for new, old in zip(token_bits[stage:], out.token_bits[stage:], strict=True)
        ]
        change = around((squares * squared_weight[:, None, None])[:, None], changes, height)[:count, 0]
    farther = (z[chosen] - second).square().sum(-1) - (z[chosen] - first).square().sum(-1)
    margin = farther / (2 * model.quantizer.norm_squared)
    loss = torch.sigmoid(-margin / TEMPERATURE) * change[chosen].clamp(-LIMIT, LIMIT)
    image = chosen.nonzero()[:, 0]
    return loss.new_zeros(len(x)).index_add(0, image, loss) * PITCH**2


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
