"""A training step as CUDA graphs: recorded once, then played without a word from Python.

    batch, quality, place of the contest ─▶ fixed tensors ─▶ graph of the drawn stage ─▶ gradients, figures
                                   rates of learning ─▶ fixed tensors ─▶ graph of the optimizers ─▶ parameters

On a GPU the thousands of small kernels of a step take less time than Python takes to start them. What changes from step
to step lies in fixed tensors; what would change the kernels is fixed: how many images are sent each stage (those of the
middles of the strata that loop.py draws qualities from), and for each stage that contests may be about there is
a graph of its own, recorded when it is first drawn.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from leechcodec.config import STRIDES
from leechcodec.networks.model import CodecModel
from leechcodec.quantizers.leech import LeechSQ
from leechcodec.training.objective import BatchLoss, Objective
from leechcodec.training.runner_up_loss import Draw, draw

WARM_UP = 2
"""Times that something runs before it is recorded: libraries choose their kernels, tables and states are filled."""


def recordable(objective: Objective, model: CodecModel) -> bool:
    """Whether this model's steps can be recorded: Λ24-SQ and Muon on a CUDA device, every token in the rate term, the
    rate at full weight from the first step, no network beside the model in the loss, and batches large enough for every
    stage of the dial to have an image."""
    settings, config = objective.settings, model.config
    tokens = settings.batch * (settings.crop // STRIDES[max(config.stage_scales)]) ** 2
    sent = model.images_sent(strata_middles(settings.batch, *settings.dial))
    return (
        next(model.parameters()).device.type == "cuda"
        and isinstance(model.quantizer, LeechSQ)
        and settings.optimizer == "muon"
        and settings.rate_tokens >= tokens
        and settings.rate_weight(0) == 1
        and not objective.trained
        and not settings.lpips
        and all(count or least > settings.dial[1] for count, least in zip(sent, config.min_quality))
    )


def strata_middles(count: int, low: float = 1.0, high: float = 100.0) -> Tensor:
    """The dial values (count,) in the middle of the strata of loop.py's stratified_quality, falling."""
    return (low + (high - low) * (torch.arange(count) + 0.5) / count).flip(0)


class RecordedPasses:
    """Forward and backward pass of a batch. Gradients are left in the parameters, where they are zeroed first."""

    def __init__(self, objective: Objective, model: CodecModel) -> None:
        settings = objective.settings
        quality = strata_middles(settings.batch, *settings.dial)
        self.objective, self.model, self.images = objective, model, model.images_sent(quality)
        device = next(model.parameters()).device
        self.batch = torch.zeros(settings.batch, 3, settings.crop, settings.crop, dtype=torch.uint8, device=device)
        self.quality = quality.to(device)
        self.place = torch.zeros(2, dtype=torch.int64, device=device)
        self.graphs: dict[int | None, tuple[torch.cuda.CUDAGraph, BatchLoss]] = {}
        self.pool = torch.cuda.graph_pool_handle()
        self.gradients: list[Tensor] = []

    def __call__(self, batch: Tensor, quality: Tensor) -> BatchLoss:
        """batch: uint8 (B, 3, crop, crop). quality: (B,). The figures are overwritten by the next call."""
        self.batch.copy_(batch)
        self.quality.copy_(quality)
        drawn = None
        if self.objective.settings.contest:
            drawn = draw(self.objective.config, self.images, batch.shape[2])
            self.place.copy_(torch.tensor([drawn.row, drawn.column]))
        stage = drawn and drawn.stage
        if stage not in self.graphs:
            self.graphs[stage] = self._record(stage)
        graph, outcome = self.graphs[stage]
        graph.replay()
        return outcome

    def _record(self, stage: int | None) -> tuple[torch.cuda.CUDAGraph, BatchLoss]:
        drawn = None if stage is None else Draw(stage, *self.place)
        if not self.graphs:
            self._warm_up(drawn)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            outcome = self._passes(drawn)
        return graph, outcome

    def _warm_up(self, drawn: Draw | None) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.model.zero_grad(set_to_none=True)
            for _ in range(WARM_UP):
                self._passes(drawn)
        torch.cuda.current_stream().wait_stream(stream)
        reached = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        for parameter in reached:
            parameter.grad = torch.zeros_like(parameter)
        self.gradients = [parameter.grad for parameter in reached]

    def _passes(self, drawn: Draw | None) -> BatchLoss:
        if self.gradients:
            torch._foreach_zero_(self.gradients)
        outcome = self.objective(self.model, self.batch, self.quality, 0, self.images, drawn)
        outcome.backward()
        outcome.loss = outcome.loss.detach()
        return outcome


class RecordedUpdate:
    """A step of optimizers. Their rates become tensors, and AdamW counts its steps on the device."""

    def __init__(self, optimizers: Sequence[Optimizer], device: torch.device) -> None:
        self.optimizers, self.graph, self.calls = optimizers, None, 0
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
            if "capturable" in group:
                group["capturable"] = True
        for optimizer in optimizers:
            for state in optimizer.state.values():
                state.update({key: value.to(device) for key, value in state.items()})

    def __call__(self) -> None:
        if self.graph is None and self.calls == WARM_UP:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._step()
        self.calls += 1
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()

    def _step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
