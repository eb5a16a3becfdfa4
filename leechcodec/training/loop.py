"""The training loop: one function, resumable at any step, on one device or several (torchrun).

settings ─▶ images in memory ─▶ crops ─▶ CodecModel ─▶ objective ─▶ Muon or Dion + AdamW ─▶ EMA ─▶ checkpoint
"""

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError, LqError
from leechcodec.networks.model import CodecModel
from leechcodec.training.data import Cropper, load_images
from leechcodec.training.dion import Dion
from leechcodec.training.grow import load_grown
from leechcodec.training.muon import Muon
from leechcodec.training.objective import Objective
from leechcodec.training.precision import DTYPES, choose_precision
from leechcodec.training.recorded import RecordedPasses, RecordedUpdate, recordable
from leechcodec.training.settings import TrainingConfig, load_settings
from leechcodec.training.state import load_checkpoint, save_checkpoint
from leechcodec.training.validation import large_enough, validate

MAX_SKIPS = 50
"""So many skipped steps in a row end the run: the model has diverged."""


class TrainingError(LqError):
    """A run that cannot go on: diverged, or a checkpoint that does not fit."""


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices for Muon or Dion; everything else, and the layers that touch pixels or probabilities, for AdamW."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        boundary = ".head." in name or ".shortcuts." in name or name.startswith(("synthesis.head", "analysis.stem"))
        matrix = name.endswith(".weight") and parameter.ndim >= 2 and not boundary
        (matrices if matrix else others).append(parameter)
    return matrices, others


def stratified_quality(count: int, generator: torch.Generator, low: float = 1.0, high: float = 100.0) -> Tensor:
    """Dial values (count,) spread evenly over low..high, falling: log-uniform in lmbda."""
    steps = torch.arange(count) + torch.rand(count, generator=generator)
    return (low + (high - low) * steps / count).flip(0)


def optimizer_of(settings: TrainingConfig, matrices: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The settings' optimizer for matrices. Their precision is one that was chosen, not "auto"."""
    options = {"lr": settings.muon_lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "dion":
        return Dion(matrices, rank=settings.dion_rank, **options)
    return Muon(matrices, dtype=DTYPES[settings.precision], **options)


def train(
    config_path: Path,
    data: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    steps: int | None = None,
    minutes: float | None = None,
    threads: int | None = None,
    device: str = "cpu",
    init: Path | None = None,
    lpips_weights: Path | None = None,
    vf_weights: Path | None = None,
) -> None:
    """Train the model of a config file.

    data: folders or tar files of images. out: folder for checkpoint, log.jsonl. resume: go on from out's checkpoint.
    steps: stop (and plan the decay) there instead of at the config's number. minutes: stop (and plan the decay) after
    so many of training in all, whatever the number of steps. init: a checkpoint whose averaged weights are the start,
    or a released model's folder; it may have fewer token stages and another dial (grow.py). lpips_weights,
    vf_weights: what a config with lpips or vf_weight needs (objective.py). Raises ConfigError, ModelError and
    TrainingError.
    """
    config, settings = load_settings(config_path)
    if steps is not None:
        settings = replace(settings, steps=steps)
    if threads:
        torch.set_num_threads(threads)
    rank, world = _start_distributed(device)
    check_device(device)
    if world == 1 and device.startswith("cuda:"):
        torch.cuda.set_device(device)  # graphs and kernels go to the current device
    main = rank == 0
    settings = replace(settings, precision=_chosen_by_first(settings.precision, device, world))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(settings.seed)
    model = CodecModel(config).to(device).to(memory_format=torch.channels_last)
    ema = {name: p.detach().clone() for name, p in model.named_parameters()}
    objective = Objective(
        config, settings, model.quantizer.dim, lpips_weights=lpips_weights, vf_weights=vf_weights, device=device
    )
    matrices, others = split_parameters(model)
    groups = [{"params": others}, *objective.parameter_groups()]
    optimizers = {
        settings.optimizer: optimizer_of(settings, matrices),
        "adam": torch.optim.AdamW(groups, lr=settings.adam_lr, betas=(0.9, 0.99), weight_decay=0.0),
    }
    generator = torch.Generator().manual_seed(settings.seed * 1000 + rank)
    step, seconds, mean_loss = 0, 0.0, None
    path = out / "checkpoint.safetensors"
    if resume:
        step, seconds, mean_loss = load_checkpoint(path, config, model, ema, optimizers, generator, objective.trained)
        if rank:  # the checkpoint holds rank 0's place in the data
            generator.manual_seed(settings.seed * 1000 + rank + 1_000_003 * step)
    elif init is not None:
        load_grown(init, config, model)
        ema = {name: p.detach().clone() for name, p in model.named_parameters()}

    training, validation = load_images(
        data,
        validation_share=settings.validation_share,
        exclude=settings.exclude,
        threads=threads or 1,
    )
    if main:
        pixels = sum(image[0].numel() for image in training) / 1e6
        parameters = sum(p.numel() for p in model.parameters()) / 1e6
        print(
            f"{parameters:.2f} M parameters; {len(training)} images, {pixels:.0f} MP; {len(validation)} held out; "
            f"{settings.precision}",
            flush=True,
        )
    crops = Cropper([image.to(device) for image in training], generator, settings.scales, settings.graphics)
    if not resume and init is None:
        x = crops(settings.batch, settings.crop).float() / 127.5 - 1
        model.calibrate(x, stratified_quality(settings.batch, generator, *settings.dial).to(device))
    # Wrapped last: it hands rank 0's weights to all.
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True) if world > 1 else model
    passes = update = None
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    if world == 1 and recordable(objective, model):
        passes = RecordedPasses(objective, model)
        update = RecordedUpdate(list(optimizers.values()), torch.device(device))
    skips, last_save, started = 0, time.monotonic(), time.monotonic() - seconds
    total = settings.steps if minutes is None else None
    progress = tqdm(total=total, initial=step, disable=not (main and sys.stderr.isatty()), unit="step")

    def share_done() -> float:
        """Of the run, 0..1. Of minutes the largest share that any process sees, so that all end together."""
        if minutes is None:
            return step / settings.steps
        share = torch.tensor((time.monotonic() - started) / (60 * minutes), dtype=torch.float64)
        if world > 1:
            share = share.to(device)
            dist.all_reduce(share, dist.ReduceOp.MAX)
        return min(1.0, share.item())

    done = share_done()
    while done < 1:
        factor = settings.rate_factor(step, done)
        for group, rate in zip(groups, rates):
            if update is None:
                group["lr"] = rate * factor
            else:
                group["lr"].fill_(rate * factor)
        count, side = settings.shape(done, torch.rand((), generator=generator).item())
        batch = crops(count, side)
        quality = stratified_quality(count, generator, *settings.dial)
        if passes is not None:
            outcome, images = passes(batch, quality), passes.inputs_of(batch.shape).images
        else:
            images = model.images_sent(quality)
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            outcome = objective(parallel, batch, quality.to(device), step, images)
            outcome.backward()
        objective.average_gradients(world)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        # Means over all processes, so that they decide alike: to step or to skip.
        loss = _mean_over_ranks(outcome.loss.detach(), world)
        value = _mean_over_ranks(outcome.codec_loss, world)
        step += 1
        done = share_done()
        usable = math.isfinite(loss) and bool(torch.isfinite(norm)) and objective.gradients_are_finite()
        if usable and (mean_loss is None or step < settings.warmup or value < settings.spike_factor * mean_loss):
            if update is not None:
                update()
            else:
                for optimizer in optimizers.values():
                    optimizer.step()
            model.quantizer.after_step(done)
            _update_ema(ema, model, min(settings.ema, (step + 1) / (step + 10)))
            mean_loss = value if mean_loss is None else 0.98 * mean_loss + 0.02 * value
            skips = 0
        else:
            skips += 1
            model.quantizer.skip_step()
            print(
                f"step {step}: squared error and rate {value:.3f} against {mean_loss}, loss {loss:.3f}, "
                f"gradient norm {norm:.3g}: skipped",
                flush=True,
            )
            if skips > MAX_SKIPS:
                raise TrainingError(f"diverged: {skips} steps skipped in a row at step {step}")
        progress.update()

        if main and step % 50 == 0:
            elapsed = time.monotonic() - started
            row = {
                "step": step,
                "seconds": round(elapsed, 1),
                "loss": round(loss, 4),
                "mean_loss": round(mean_loss or 0.0, 4),
                "psnr": round(-10 * torch.log10(outcome.mse).mean().item(), 2),
                "bpp": round(outcome.bpp.mean().item(), 4),
                "token_bits": [round(b, 1) for b in _bits_a_token(config, outcome.stage_bits, images, batch)],
                "lr": round(settings.muon_lr * factor, 6),
                "crop": side,
            }
            log_row(out, row | {name: round(value.item(), 4) for name, value in outcome.terms.items()})
            progress.set_postfix(loss=f"{row['mean_loss']:.3f}", bpp=row["bpp"], psnr=row["psnr"])
        if main and (step % settings.validation_every == 0 or done == 1) and large_enough(validation):
            with _swapped(model, ema):
                log_row(out, {"step": step, "validation": validate(model, validation, settings)})
        due = time.monotonic() - last_save > 60 * settings.checkpoint_minutes
        if main and (due or done == 1):
            elapsed = time.monotonic() - started
            save_checkpoint(
                path, config, model, ema, optimizers, generator, step, elapsed, mean_loss, objective.trained
            )
            last_save = time.monotonic()
    progress.close()
    if world > 1:
        dist.destroy_process_group()


def check_device(device: str) -> None:
    """Raises ConfigError for a device that this machine, or this torch, does not have."""
    try:
        torch.zeros(1, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(f"device {device!r}: {str(error).splitlines()[0]}") from error


def _start_distributed(device: str) -> tuple[int, int]:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return dist.get_rank(), world


def _chosen_by_first(precision: str, device: str, world: int) -> str:
    """The precision that rank 0 measures to be the faster one, where none is named."""
    chosen = [choose_precision(precision, device)]
    if world > 1:
        dist.broadcast_object_list(chosen, 0)
    return chosen[0]


def _mean_over_ranks(value: Tensor, world: int) -> float:
    if world > 1:
        dist.all_reduce(value)
    return value.item() / world


@torch.no_grad()
def _update_ema(ema: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    parameters = dict(model.named_parameters())
    torch._foreach_lerp_(list(ema.values()), [parameters[name] for name in ema], 1 - decay)


class _swapped:
    """The model with its averaged weights, for the length of a with block."""

    def __init__(self, model: nn.Module, ema: dict[str, Tensor]) -> None:
        self.model, self.parameters, self.ema = model, dict(model.named_parameters()), ema

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self.ema.items():
            kept = average.clone()
            average.copy_(self.parameters[name])
            self.parameters[name].copy_(kept)
        self.model.quantizer.refresh()


def _bits_a_token(config: ModelConfig, stage_bits: Tensor, images: Sequence[int], batch: Tensor) -> list[float]:
    """Mean bits a token of each stage over the images that were sent it."""
    means = []
    for stage, (scale, count) in enumerate(zip(config.stage_scales, images)):
        tokens = (batch.shape[2] >> (6 - scale)) * (batch.shape[3] >> (6 - scale))
        means.append(stage_bits[:, stage].sum().item() / (max(count, 1) * tokens))
    return means


def log_row(out: Path, row: dict) -> None:
    """Append a row to log.jsonl, and print it where no progress bar runs."""
    line = json.dumps(row)
    with open(out / "log.jsonl", "a") as file:
        file.write(line + "\n")
    if not sys.stderr.isatty() or "validation" in row:
        print(line, flush=True)
