"""CPU seconds of the token coder on an image's own tokens, and of compiling its kernels; beside another checkout.

    taskset -c 0 python -m tools.bench_coder data/sample.png [--quality 10 55 90] [--repeats 12] [--beside CHECKOUT]

The prior's parameters and the tokens are recorded once; every checkout codes the same ones in a process of its own, on
one thread, and must write the same bytes. The best of the repeats counts. The first call is that of a process with an
empty cache of kernels.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import load_model
from leechcodec.entropy.token_coder import TokenCoder

WORKER = """
import hashlib, json, sys, time
import numpy as np
try:
    from leechcodec.entropy.leech_tokens import code_leech_tokens as code
    from leechcodec.entropy.range_coder import TokenDecoder, TokenEncoder
except ImportError:  # before 2026-11-28
    from leechcodec.entropy import TokenDecoder, TokenEncoder, code_leech_tokens as code
case = np.load(sys.argv[1])
origin = bool(case["origin"])
passes = [(case[f"params_{k}"], case[f"codes_{k}"]) for k in range(len(case.files) // 2)]

def encode():
    encoder = TokenEncoder()
    for params, codes in passes:
        code(encoder, params, codes, origin=origin)
    return encoder.to_bytes()

def decode(data):
    decoder = TokenDecoder(data)
    for params, _ in passes:
        code(decoder, params, origin=origin)
    decoder.finish()

def seconds(function, *inputs):
    start = time.process_time()
    function(*inputs)
    return time.process_time() - start

first, data = seconds(encode), encode()
best = [min(seconds(*call) for _ in range(int(sys.argv[2]))) for call in ((encode,), (decode, data))]
print(json.dumps([first, *best, hashlib.sha256(data).hexdigest()]))
"""


def record(path: Path, image: Image.Image, quality: float) -> int:
    """Write the parameters and codes of every pass of the prior to a file. Returns the number of tokens."""
    code = load_model(None).code
    passes: dict[str, Any] = {}
    code_tokens = code.code_tokens

    def recording(coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        number = len(passes) // 2
        passes[f"params_{number}"], passes[f"codes_{number}"] = params, codes
        return code_tokens(coder, params, codes)

    tokens = api.tokenize(image, quality=quality)
    code.code_tokens = recording  # of this object alone
    try:
        api.write_tokens(tokens)
    finally:
        del code.code_tokens
    np.savez(path, origin=code.origin, **passes)
    return sum(len(passes[name]) for name in passes if name.startswith("codes"))


def measure(checkout: Path, case: Path, repeats: int) -> tuple[float, float, float, str]:
    """First call, encoding and decoding in CPU seconds, and the SHA-256 of the stream."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "NUMBA_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER, str(case), str(repeats)]
        output = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return tuple(json.loads(output.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--quality", type=float, nargs="+", default=[10.0, 55.0, 90.0])
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--beside", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    checkouts = [Path(__file__).resolve().parents[1]] + ([args.beside.resolve()] if args.beside else [])
    print("| q | tokens | checkout | first call | encode | decode | µs per token, encode | decode |\n|" + "---|" * 8)
    with tempfile.TemporaryDirectory() as folder, Image.open(args.image) as image:
        for quality in args.quality:
            case = Path(folder) / f"{quality:g}.npz"
            count = record(case, image.convert("RGB"), quality)
            rows = [measure(checkout, case, args.repeats) for checkout in checkouts]
            for name, (first, encode, decode, _) in zip(("this", "beside"), rows):
                figures = f"{first:.1f} s | {encode:.3f} s | {decode:.3f} s"
                per_token = f"{1e6 * encode / count:.2f} | {1e6 * decode / count:.2f}"
                print(f"| {quality:g} | {count} | {name} | {figures} | {per_token} |", flush=True)
            if len({row[3] for row in rows}) > 1:
                sys.exit("the checkouts wrote different bytes")


if __name__ == "__main__":
    main()
