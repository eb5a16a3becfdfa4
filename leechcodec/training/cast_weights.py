"""A model's weights as a step takes them: cast once, and with gradients that are not added to anything.

    parameters ──one copy──▶ their casts ─▶ forward, backward ─▶ casts' gradients ──one copy──▶ parameters' gradients

Autocast casts each weight where it is used, and each gradient on the way back; autograd adds every gradient to what is
there. For a model of some 300 small tensors these are a thousand kernels of a step, which on an accelerator take as
long to start as larger ones. Values and gradients are those of autocast, to the last bit.
"""

import copy

import torch
from torch import Tensor, nn

from leechcodec.networks.model import CodecModel
from leechcodec.networks.transforms import QualityTable


class CastWeights:
    """A copy of a model that computes with casts of its weights.

    model: whose parameters are trained. dtype: what autocast would cast to; float32: no casts.
    """

    def __init__(self, model: CodecModel, dtype: torch.dtype) -> None:
        self.model = copy.deepcopy(model)
        """To be called in the other one's place."""
        self._originals = list(model.parameters())
        self._own: list[nn.Parameter] = []
        self._casts: list[Tensor] = []
        self._cast_from: list[Tensor] = []
        for module, own in zip(model.modules(), self.model.modules(), strict=True):
            for name, original in module.named_parameters(recurse=False):
                data = original.detach()
                if dtype != data.dtype and _is_multiplied(module, name):
                    data = data.to(dtype)
                    self._casts.append(data)
                    self._cast_from.append(original.detach())
                parameter = nn.Parameter(data, original.requires_grad)  # uncast, it shares the original's memory
                setattr(own, name, parameter)
                self._own.append(parameter)

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the parameters as they are now; gradients start from nothing."""
        if self._casts:
            torch._foreach_copy_(self._casts, self._cast_from)
        for parameter in self._own:
            parameter.grad = None

    @torch.no_grad()
    def hand_over(self) -> None:
        """Write the gradients over the parameters'. One that was not reached has a gradient of zero, or none if it
        never had any."""
        targets, gradients, left = [], [], []
        for parameter, own in zip(self._originals, self._own, strict=True):
            if own.grad is not None:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                targets.append(parameter.grad)
                gradients.append(own.grad)
            elif parameter.grad is not None:
                left.append(parameter.grad)
        if targets:
            torch._foreach_copy_(targets, gradients)
        if left:
            torch._foreach_zero_(left)


def _is_multiplied(module: nn.Module, name: str) -> bool:
    """Whether a parameter enters products alone, for which autocast would cast it."""
    return isinstance(module, nn.Conv2d | QualityTable) or name == "quality"
