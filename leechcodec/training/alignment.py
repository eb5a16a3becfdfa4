"""Alignment of the latents with a frozen vision network: tokens that say what is seen, and not only its pixels.

x ─▶ AlexNet, frozen ──────────────────────────────▶ F ─┬─▶ margin cosine similarity, position by position
x ─▶ g_a ─▶ z of the stages at stride 16 ─▶ linear ▶ Z' ─┴─▶ margin distance matrices, between positions of a picture

Yao, Yang and Wang, "Reconstruction vs. Generation" (VA-VAE), arXiv 2501.01423: the vision foundation model loss. They
weigh it by the ratio of two gradients at the encoder's last layer; here the weight is fixed (``vf_weight``), and two
backward passes are saved. The linear map is trained with the model and is no part of it.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.errors import ConfigError

STRIDE = 16
"""Of the network's features, and of the latents that are aligned with them."""
COSINE_MARGIN = 0.5
DISTANCE_MARGIN = 0.25
"""Differences as small as these cost nothing (m1 and m2 of the paper)."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, values 0..1: what the network was trained on."""
PAD = 8
"""Pixels, reflected, on every side: they centre the network's features on the latents, to half a pixel, and make them
as many."""


class VisionFeatures:
    """Features of torchvision's AlexNet, frozen: float (B, 3, H, W) in -1..1 -> float32 (B, 256, H / 16, W / 16).

    H, W: multiples of 16. weights: the file that LPIPS takes as its backbone, or its folder (lpips_net.py). Raises
    ModelError where it is missing or of another network.
    """

    channels = 256

    def __init__(self, weights: str | Path, device: torch.device | str = "cpu") -> None:
        from leechcodec.training.lpips_net import find_weights, read_backbone  # the file's reader; no extra is needed

        self.tensors: Mapping[str, Tensor] = {
            name: value.to(device) for name, value in read_backbone(find_weights(weights)).items()
        }
        self.mean, self.std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = F.pad((x / 2 + 0.5 - self.mean) / self.std, (PAD,) * 4, mode="reflect")
        x = F.max_pool2d(self._conv(x, 0, stride=4, padding=2), 3, 2)
        x = F.max_pool2d(self._conv(x, 3, padding=2), 3, 2)
        return self._conv(self._conv(self._conv(x, 6), 8), 10).float()

    def _conv(self, x: Tensor, layer: int, stride: int = 1, padding: int = 1) -> Tensor:
        weight, bias = (self.tensors[f"features.{layer}.{part}"] for part in ("weight", "bias"))
        return F.relu(F.conv2d(x, weight, bias, stride, padding))


class Alignment(nn.Module):
    """The linear map and the loss. In a checkpoint of training, the map alone.

    config: of the model; dim: of its codes. weights: as for :class:`VisionFeatures`. Raises ConfigError where the model
    has no stage at stride 16, ModelError as VisionFeatures does.
    """

    def __init__(self, config: ModelConfig, dim: int, weights: str | Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.stages = [number for number, scale in enumerate(config.stage_scales) if STRIDES[scale] == STRIDE]
        if not self.stages:
            raise ConfigError(f"vf_weight aligns the token stages at stride {STRIDE}, and this model has none")
        self.features = VisionFeatures(weights, device)
        self.projection = nn.Linear(dim * len(self.stages), self.features.channels, bias=False, device=device)

    def forward(self, x: Tensor, z: list[Tensor]) -> Tensor:
        """Loss of a batch, over the images that are sent every stage at stride 16; zero where none is.

        x: (B, 3, H, W) in -1..1. z: as in model.Forward, (n, h, w, dim) a stage. Gradients for z and for the map.
        """
        count = len(z[self.stages[-1]]) if self.stages[-1] < len(z) else 0
        if not count:
            return self.projection.weight.sum() * 0
        latents = torch.cat([z[stage][:count] for stage in self.stages], -1)
        return alignment_loss(self.projection(latents), self.features(x[:count]))


def alignment_loss(latents: Tensor, features: Tensor) -> Tensor:
    """The mean over positions of max(0, 1 - m1 - cos(Z', F)), plus the mean over pairs of positions of a picture of
    max(0, |cos(Z'_i, Z'_j) - cos(F_i, F_j)| - m2): a scalar, 0..3.25.

    latents: Z', (n, h, w, channels), projected. features: F, (n, channels, h, w).
    """
    with torch.autocast(latents.device.type, enabled=False):
        ours = F.normalize(latents.float().flatten(1, 2), dim=-1)
        theirs = F.normalize(features.float().flatten(2).mT, dim=-1)
        apart = F.relu(1 - COSINE_MARGIN - (ours * theirs).sum(-1)).mean()
        unlike = F.relu((ours @ ours.mT - theirs @ theirs.mT).abs() - DISTANCE_MARGIN).mean()
    return apart + unlike
