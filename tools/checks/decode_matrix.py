"""Encode in every setting, decode in every other: are the tokens equal to the bit, and the pixels within one level?

    python -m tools.checks.decode_matrix photo.png … [--python OTHER/bin/python] [--only SETTING] [--markdown]

A setting is a process of its own: threads, instruction sets (oneDNN, ATen, OpenBLAS and numba capped at AVX2), flushed
denormals, memory layout, tiles of a few rows and few tokens at once, the prior's matrix products through numpy,
compiled kernels off or for any processor, torch in ONNX Runtime's place, other interpreters with other versions of
torch and numpy, or without torch. A cell is one encoder's files in one
decoder. Exit status 1 where one differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
QUALITIES = (5, 50, 100)
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NUMBA_CPU_NAME": "haswell",
}
TORCH = {"LEECHCODEC_RUNTIME": "torch"}
SETTINGS: dict[str, dict] = {
    "plain": {},
    "1 thread": {"threads": 1},
    "2 threads": {"threads": 2},
    "AVX2": {"environment": AVX2},
    "any x86-64": {"environment": AVX2 | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}},
    "torch": {"environment": TORCH},
    "torch, flushed denormals": {"environment": TORCH, "flush": True},
    "torch, channels_last": {"environment": TORCH, "channels_last": True},
    "small pieces": {"pieces": True},
    "numpy products": {"numpy": True},
    "no compiler": {"environment": {"NUMBA_DISABLE_JIT": "1"}, "small": True},
}
"""small: takes part with the first, smallest case alone, because it is slow."""


def prepare(setting: dict) -> None:
    """Bring this process into a setting."""
    from leechcodec.codec import token_coding
    from leechcodec.codec.model_store import load_model
    from leechcodec.entropy import token_coder
    from leechcodec.networks import onnx_walk
    from leechcodec.threads import set_threads

    if "threads" in setting:
        set_threads(setting["threads"])
    if setting.get("pieces"):
        onnx_walk.WHOLE_PIXELS, onnx_walk.BAND_PIXELS, token_coding.TOKENS_AT_ONCE = 0, 1, token_coder.GROUP
    if setting.get("flush") or setting.get("channels_last"):
        import torch

        if setting.get("flush") and not torch.set_flush_denormal(True):
            sys.exit("this machine cannot flush denormals")
        if setting.get("channels_last"):
            load_model().networks.to(memory_format=torch.channels_last)
    if setting.get("numpy"):
        from leechcodec.networks.integer_prior_reference import ReferenceView

        token_coding.IntegerView = ReferenceView


def work(job: dict) -> None:
    """A process's part: encode cases to files, or decode files; what was found goes to standard output as JSON."""
    from PIL import Image

    from leechcodec.codec import api
    from leechcodec.codec.dial import tokens_quality

    prepare(job["setting"])
    found = {}
    for name, source, *quality in job["cases"]:
        if quality:
            tokens = api.tokenize(Image.open(source).convert("RGB"), quality=tokens_quality(quality[0]))
            data = api.compress(Image.open(source).convert("RGB"), quality=quality[0])
            Path(job["folder"], f"{name}.lq").write_bytes(data)
        else:
            data = Path(source).read_bytes()
            tokens, pixels = api.read_tokens(data), np.asarray(api.decompress(data))  # with the detail layer at 100
            np.save(Path(job["folder"], f"{name}.npy"), pixels)
        found[name] = tokens.digest()
    print(json.dumps(found))


def run(job: dict) -> dict[str, str]:
    python = job["setting"].get("python", sys.executable)
    command = [python, "-m", "tools.checks.decode_matrix", "--work", json.dumps(job)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | job["setting"].get("environment", {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{job['setting']}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def versions(python: str) -> str:
    """What an interpreter has, as a setting's name: torch or, where that is not there, ONNX Runtime."""
    program = """
from importlib.metadata import version
from importlib.util import find_spec
runtime = "torch" if find_spec("torch") else "onnxruntime"
print(*(f"{name} {version(name)}" for name in (runtime, "numpy", "numba")))
"""
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def crops(images: list[Path], folder: Path, size: int) -> list[Path]:
    """The images' centres as files, a tiny one of the first image before all others."""
    from PIL import Image

    paths = []
    for number, (path, side) in enumerate([(images[0], 40), *((path, size) for path in images)]):
        image = Image.open(path).convert("RGB")
        left, top = max(0, image.width - side) // 2, max(0, image.height - side) // 2
        paths.append(folder / f"{number}.png")
        image.crop((left, top, min(left + side, image.width), min(top + side, image.height))).save(paths[-1])
    return paths


def matrix(settings: dict[str, dict], pictures: list[Path], folder: str) -> dict[str, dict[str, tuple[bool, int]]]:
    """decoder -> encoder -> (tokens equal, largest difference of a pixel from the first decoder's).

    Encoders that wrote the same bytes share a decoding in each setting: only different files are decoded.
    """
    cases = [(f"{path.stem}-{quality}", str(path), quality) for path in pictures for quality in QUALITIES]
    known, files, different, same, reference, cells = {}, {}, {}, {}, {}, {}
    for encoder, setting in settings.items():
        chosen = [(f"{len(files)}-{name}", *rest) for name, *rest in (cases[:1] if setting.get("small") else cases)]
        known |= run({"setting": setting, "folder": folder, "cases": chosen})
        files[encoder] = [name for name, *_ in chosen]
        for name in files[encoder]:
            same[name] = different.setdefault(Path(folder, f"{name}.lq").read_bytes(), name)
    print(f"{len(same)} files, {len(different)} different ones", file=sys.stderr)
    for decoder, setting in settings.items():
        chosen = {encoder: names[:1] if setting.get("small") else names for encoder, names in files.items()}
        unlike = sorted({same[name] for name in chain(*chosen.values())})
        found = run({"setting": setting, "folder": folder, "cases": [(n, f"{folder}/{n}.lq") for n in unlike]})
        pixels = {name: np.load(Path(folder, f"{name}.npy")).astype(int) for name in unlike}
        cells[decoder] = {}
        for encoder, names in chosen.items():
            worst = 0
            for name in (same[name] for name in names):
                worst = max(worst, int(np.abs(pixels[name] - reference.setdefault(name, pixels[name])).max()))
            cells[decoder][encoder] = all(found[same[name]] == known[name] for name in names), worst
        print(f"{decoder}: decoded {len(unlike)} files", file=sys.stderr)
    return cells


def table(cells: dict[str, dict[str, tuple[bool, int]]], markdown: bool) -> str:
    """ "=" and the largest pixel difference in every cell."""
    header = ["decoder \\ encoder", *cells]
    widths = [max(len(header[0]), *map(len, cells)), *map(len, cells)]
    lines = [header]
    for decoder, row in cells.items():
        lines.append([decoder, *(f"{'=' if equal else 'DIFFERENT'} {worst}" for equal, worst in row.values())])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths)] for line in lines]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in padded)
    padded.insert(1, ["---"] * len(header))
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        return work(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--python", action="append", default=[], help="another interpreter that has the dependencies")
    parser.add_argument("--only", action="append", choices=SETTINGS, help="of the settings, these")
    parser.add_argument("--size", type=int, default=256, help="side of the crops")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    others = {versions(path): {"python": path} for path in args.python}
    if len(others) < len(args.python):
        parser.error("two of the other interpreters have the same versions")
    settings = {name: SETTINGS[name] for name in args.only or SETTINGS} | others
    with tempfile.TemporaryDirectory() as folder:
        cells = matrix(settings, crops(args.images, Path(folder), args.size), folder)
    results = [cell for row in cells.values() for cell in row.values()]
    failures = sum(not equal or worst > 1 for equal, worst in results)
    print(table(cells, args.markdown))
    print(f"\n{len(results)} cells, {failures} with other tokens or pixels more than one level apart")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
