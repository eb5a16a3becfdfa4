"""Small photographs-to-be and results for the laboratory's tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from leechcodec.lab.results import ImageRow, Results, means


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """A smooth colour picture with some texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8))


def noisy(image: Image.Image, amplitude: int, seed: int = 1) -> Image.Image:
    """The picture with uniform noise."""
    pixels = np.asarray(image).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def row(**changes) -> ImageRow:
    """A row of an image at a setting."""
    metrics = dict(psnr=30.0, ms_ssim=None, ssim=0.9, ssimulacra2=None, lpips=None)
    facts = dict(image="a.png", setting="q1", width=8, height=8, bytes=8, bpp=1.0, **metrics)
    return replace(
        ImageRow(**facts, encode_s=0.1, decode_s=0.1, file="files/x/q1/a.png"),
        **changes,
    )


def results(codec: str = "jpeg", gain: float = 0.0, points: int = 6, lpips: bool = True) -> Results:
    """A codec whose PSNR is 6 dB a doubling of the rate, plus a gain in dB."""
    rows = [
        row(
            setting=f"q{number}",
            bpp=0.1 * 2**number,
            psnr=25.0 + 6 * number + gain,
            ms_ssim=1 - 0.1 * 0.5**number,
            ssimulacra2=100 - 80 * 0.6**number,
            lpips=0.5 * 0.6**number if lpips else None,
        )
        for number in range(points)
    ]
    settings, columns = means(rows)
    return Results(
        name=codec.upper(),
        codec=codec,
        description="made up",
        dataset="nowhere",
        machine={},
        versions={},
        model=None,
        settings=settings,
        results=columns,
        images=tuple(rows),
    )


def lpips_weights(folder: Path) -> Path:
    """A backbone of the right shapes with random weights."""
    import torch
    from safetensors.torch import save_file

    from leechcodec.training.lpips_net import CONVOLUTIONS, FILE_NAME

    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer, (outputs, inputs, side) in CONVOLUTIONS.items():
        shape = (outputs, inputs, side, side)
        tensors[f"features.{layer}.weight"] = torch.randn(shape, generator=generator) / (inputs * side * side) ** 0.5
        tensors[f"features.{layer}.bias"] = torch.zeros(outputs)
    save_file(tensors, folder / FILE_NAME)
    return folder / FILE_NAME
