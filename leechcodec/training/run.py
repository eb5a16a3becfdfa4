"""A training run: what every loop keeps beside its networks and its loss.

    averaged weights ─┐
    step, clock ──────┼─▶ log.jsonl, checkpoint.safetensors, progress bar ─▶ the same run again, after a pause
    random state ─────┘

A loop is then

    with run:
        while run.done < 1:
            ...                   # gradients
            run.advance()         # a step more, and the clock read
            ...                   # update
            run.average()
            run.save_if_due()
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError, LqError
from leechcodec.training.processes import Processes
from leechcodec.training.state import load_checkpoint, save_checkpoint

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model"
"""The folder in a run's that the model is written to, at the end of a prior's or a second decoder's run."""
LOG_EVERY = 50
"""Steps between two rows of the log."""


class TrainingError(LqError):
    """A run that cannot go on: diverged, or a checkpoint that does not fit."""


@dataclass(frozen=True)
class Budget:
    """How long a run goes on."""

    steps: int
    minutes: float | None = None
    """In place of the steps: of training in all, pauses left out."""

    def share(self, step: int, seconds: float) -> float:
        """Of the run that is done, 0..1."""
        return step / self.steps if self.minutes is None else min(1.0, seconds / (60 * self.minutes))


def refuse_to_overwrite(out: Path) -> None:
    """Raises ConfigError where a run that would be started anew in a folder would replace the one that is there."""
    if (path := Path(out) / CHECKPOINT).exists():
        raise ConfigError(f"{path}: there is a run already; --resume goes on with it, another --out starts anew")


FROM_NOTHING, FROM_TRAINED = 10, 2
"""The lag of averages (:attr:`Run.lag`). Weights of the first steps from nothing are bad, and soon forgotten."""


class Run:
    """A run in a folder.

    out: the folder; it is made.
    config: of the model, kept in the checkpoint.
    model: what is trained and averaged.
    optimizers: by the names that their state has in the checkpoint.
    generator: of all draws from the data; its state is part of the checkpoint.
    ema: the averaged weights' decay per step, less in the first steps: from nothing the averages are of a tenth of the
        steps so far, from trained weights of all of them, until they are as long as ema says.
    checkpoint_minutes: between two checkpoints.
    trained: networks beside the model, kept in the checkpoint and not averaged.
    """

    def __init__(
        self,
        out: Path,
        config: ModelConfig,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        generator: torch.Generator,
        budget: Budget,
        *,
        ema: float,
        checkpoint_minutes: float,
        trained: nn.Module | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.out, self.config, self.model, self.trained = Path(out), config, model, trained
        self.optimizers, self.generator, self.budget = dict(optimizers), generator, budget
        self.decay, self.checkpoint_minutes = ema, checkpoint_minutes
        self.processes = processes or Processes()
        self.path = self.out / CHECKPOINT
        self.out.mkdir(parents=True, exist_ok=True)
        self.averages = self._copied()
        """The averaged weights, by parameter."""
        self.lag = FROM_NOTHING
        """After n steps the averages reach back n / (lag - 1) steps on the whole, and never further than ema says."""
        self.step, self.done = 0, 0.0
        """Steps done, and the share of the run that is, 0..1."""
        self.mean_loss: float | None = None
        """Running mean of the loss, which the loop keeps up."""
        self._seconds = 0.0  # trained before `_started`
        self._started: float | None = None
        self._saved = 0.0

    def start_from_trained(self) -> None:
        """Set the averaged weights to the model's, which are good: all steps since then count alike, up to the length
        that ema has."""
        self.averages, self.lag = self._copied(), FROM_TRAINED

    def _copied(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def load(self) -> None:
        """Go on from the folder's checkpoint. Raises ModelError where it is missing, damaged or of another model."""
        self.step, self._seconds, self.mean_loss, lag = load_checkpoint(
            self.path, self.config, self.model, self.averages, self.optimizers, self.generator, self.trained
        )
        self.lag = lag or FROM_NOTHING

    def save(self) -> None:
        """Write the checkpoint; the one before is kept beside it."""
        save_checkpoint(
            self.path, self.config, self.model, self.averages, self.optimizers, self.generator,
            self.step, self.seconds, self.mean_loss, self.trained, lag=self.lag,
        )  # fmt: skip
        self._saved = time.monotonic()

    def __enter__(self) -> Self:
        """Start the clock and the progress bar."""
        self._saved = self._started = time.monotonic()
        total = self.budget.steps if self.budget.minutes is None else None
        hidden = not (self.processes.main and sys.stderr.isatty())
        self.progress = tqdm(total=total, initial=self.step, disable=hidden, unit="step")
        self._read_clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds, self._started = self.seconds, None
        self.progress.close()

    @property
    def seconds(self) -> float:
        """Trained in all, up to now."""
        return self._seconds + (0.0 if self._started is None else time.monotonic() - self._started)

    def advance(self) -> None:
        """Count a step, and see how much of the run is done: of minutes the largest share that any process sees, so
        that all end together."""
        self.step += 1
        self._read_clock()
        self.progress.update()

    def _read_clock(self) -> None:
        if self.budget.minutes is None:
            self.done = self.budget.share(self.step, 0.0)
        else:
            self.done = self.processes.largest(self.budget.share(self.step, self.seconds))

    @torch.no_grad()
    def average(self) -> None:
        """Move the averages towards the model's weights, for a step that is counted already."""
        decay = min(self.decay, (self.step + 1) / (self.step + self.lag))
        parameters = dict(self.model.named_parameters())
        torch._foreach_lerp_(list(self.averages.values()), [parameters[name] for name in self.averages], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averaged weights, for the length of a with block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.model.named_parameters():
            kept = self.averages[name].clone()
            self.averages[name].copy_(parameter)
            parameter.copy_(kept)

    @torch.no_grad()
    def return_to_averages(self) -> None:
        """Set the model's weights to their averages. The optimizers forget what they know of gradients."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(self.averages[name])
        for optimizer in self.optimizers.values():
            for state in optimizer.state.values():
                for key, value in state.items():
                    if isinstance(value, Tensor) and key != "basis":  # Dion's, from which its next one is found
                        value.zero_()

    @property
    def log_is_due(self) -> bool:
        """Whether this step's figures are to be logged, by this process."""
        return self.processes.main and self.step % LOG_EVERY == 0

    def log(self, row: dict) -> None:
        """Append a row to log.jsonl, and print it where no progress bar runs. The step comes first in it."""
        line = json.dumps({"step": self.step} | row)
        with open(self.out / "log.jsonl", "a") as file:
            file.write(line + "\n")
        if not sys.stderr.isatty() or "validation" in row:
            print(line, flush=True)

    def diverged(self) -> TrainingError:
        """The error to raise where the step that comes next is not finite."""
        return TrainingError(f"diverged at step {self.step + 1}: {self.path} is from before")

    def save_if_due(self) -> None:
        """Write the checkpoint at the end of the run, and each checkpoint_minutes."""
        if self.processes.main and (self.done == 1 or time.monotonic() - self._saved > 60 * self.checkpoint_minutes):
            self.save()
