"""What every effort saves and costs, on photographs held out of training.

    python -m tools.measure_refinement --data PATH... --efforts 2 3 5 7 --images 12

The central 256 x 256 of each image, at four qualities. A saving is the fall of lambda·255²·MSE + bpp in per cent of the
bpp at effort 1: the rate that could go at an unchanged error. Rates are the prior's cross-entropy. Seconds are those of
the refinement alone, per megapixel.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from leechcodec.codec import refinement
from leechcodec.codec.efforts import STEPS
from leechcodec.codec.model_store import load_model
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.model import CodecModel
from leechcodec.training.data import load_images
from leechcodec.training.validation import CROP, QUALITIES, centre, large_enough


@torch.inference_mode()
def costs(model: CodecModel, x: Tensor, quality: float, codes: list[Tensor]) -> tuple[float, float]:
    """lambda·255²·MSE + bpp, and bpp, of one image's codes. x: uint8 (1, 3, H, W)."""
    chosen, dial = [code.float() for code in codes], torch.tensor([quality])
    height, width = x.shape[2:]
    x_hat = model.decode(chosen, height, width, quality)
    layout = TokenLayout(model.config, quality, (height, width))
    bits = model.rates(chosen, dial, height, width, layout=layout).token_bits
    mse = (x_hat.clamp(-1, 1) - (x.float() / 127.5 - 1)).square().mean().item() / 4
    bpp = sum(stage.sum().item() for stage in bits) / (x.shape[2] * x.shape[3])
    return model.config.lmbda(quality) * 255**2 * mse + bpp, bpp


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model")
    parser.add_argument("--efforts", type=int, nargs="+", default=[e for e in STEPS if e > 1])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_model(args.model).networks
    _, held_out = load_images(args.data, validation_share=0.02, threads=args.threads)
    crops = [centre(image)[None] for image in large_enough(held_out)][: args.images]
    plain = {}
    for quality in QUALITIES:
        for number, x in enumerate(crops):
            with torch.inference_mode():
                codes = model.encode(x, quality)
            plain[quality, number] = codes, *costs(model, x, quality, codes)
    refinement.refine(model, crops[0], 100.0, model.encode(crops[0], 100.0), effort=2)  # compiles every kernel
    columns = " | ".join(f"q = {quality:g}" for quality in QUALITIES)
    print(f"{len(crops)} crops\n\n| effort | steps | {columns} | seconds a megapixel |")
    print("|" + "---|" * (len(QUALITIES) + 3))
    for effort in args.efforts:
        savings, seconds = [], []
        for quality in QUALITIES:
            took, saved = 0.0, 0.0
            for number, x in enumerate(crops):
                codes, before, bpp = plain[quality, number]
                started = time.perf_counter()
                found = refinement.refine(model, x, quality, codes, effort=effort)
                took += time.perf_counter() - started
                saved += (before - costs(model, x, quality, found)[0]) / bpp / len(crops)
            seconds.append(took / (len(crops) * CROP**2 / 1e6))
            savings.append(f"{-100 * saved:.1f} %".replace("-", "−"))
        cells = [str(effort), str(STEPS[effort]), *savings, f"{min(seconds):.1f} to {max(seconds):.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
