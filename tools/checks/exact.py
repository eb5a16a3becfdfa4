"""Are a file's tokens the same whatever decodes it, and its bytes what the prior promised? Over a folder of images.

    python -m tools.checks.exact KODAK_DIR --quality 5 38 60 100 [--effort 3] [--reference]

Every image is encoded with two threads and its tokens are decoded with one and with two. A file may be 1 % + 72 bytes
larger than the prior's cross-entropy of its tokens (the exact integer probabilities). With --reference, the file is
read once more by the plain integer prior. The masses of all its tokens are computed again by the plain numpy
reference that the tests keep (some 0.2 ms per token) and compared bit for bit with the compiled kernels'. A detail
layer is left out: tokens are compared. Exit status 1 where anything differs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from leechcodec.codec import api, token_coding
from leechcodec.codec.dial import layer_of, tokens_quality
from leechcodec.codec.model_store import load_model
from leechcodec.codec.token_coding import Tokens, code_stages
from leechcodec.entropy import leech_masses
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.errors import CorruptError
from leechcodec.formats.container import read_file
from leechcodec.networks.integer_prior_reference import ReferenceView
from leechcodec.networks.layout import CHUNK_SCALES
from leechcodec.testing.entropy_reference import Reference


class Recorder:
    """Remembers the prior's parameters that a quantizer is given, within a with block."""

    def __init__(self, quantizer) -> None:
        self.quantizer, self.params = quantizer, []

    def __enter__(self) -> "Recorder":
        code_tokens = self.quantizer.code_tokens

        def recording(coder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
            self.params.append(params)
            return code_tokens(coder, params, codes)

        self.quantizer.code_tokens = recording  # of this object alone
        return self

    def __exit__(self, *_) -> None:
        del self.quantizer.code_tokens


def masses_agree(params: np.ndarray) -> bool:
    """Classes, octads and pairs of the compiled kernels and of the reference, bit for bit."""
    for start in range(0, len(params), 4096):
        group = params[start : start + 4096]
        classes, octads, pairs = leech_masses.shell_masses(group)
        reference = Reference(group)
        same = (
            np.array_equal(classes, np.stack(reference.classes, axis=1))
            and np.array_equal(octads, np.stack(reference.octads, axis=1))
            and np.array_equal(pairs, np.array(reference.pairs).transpose(2, 0, 1))
        )
        if not same:
            return False
    return True


def read_by_reference(data: bytes, model: str | None, known: Tokens) -> bool:
    """Whether the file has the same tokens where the plain integer prior reads it."""
    kernels = token_coding.IntegerView
    token_coding.IntegerView = ReferenceView
    try:
        read = api.read_tokens(data, model=model)
    except CorruptError:
        return False
    finally:
        token_coding.IntegerView = kernels
    return read.digest() == known.digest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--quality", type=float, nargs="+", default=[60.0])
    parser.add_argument("--effort", type=int, default=1)
    parser.add_argument("--reference", action="store_true")
    args = parser.parse_args()
    loaded, failures, tokens, largest = load_model(args.model), 0, 0, 0.0
    for path, quality in [(path, quality) for quality in args.quality for path in sorted(args.folder.glob("*.png"))]:
        torch.set_num_threads(2)
        image = Image.open(path).convert("RGB")
        settings = {"model": args.model, "effort": args.effort}
        known = api.tokenize(image, quality=tokens_quality(quality), **settings)
        data = api.compress(image, quality=quality, **settings)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            read = api.read_tokens(data, model=args.model)
            failures += not all(np.array_equal(a, b) for a, b in zip(known.codes, read.codes, strict=True))
        tokens += sum(codes[..., 0].size for codes in known.codes)
        ideal = sum(api.ideal_bits(known, model=args.model)) / 8
        size = len(data) - len(layer_of(read_file(data)[1]) or b"")
        overhead = (size - 72) / ideal - 1
        failures += overhead > 0.01
        largest = max(largest, overhead)
        if args.reference:
            coders = [BitCounter() for _ in CHUNK_SCALES]
            with Recorder(loaded.code) as recorder:
                code_stages(loaded, known.layout(loaded.config), coders, known.codes)
            failures += not masses_agree(np.concatenate(recorder.params))
            failures += not read_by_reference(data, args.model, known)
        print(f"{path.name} q {quality:g}: {size} bytes, ideal {ideal:.0f}; {failures} failures so far", flush=True)
    print(f"{tokens:,} tokens, {failures} failures; files at most {100 * largest:.2f} % + 72 bytes over the ideal")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
