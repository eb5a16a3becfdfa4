"""The two halves of a training step, gradients and update: plain, or recorded once and played (recorded.py).

batch, qualities ─▶ objective ─▶ gradients of all processes, clipped ─▶ optimizers ─▶ parameters
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leechcodec.networks.model import CodecModel
from leechcodec.training.dion import Dion
from leechcodec.training.muon import Muon
from leechcodec.training.objective import BatchLoss, Objective
from leechcodec.training.precision import DTYPES
from leechcodec.training.processes import Processes
from leechcodec.training.recorded import RecordedPasses, RecordedUpdate, recordable
from leechcodec.training.run import Run
from leechcodec.training.settings import TrainingConfig

LARGEST_NORM = 10.0
"""Gradients of all parameters together are scaled down to this norm."""


def split_parameters(model: nn.Module, prior_adam: bool = False) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices for Muon or Dion; everything else, and the layers that touch pixels or probabilities, for AdamW.

    prior_adam: the prior's matrices are for AdamW, too.
    """
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        boundary = name.startswith(("synthesis.head", "analysis.stem"))
        boundary |= any(part in name for part in (".head.", ".gate.", ".shortcuts."))
        boundary |= prior_adam and name.startswith("prior.")
        matrix = name.endswith(".weight") and parameter.ndim >= 2 and not boundary
        (matrices if matrix else others).append(parameter)
    return matrices, others


def optimizer_of(
    settings: TrainingConfig, matrices: list[dict], processes: Processes | None = None
) -> torch.optim.Optimizer:
    """The settings' optimizer for groups of matrices. Their precision is one that was chosen, not "auto"."""
    if settings.optimizer == "dion":
        return Dion(matrices, rank=settings.dion_rank, lr=settings.muon_lr, weight_decay=settings.weight_decay)
    return Muon(
        matrices, dtype=DTYPES[settings.precision], lr=settings.muon_lr, weight_decay=settings.weight_decay,
        processes=processes,
    )  # fmt: skip


def optimizers_of(
    settings: TrainingConfig, model: nn.Module, objective: Objective, processes: Processes | None = None
) -> dict[str, torch.optim.Optimizer]:
    """By the names that they have in a checkpoint: the settings' for matrices, AdamW for all else that is trained."""
    prior = {parameter for name, parameter in model.named_parameters() if name.startswith("prior.")}
    matrices, others = split_parameters(model, settings.prior_adam)
    groups = [*_groups(others, prior, settings.adam_lr, settings.prior_rates), *objective.parameter_groups()]
    return {
        settings.optimizer: optimizer_of(
            settings, _groups(matrices, prior, settings.muon_lr, settings.prior_rates), processes
        ),
        "adam": torch.optim.AdamW(groups, lr=settings.adam_lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    }


def _groups(parameters: list[nn.Parameter], prior: set[nn.Parameter], rate: float, share: float) -> list[dict]:
    """Those outside the prior at a rate, those of the prior at a share of it, where there are any."""
    parts = (
        {"params": [parameter for parameter in parameters if parameter not in prior], "lr": rate},
        {"params": [parameter for parameter in parameters if parameter in prior], "lr": rate * share},
    )
    return [part for part in parts if part["params"]]


@dataclass
class Gradients:
    """Figures of a batch whose gradients lie in the parameters. Those of all processes are the same, except outcome."""

    outcome: BatchLoss
    """This process's own."""
    images: Sequence[int]
    """How many images were sent each stage."""
    loss: float
    """Mean over the processes."""
    codec_loss: float
    """Squared error and rate alone, mean over the processes."""
    norm: Tensor
    """Of all gradients of the model before they were clipped, a scalar."""
    finite: bool
    """Whether the loss and all gradients are."""


class Steps:
    """A run's steps.

    Make it last, when the model has the weights that it starts with: those of the first process go to all.
    """

    def __init__(self, run: Run, model: CodecModel, objective: Objective) -> None:
        self.run, self.model, self.objective, self.settings = run, model, objective, objective.settings
        self.optimizers = list(run.optimizers.values())
        world, device = run.processes.world, torch.device(run.processes.device)
        parallel = nn.parallel.DistributedDataParallel
        self.networks = parallel(model, find_unused_parameters=True) if world > 1 else model
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self.rates: list[float] = [group["lr"] for group in self.groups]
        self.passes = self.recorded_update = None
        if world == 1 and recordable(objective, model):
            self.passes = RecordedPasses(objective, model)
            self.recorded_update = RecordedUpdate(self.optimizers, device)

    def set_rates(self, factor: float) -> None:
        """Set all learning rates to a share of their peak."""
        for group, rate in zip(self.groups, self.rates):
            if self.recorded_update is None:
                group["lr"] = rate * factor
            else:
                group["lr"].fill_(rate * factor)

    def gradients(self, batch: Tensor, quality: Tensor) -> Gradients:
        """Forward and backward pass, over all processes.

        batch: uint8 (B, 3, H, W), on the device.
        quality: (B,), falling.
        """
        if self.passes is not None:
            outcome, images = self.passes(batch, quality), self.passes.inputs_of(batch.shape).images
        else:
            images = self.model.images_sent(quality)
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            outcome = self.objective(self.networks, batch, quality.to(batch.device), self.run.step, images)
            outcome.backward()
        self.objective.average_gradients(self.run.processes.world)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_NORM)
        # Means over all processes, so that they decide alike: to step or to skip.
        loss = self.run.processes.mean(outcome.loss.detach())
        codec_loss = self.run.processes.mean(outcome.codec_loss)
        finite = math.isfinite(loss) and bool(torch.isfinite(norm)) and self.objective.gradients_are_finite()
        return Gradients(outcome, images, loss, codec_loss, norm, finite)

    def update(self) -> None:
        """Move all parameters by the gradients that lie in them."""
        if self.recorded_update is not None:
            self.recorded_update()
        else:
            for optimizer in self.optimizers:
                optimizer.step()
        self.model.quantizer.after_step(self.run.done)
