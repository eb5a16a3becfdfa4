"""The discriminator of adversarial training: is this a photograph, or was it decoded?

Isola et al., arXiv 1611.07004 (patches of a picture are judged one by one), with spectral norm (Miyato et al.,
arXiv 1802.05957) and the hinge loss.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module):
    """Real or decoded, patch by patch: (B, 3, H, W) -> (B, 1, H / 8, W / 8), larger for real. Sees 38 x 38 pixels."""

    def __init__(self, widths: Sequence[int] = (48, 96, 192)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip((3, *widths), widths):
            layers += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        layers += [spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, padding=1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def hinge_loss(discriminator: nn.Module, real: Tensor, decoded: Tensor) -> Tensor:
    """What the discriminator itself minimises, a scalar; the decoder receives no gradient from it."""
    return F.relu(1 - discriminator(real)).mean() + F.relu(1 + discriminator(decoded.detach())).mean()
