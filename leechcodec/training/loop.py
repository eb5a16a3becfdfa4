"""The training loop: one function, resumable at any step, on one device or several (torchrun).

settings ─▶ images in memory ─▶ crops ─▶ CodecModel ─▶ objective ─▶ Muon or Dion + AdamW ─▶ EMA ─▶ checkpoint
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from leechcodec.config import ModelConfig
from leechcodec.networks.model import CodecModel
from leechcodec.training.arrivals import Arrivals
from leechcodec.training.data import Cropper, load_images
from leechcodec.training.grow import load_grown
from leechcodec.training.objective import Objective
from leechcodec.training.precision import choose_precision
from leechcodec.training.processes import start_processes
from leechcodec.training.run import Budget, Run, TrainingError, refuse_to_overwrite
from leechcodec.training.settings import TrainingConfig, load_settings
from leechcodec.training.steps import Gradients, Steps, optimizers_of
from leechcodec.training.validation import large_enough, validate

MAX_SKIPS = 10
"""After so many skipped steps in a row the weights are broken: the run goes back to their averages."""
MAX_RETURNS = 3
"""It does so no more often: it has diverged."""


def stratified_quality(count: int, generator: torch.Generator, low: float = 1.0, high: float = 100.0) -> Tensor:
    """Dial values (count,) spread evenly over low..high, falling: log-uniform in lmbda."""
    steps = torch.arange(count) + torch.rand(count, generator=generator)
    return (low + (high - low) * steps / count).flip(0)


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
    watch: bool = False,
) -> None:
    """Train the model of a config file.

    data: folders or tar files of images. out: folder for checkpoint, log.jsonl. resume: go on from out's
    checkpoint; without it there must be none. steps: stop (and plan the decay) there instead of at the config's
    number. minutes: stop (and plan the decay) after so many of training in all, whatever the number of steps. init:
    a checkpoint whose averaged weights are the start, or a released model's folder; it may have less of everything,
    and another dial (grow.py). lpips_weights, vf_weights: what a config with lpips or vf_weight needs
    (objective.py). watch: train on what arrives in data's folders, too. Raises ConfigError, ModelError, TrainingError.
    """
    config, settings = load_settings(config_path)
    if not resume:
        refuse_to_overwrite(out)
    settings = replace(settings, steps=settings.steps if steps is None else steps)
    if threads:
        torch.set_num_threads(threads)
    processes = start_processes(device)
    settings = replace(settings, precision=processes.of_first(choose_precision(settings.precision, device)))
    torch.manual_seed(settings.seed)
    model = CodecModel(config).to(device)
    model.to(memory_format=torch.channels_last)  # pyright: ignore (torch's types know no memory format here)
    objective = Objective(
        config, settings, model.quantizer.dim, lpips_weights=lpips_weights, vf_weights=vf_weights, device=device
    )
    generator = torch.Generator().manual_seed(settings.seed * 1000 + processes.rank)
    run = Run(
        out, config, model, optimizers_of(settings, model, objective, processes), generator,
        Budget(settings.steps, minutes),
        ema=settings.ema, checkpoint_minutes=settings.checkpoint_minutes, trained=objective.trained,
        processes=processes,
    )  # fmt: skip
    if resume:
        run.load()
        if not processes.main:  # the checkpoint holds rank 0's place in the data
            generator.manual_seed(settings.seed * 1000 + processes.rank + 1_000_003 * run.step)
    elif init is not None:
        load_grown(init, config, model)
        run.start_from_trained()
    arrivals = _arrivals(data, settings) if watch else None  # before the images that are there are read
    training, validation = _images(data, settings, threads or 1, run)
    shown = settings.scales, settings.graphics, settings.choices
    crops = Cropper([image.to(device) for image in training], generator, *shown)
    if not resume and init is None:
        _calibrate(model, crops, settings)
    _train(run, Steps(run, model, objective), crops, large_enough(validation), arrivals)
    processes.close()


def _calibrate(model: CodecModel, crops: Cropper, settings: TrainingConfig) -> None:
    x = crops(settings.batch, settings.crop).float() / 127.5 - 1
    model.calibrate(x, stratified_quality(settings.batch, crops.generator, *settings.dial).to(x.device))


def _arrivals(data: Sequence[Path], settings: TrainingConfig) -> Arrivals:
    return Arrivals(data, validation_share=settings.validation_share, exclude=settings.exclude)


def _images(
    data: Sequence[Path], settings: TrainingConfig, threads: int, run: Run
) -> tuple[list[Tensor], list[Tensor]]:
    """Those to train on and those held out, and a line that says how many."""
    training, validation = load_images(
        data, validation_share=settings.validation_share, exclude=settings.exclude, threads=threads
    )
    if run.processes.main:
        pixels = sum(image[0].numel() for image in training) / 1e6
        parameters = sum(p.numel() for p in run.model.parameters()) / 1e6
        print(
            f"{parameters:.2f} M parameters; {len(training)} images, {pixels:.0f} MP; {len(validation)} held out; "
            f"{settings.precision}",
            flush=True,
        )
    return training, validation


def _train(run: Run, steps: Steps, crops: Cropper, validation: list[Tensor], arrivals: Arrivals | None = None) -> None:
    """Steps until the run is done. validation: images that are large enough, or none."""
    model, settings, skips, returns = steps.model, steps.settings, 0, 0
    with run, arrivals or nullcontext():
        while run.done < 1:
            factor = settings.rate_factor(run.step, run.done)
            steps.set_rates(factor)
            if arrivals is not None and (images := arrivals.take()):
                crops.add(images)
            count, side = settings.shape(run.done, _shape_draw(settings.seed, run.step))
            batch = crops(count, side)
            gradients = steps.gradients(batch, stratified_quality(count, run.generator, *settings.dial))
            run.advance()
            if _is_usable(gradients, run, settings):
                steps.update()
                run.average()
                value = gradients.codec_loss
                run.mean_loss = value if run.mean_loss is None else 0.98 * run.mean_loss + 0.02 * value
                skips = 0
            else:
                skips += 1
                model.quantizer.skip_step()
                if run.processes.main:
                    _say_skipped(gradients, run)
                if skips == MAX_SKIPS:
                    skips, returns = 0, returns + 1
                    _go_back(run, model, returns)
            if run.log_is_due:
                _log(run, gradients, settings.muon_lr * factor, batch, model.quantizer.bits)
            if validation and (run.step % settings.validation_every == 0 or run.done == 1):
                with run.averaged():
                    model.quantizer.refresh()
                    found = validate(model, validation, settings, run.processes)
                    if run.processes.main:
                        run.log({"validation": found})
                model.quantizer.refresh()
            run.save_if_due()


def _go_back(run: Run, model: CodecModel, returns: int) -> None:
    """From broken weights to their averages. Raises TrainingError where that was done before, and did not help."""
    if returns > MAX_RETURNS:
        raise TrainingError(f"diverged at step {run.step}, and {MAX_RETURNS} times before")
    run.return_to_averages()
    model.quantizer.refresh()
    if run.processes.main:
        run.log({"returned_to_averages": returns})


def _shape_draw(seed: int, step: int) -> float:
    """A uniform number, 0..1, that is the same in every process: none waits for another's larger crops."""
    return torch.rand((), generator=torch.Generator().manual_seed(seed * 1_000_003 + step)).item()


def _is_usable(gradients: Gradients, run: Run, settings: TrainingConfig) -> bool:
    """Whether a step is to be taken: all is finite, and squared error and rate are no spike."""
    if not gradients.finite:
        return False
    if run.mean_loss is None or run.step < settings.warmup:
        return True
    return gradients.codec_loss < settings.spike_factor * run.mean_loss


def _say_skipped(gradients: Gradients, run: Run) -> None:
    print(
        f"step {run.step}: squared error and rate {gradients.codec_loss:.3f} against {run.mean_loss}, "
        f"loss {gradients.loss:.3f}, gradient norm {gradients.norm:.3g}: skipped",
        flush=True,
    )


def _log(run: Run, gradients: Gradients, rate: float, batch: Tensor, uniform: float) -> None:
    """uniform: bits of a token without a prior."""
    outcome = gradients.outcome
    token_bits = _bits_a_token(run.config, outcome.stage_bits, gradients.images, batch)
    row = {
        "seconds": round(run.seconds, 1),
        "loss": round(gradients.loss, 4),
        "mean_loss": round(run.mean_loss or 0.0, 4),
        "psnr": round(-10 * torch.log10(outcome.mse).mean().item(), 2),
        "bpp": round(outcome.bpp.mean().item(), 4),
        "token_bits": [round(bits, 1) for bits in token_bits],
        "lr": round(rate, 6),
        "crop": batch.shape[2],
        "norm": round(float(gradients.norm), 3),
    }
    if worse := [number for number, bits in enumerate(token_bits, 1) if bits > uniform + 1]:
        row["worse_than_no_prior"] = worse  # stages; docs/training.md says what to do
    run.log(row | {name: round(float(value), 4) for name, value in outcome.terms.items()})
    run.progress.set_postfix(loss=f"{row['mean_loss']:.3f}", bpp=row["bpp"], psnr=row["psnr"])


def _bits_a_token(config: ModelConfig, stage_bits: Tensor, images: Sequence[int], batch: Tensor) -> list[float]:
    """Mean bits a token of each stage over the images that were sent it."""
    means = []
    for stage, (scale, count) in enumerate(zip(config.stage_scales, images)):
        tokens = (batch.shape[2] >> (6 - scale)) * (batch.shape[3] >> (6 - scale))
        means.append(stage_bits[:, stage].sum().item() / (max(count, 1) * tokens))
    return means
