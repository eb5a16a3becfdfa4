"""A training step as CUDA graphs: recorded once, then played without a word from Python.

    batch, quality, place of the contest ─▶ fixed tensors ─▶ graph of the drawn stage ─▶ gradients, figures
                                   rates of learning ─▶ fixed tensors ─▶ graph of the optimizers ─▶ parameters

On a GPU the thousands of small kernels of a step take less time than Python takes to start them. What changes from step
to step lies in fixed tensors; what would change the kernels is fixed: how many images are sent each stage (those of the
middles of the strata that loop.py draws qualities from). For each shape of batch, and each stage that contests may be
about, there is a graph of its own, recorded when it is first drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from leechcodec.config import STRIDES
from leechcodec.networks.model import CodecModel
from leechcodec.quantizers.leech import LeechSQ
from leechcodec.training.cast_weights import CastWeights
from leechcodec.training.objective import BatchLoss, Objective
from leechcodec.training.precision import DTYPES
from leechcodec.training.runner_up_loss import Draw, draw

WARM_UP = 2
"""Times that something runs before it is recorded: libraries choose their kernels, tables and states are filled."""


def recordable(objective: Objective, model: CodecModel) -> bool:
    """Whether this model's steps can be recorded: Λ24-SQ and Muon on a CUDA device, every token in the rate term, the
    rate at full weight from the first step, no network beside the model in the loss, and batches large enough for every
    stage of the dial to have an image."""
    settings, config = objective.settings, model.config
    shapes = [(settings.batch, settings.crop)]
    if settings.large_crop:
        shapes.append((settings.large_batch, settings.large_crop))
    finest = STRIDES[max(config.stage_scales)]
    tokens = max(count * (side // finest) ** 2 for count, side in shapes)
    sent = model.images_sent(strata_middles(min(count for count, _ in shapes), *settings.dial))
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


@dataclass
class Inputs:
    """The fixed tensors of one shape of batch."""

    batch: Tensor
    """uint8 (B, 3, crop, crop)."""
    quality: Tensor
    """(B,)."""
    images: list[int]
    """How many images are sent each stage."""


class RecordedPasses:
    """Forward and backward pass of a batch. Gradients are left in the parameters, in place of what was there."""

    def __init__(self, objective: Objective, model: CodecModel) -> None:
        self.objective, self.model = objective, model
        self.device = next(model.parameters()).device
        self.place = torch.zeros(2, dtype=torch.int64, device=self.device)
        self.inputs: dict[torch.Size, Inputs] = {}
        self.graphs: dict[tuple[torch.Size, int | None], tuple[torch.cuda.CUDAGraph, BatchLoss]] = {}
        self.pool = torch.cuda.graph_pool_handle()
        self.weights = CastWeights(model, DTYPES[objective.settings.precision])

    def __call__(self, batch: Tensor, quality: Tensor) -> BatchLoss:
        """batch: uint8 (B, 3, crop, crop). quality: (B,). The figures are overwritten by the next call."""
        inputs = self.inputs_of(batch.shape)
        inputs.batch.copy_(batch)
        inputs.quality.copy_(quality)
        drawn = None
        if self.objective.settings.contest:
            drawn = draw(self.objective.config, inputs.images, batch.shape[2])
            self.place.copy_(torch.tensor([drawn.row, drawn.column]))
        key = batch.shape, drawn and drawn.stage
        if key not in self.graphs:
            self.graphs[key] = self._record(inputs, key[1])
        graph, outcome = self.graphs[key]
        graph.replay()
        return outcome

    def inputs_of(self, shape: torch.Size) -> Inputs:
        """shape: of the batch, (B, 3, crop, crop)."""
        if shape not in self.inputs:
            quality = strata_middles(shape[0], *self.objective.settings.dial)
            batch = torch.zeros(shape, dtype=torch.uint8, device=self.device)
            self.inputs[shape] = Inputs(batch, quality.to(self.device), self.model.images_sent(quality))
        return self.inputs[shape]

    def _record(self, inputs: Inputs, stage: int | None) -> tuple[torch.cuda.CUDAGraph, BatchLoss]:
        drawn = None if stage is None else Draw(stage, *self.place)
        if not any(shape == inputs.batch.shape for shape, _ in self.graphs):
            self._warm_up(inputs, drawn)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            outcome = self._passes(inputs, drawn)
        return graph, outcome

    def _warm_up(self, inputs: Inputs, drawn: Draw | None) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):  # the first makes the gradients that all graphs write to
                self._passes(inputs, drawn)
        torch.cuda.current_stream().wait_stream(stream)

    def _passes(self, inputs: Inputs, drawn: Draw | None) -> BatchLoss:
        self.weights.refresh()
        outcome = self.objective(self.weights.model, inputs.batch, inputs.quality, 0, inputs.images, drawn)
        outcome.backward()
        self.weights.hand_over()
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
