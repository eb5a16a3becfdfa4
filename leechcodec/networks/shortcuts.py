"""Linear shortcuts past the deep path: picture to feature and state to picture, at every scale.

    x ──mean of s/4 × s/4──▶ unshuffle 4 ──1 × 1──▶ + feature of stride s            analysis
    state of stride s ──1 × 1──▶ shuffle 4 ──▶ + partial picture ──2 × bilinear──▶ … ──▶ + x̂     synthesis

A network that must learn to pass the picture through four scales of blocks learns that first, and slowly. Beside such
shortcuts it learns what is left: 11 % less of the Lagrangian after equal steps at a small budget (docs/experiments.md).
The partial pictures form a pyramid: each scale adds to what the coarser ones have drawn, enlarged by two.
(Cf. linear auxiliary transforms: Li et al., "On Disentangled Training for Nonlinear Transform in Learned Image
Compression", ICLR 2025.)
"""

import torch.nn.functional as F
from torch import Tensor, nn

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.networks.shapes import shortcut_scales
from leechcodec.networks.tiling import tiled

PATCH = STRIDES[-1]
"""Side of the patch, in pixels of a scale's picture, that a position sees or draws."""


class AnalysisShortcuts(nn.ModuleList):
    """The picture, averaged down, added to each scale's feature."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(nn.Conv2d(3 * PATCH**2, config.channels[scale], 1) for scale in shortcut_scales(config))

    def add_to(self, feature: Tensor, x: Tensor, scale: int) -> Tensor:
        """feature: (B, channels, H / stride, W / stride). x: (B, 3, H, W), float in -1..1 or uint8. Returns the sum."""

        def projected(part: Tensor, _: slice) -> Tensor:
            part = part if part.is_floating_point() else part.float() / 127.5 - 1
            return self[scale](F.pixel_unshuffle(F.avg_pool2d(part, STRIDES[scale] // PATCH), PATCH))

        return feature + tiled(projected, x, down=STRIDES[scale])


class PictureShortcuts(nn.ModuleList):
    """A partial picture per scale, each drawn onto the enlarged one before it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(nn.Conv2d(config.channels[scale], 3 * PATCH**2, 1) for scale in shortcut_scales(config))
        for projection in self:
            nn.init.normal_(projection.weight, std=0.1 / projection.in_channels**0.5)
            nn.init.zeros_(projection.bias)

    def draw(self, partial: Tensor | None, state: Tensor, scale: int) -> Tensor:
        """partial: what the coarser scales have drawn, float32, of half the size, or None. state: (B, channels, h, w).

        Returns float32 (B, 3, 4 h, 4 w), about -1..1.
        """
        own = tiled(lambda part, _: F.pixel_shuffle(self[scale](part), PATCH).float(), state, up=PATCH)
        return own if partial is None else enlarged(partial).add_(own)

    def finish(self, partial: Tensor, scale: int) -> Tensor:
        """The finest partial picture, drawn at this scale, in the size of x̂."""
        while scale < len(STRIDES) - 1:
            partial, scale = enlarged(partial), scale + 1
        return partial


def enlarged(picture: Tensor) -> Tensor:
    """Twice the size, bilinear, (B, 3, h, w) -> (B, 3, 2 h, 2 w). Every pixel depends on its neighbours alone."""
    return tiled(
        lambda part, _: F.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False),
        picture,
        halo=1,
        up=2,
    )
