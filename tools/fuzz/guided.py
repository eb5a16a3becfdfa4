"""Coverage-guided fuzzing of the container and the decoder (atheris, libFuzzer): only LqError may come out.

    pip install 'leechcodec[fuzz]'
    python -m tools.fuzz.guided containers CORPUS -max_total_time=600
    python -m tools.fuzz.guided decodes CORPUS -max_total_time=600

Files of a tiny untrained model are put into CORPUS to start from; what reaches new code is added to it. Half of the
mutations repair every checksum, so that what lies behind them is reached. The options after CORPUS are libFuzzer's.
"""

# ruff: noqa: E402 - what is instrumented decides the order of the imports

import argparse
import hashlib
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import atheris

for name in ("networks.model", "networks.integer_prior", "detail.coding"):
    import_module(f"leechcodec.{name}")
with atheris.instrument_imports():  # not what is imported by now: no kernel compiles instrumented
    for name in ("formats.container", "formats.side_data", "codec.token_coding", "codec.api"):
        import_module(f"leechcodec.{name}")

from leechcodec.codec.model_store import save_model
from leechcodec.errors import LqError
from leechcodec.testing.mutations import repaired
from leechcodec.testing.tiny import tiny_model
from tools.fuzz.seeded import container, decode, seeds

MAX_BYTES = 20_000


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's mutation, every second time with the checksums set right."""
    data = atheris.Mutate(data, max_size)
    return repaired(data)[:max_size] if seed % 2 else data


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mode", choices=("containers", "decodes"))
    parser.add_argument("corpus", type=Path)
    args, options = parser.parse_known_args()
    args.corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        model = Path(work) / "tiny"
        save_model(model, tiny_model())
        for data in seeds(model):
            (args.corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        target = container if args.mode == "containers" else decode

        def one_input(data: bytes) -> None:
            try:
                target(data, model)
            except LqError:
                return

        for data in seeds(model):
            one_input(data)  # compiles what an input must not be blamed for
        command = [
            sys.argv[0],
            f"-max_len={MAX_BYTES}",
            "-rss_limit_mb=4096",
            "-timeout=10",
            *options,
            str(args.corpus),
        ]
        atheris.Setup(command, one_input, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
