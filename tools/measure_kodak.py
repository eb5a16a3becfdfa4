"""Rate, distortion and speed of a model on a folder of images, through real files, beside JPEG, JPEG 2000 and WebP.

    python tools/measure_kodak.py KODAK_DIR --model leech-vbr --quality 10 30 50 70 90 -o kodak.json

bpp counts every byte of the file. PSNR is on 8-bit RGB, MS-SSIM by pytorch-msssim (range 255); figures are means
over the images. "overhead" is file size over the prior's cross-entropy (the exact integer probabilities), the worst
image shown. Peers run at seven settings; the PSNR beside each line is theirs at that bpp, interpolated in log bpp.
"""

import argparse
import io
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim

from leechcodec import codec
from leechcodec.checkpoint import load_model

PEERS = {
    "JPEG 4:2:0": ("JPEG", [dict(quality=q, subsampling=2, optimize=True) for q in (5, 10, 20, 35, 55, 75, 90)]),
    "JPEG 2000": ("JPEG2000", [dict(quality_mode="rates", quality_layers=[24 / r], irreversible=True, mct=1)
                               for r in (0.06, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2)]),
    "WebP": ("WEBP", [dict(quality=q, method=6) for q in (0, 8, 20, 40, 60, 80, 92)]),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--quality", type=float, nargs="+", default=[1, 20, 40, 50, 60, 80, 100])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=Path, help="take the peers from this file; made there where it is missing")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images = [(path.name, Image.open(path).convert("RGB")) for path in sorted(args.folder.glob("*.png"))]
    if not images:
        sys.exit(f"no PNG images in {args.folder}")
    peers = measured_peers(images, args.peers)
    codec.decompress(codec.compress(images[0][1], model=args.model), model=args.model)  # compiled kernels
    loaded = load_model(args.model)
    rows = [measure(images, quality, args.model) for quality in args.quality]
    result = {
        "model": loaded.name,
        "token_model": loaded.token_model.hex(),
        "synthesis": loaded.synthesis.hex(),
        "machine": f"{platform.machine()}, {args.threads} threads",
        "images": len(images),
        "points": rows,
        "peers": peers,
    }
    for row in rows:
        beside = "  ".join(f"{name} {interpolate(points, row['bpp']):.2f}" for name, points in result["peers"].items())
        print(
            f"q {row['quality']:5.1f}  {row['bpp']:.4f} bpp  {row['psnr']:.3f} dB  MS-SSIM {row['ms_ssim']:.4f}  "
            f"encode {row['encode_s']:.2f} s  decode {row['decode_s']:.2f} s  "
            f"overhead ≤ {100 * row['overhead_share']:.2f} % + 72 B: {row['within_bound']}  | same bpp: {beside}"
        )
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n")


def measured_peers(images: list[tuple[str, Image.Image]], path: Path | None) -> dict[str, list[dict]]:
    """Points of every peer, from a file of an earlier run where there is one."""
    if path is not None and path.is_file():
        return json.loads(path.read_text())
    peers = {name: peer(images, *spec) for name, spec in PEERS.items()}
    if path is not None:
        path.write_text(json.dumps(peers, indent=1) + "\n")
    return peers


def measure(images: list[tuple[str, Image.Image]], quality: float, model: str | None) -> dict:
    """One quality over all images."""
    rows = []
    for name, image in images:
        start = time.perf_counter()
        data = codec.compress(image, quality=quality, model=model)
        middle = time.perf_counter()
        read = codec.read_tokens(data, model=model)
        decoded = codec.detokenize(read, model=model)
        end = time.perf_counter()
        tokens = codec.tokenize(image, quality=quality, model=model)
        bits = sum(codec.ideal_bits(read, model=model))
        rows.append(
            {
                "image": name,
                "bytes": len(data),
                "ideal_bytes": bits / 8,
                "tokens_equal": all(np.array_equal(a, b) for a, b in zip(tokens.codes, read.codes, strict=True)),
                "encode_s": middle - start,
                "decode_s": end - middle,
                **distortion(image, decoded),
                "bpp": 8 * len(data) / (image.width * image.height),
            }
        )
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key not in ("image", "tokens_equal")}
    excess = [(row["bytes"] - 72) / row["ideal_bytes"] - 1 for row in rows]
    return {
        "quality": quality,
        **means,
        "overhead_share": max(excess),
        "within_bound": all(value <= 0.01 for value in excess),
        "tokens_equal": all(row["tokens_equal"] for row in rows),
        "rows": rows,
    }


def distortion(image: Image.Image, decoded: Image.Image) -> dict[str, float]:
    """PSNR in dB and MS-SSIM of two RGB images of one size."""
    a, b = np.asarray(image, dtype=np.float64), np.asarray(decoded, dtype=np.float64)
    tensors = [torch.from_numpy(array).permute(2, 0, 1)[None].float() for array in (a, b)]
    return {
        "psnr": float(-10 * np.log10(np.mean((a - b) ** 2) / 255**2)),
        "ms_ssim": ms_ssim(*tensors, data_range=255).item(),
    }


def peer(images: list[tuple[str, Image.Image]], file_format: str, settings: list[dict]) -> list[dict]:
    """Mean bpp, PSNR and MS-SSIM of a Pillow codec at each setting."""
    points = []
    for setting in settings:
        rows = []
        for _, image in images:
            buffer = io.BytesIO()
            image.save(buffer, file_format, **setting)
            decoded = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
            bpp = 8 * len(buffer.getvalue()) / (image.width * image.height)
            rows.append({"bpp": bpp, **distortion(image, decoded)})
        points.append({**{key: float(np.mean([row[key] for row in rows])) for key in rows[0]}, "setting": str(setting)})
    return points


def interpolate(points: list[dict], bpp: float) -> float:
    """A peer's PSNR at a rate, linear in log bpp between its two nearest points; NaN outside its range."""
    rates = [point["bpp"] for point in points]
    return float(np.interp(np.log(bpp), np.log(rates), [p["psnr"] for p in points], left=np.nan, right=np.nan))


if __name__ == "__main__":
    main()
