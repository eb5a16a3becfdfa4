"""What the integer, token-fed prior costs in rate, against a float prior on decoder features (which could not ship).

    python -m tools.measure_prior CHECKPOINT CONFIG --data PATH... --steps 400

Three rates of the same tokens on the held-out split: the exact integers (what files hold), the float view of the same
weights, and a two-layer float head on the synthesis transform's state at every stage, trained here with the network
frozen. The last is what a codec that need not decode elsewhere would use; it sees no neighbour within its stage.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leechcodec.config import ModelConfig
from leechcodec.networks.integer_prior import IntegerParams, IntegerView
from leechcodec.networks.integer_prior_weights import IntegerWeights, integer_weights
from leechcodec.networks.model import CodecModel
from leechcodec.networks.prior import FloatView
from leechcodec.networks.transforms import QualityTable, knot_weights
from leechcodec.training.data import Cropper, load_images
from leechcodec.training.loop import stratified_quality
from leechcodec.training.muon import Muon
from leechcodec.training.settings import load_settings
from leechcodec.training.state import load_weights
from leechcodec.training.validation import CROP, QUALITIES, large_enough


class FeaturePrior(nn.Module):
    """A two-layer head on the synthesis state of every stage: conv 3x3, GELU, conv 1x1."""

    def __init__(self, config: ModelConfig, num_params: int) -> None:
        super().__init__()
        widths = [config.channels[scale] for scale in config.stage_scales]
        self.hidden = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths)
        self.bias = nn.ModuleList(QualityTable(config.quality_knots, width) for width in widths)
        self.head = nn.ModuleList(nn.Conv2d(width, num_params, 1) for width in widths)

    def forward(self, stage: int, state: Tensor, q: Tensor) -> Tensor:
        return self.head[stage](nn.functional.gelu(self.hidden[stage](state) + self.bias[stage](q)))


@torch.no_grad()
def states_and_codes(model: CodecModel, x: Tensor, quality: float) -> tuple[list[Tensor], list[Tensor]]:
    """Synthesis states before each stage sent, and its integer codes."""
    weights = knot_weights(x.new_full((len(x),), quality), model.config.quality_knots)
    features, states, codes = model.analysis(x, weights), [], []

    def choose_codes(stage: int, state: Tensor) -> Tensor | None:
        if stage >= model.config.stages_sent(quality):
            return None
        feature = features[model.config.stage_scales[stage]]
        z = model.synthesis.stages[stage].encode(feature, state, weights)
        integers, code = model.quantizer.quantize(z.permute(0, 2, 3, 1), check=False)
        states.append(state)
        codes.append(integers.permute(0, 3, 1, 2))
        return code.permute(0, 3, 1, 2) * model.code_scale

    model.synthesis(x.shape[2], x.shape[3], weights, choose_codes)
    return states, codes


def bits(model: CodecModel, params: Tensor, codes: Tensor, limit: int | None = None) -> Tensor:
    """Total bits of codes (B, dim, h, w) under params (B, P, h, w); a sample of `limit` tokens scaled up."""
    quantizer = model.quantizer
    table = params.permute(0, 2, 3, 1).reshape(-1, quantizer.dim, quantizer.params_per_coordinate)
    flat = codes.permute(0, 2, 3, 1).reshape(-1, quantizer.dim).float()
    total = len(flat)
    if limit and total > limit:
        rows = torch.randperm(total)[:limit]
        table, flat = table[rows], flat[rows]
    return quantizer.bits_of(table, flat).sum() * (total / len(flat))


@torch.no_grad()
def code_bits(model: CodecModel, view, codes: list[Tensor], unit: float) -> float:
    """Bits of one image's codes under a view of the prior."""
    total = 0.0

    def code_pass(stage: int, mask: Any, params: Tensor | IntegerParams) -> Tensor | None:
        nonlocal total
        if stage >= len(codes):
            return None
        mask = None if mask is None else torch.as_tensor(mask)
        code = codes[stage] if mask is None else codes[stage] * mask
        rows = torch.ones(code.shape[2:], dtype=torch.bool) if mask is None else mask
        quantizer = model.quantizer
        params = torch.from_numpy(params.all()) if isinstance(params, IntegerParams) else params
        table = (params * unit).float()[0][:, rows].T.reshape(-1, quantizer.dim, quantizer.params_per_coordinate)
        total += quantizer.bits_of(table, code[0][:, rows].T.float()).sum().item()
        return code.double() if unit != 1 else code.float()

    model.prior.run(view, CROP, CROP, code_pass)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config, settings = load_settings(args.config)
    model = CodecModel(config).eval()
    load_weights(args.checkpoint, config, model)
    training, held_out = load_images(
        args.data, validation_share=settings.validation_share, exclude=settings.exclude, threads=args.threads
    )
    generator = torch.Generator().manual_seed(1)
    crops, feature_prior = Cropper(training, generator), FeaturePrior(config, model.quantizer.num_params)
    matrices = [p for p in feature_prior.hidden.parameters() if p.ndim == 4]
    rest = [p for p in feature_prior.parameters() if all(p is not m for m in matrices)]
    optimizers = [Muon(matrices, lr=2e-3), torch.optim.AdamW(rest, lr=2e-3, weight_decay=0.0)]
    for step in range(args.steps):
        factor = min(1.0, 2 * (1 - step / args.steps))
        for optimizer, rate in zip(optimizers, (2e-3, 2e-3)):
            optimizer.param_groups[0]["lr"] = rate * factor
        for quality in stratified_quality(4, generator).tolist():
            x = crops(4, 128).float() / 127.5 - 1
            states, codes = states_and_codes(model, x, quality)
            q = knot_weights(torch.full((4,), quality), config.quality_knots)
            loss = sum(bits(model, feature_prior(i, s, q), c, 256) for i, (s, c) in enumerate(zip(states, codes)))
            (loss / x[:, 0].numel()).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    integers = IntegerWeights(integer_weights(model.prior))
    images = large_enough(held_out)[:24]
    for quality in QUALITIES:
        totals = torch.zeros(3, dtype=torch.float64)
        for image in images:
            x = image[:, :CROP, :CROP][None].float() / 127.5 - 1
            states, codes = states_and_codes(model, x, quality)
            q = knot_weights(torch.tensor([quality]), config.quality_knots)
            with torch.no_grad():
                feature = sum(bits(model, feature_prior(i, s, q), c) for i, (s, c) in enumerate(zip(states, codes)))
            totals += torch.tensor(
                [
                    code_bits(model, IntegerView(integers, round(100 * quality)), codes, 1 / 64),
                    code_bits(model, FloatView(model.prior, torch.tensor([quality])), codes, 1),
                    feature.item(),
                ]
            )
        integer, floating, feature = (totals / len(images) / CROP**2).tolist()
        print(json.dumps({"q": quality, "integer": integer, "float_view": floating, "feature_prior": feature}))


if __name__ == "__main__":
    main()
