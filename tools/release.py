"""Turn a training checkpoint into a released model folder: config.json and weights.safetensors.

    python tools/release.py runs/leech-vbr/checkpoint.safetensors models/leech-vbr

The averaged weights are taken; card.md is written by hand.
"""

import argparse
import json
from pathlib import Path

from safetensors import safe_open

from leechcodec.codec.model_store import load_model, save_model
from leechcodec.config import ModelConfig
from leechcodec.networks.model import CodecModel
from leechcodec.training.state import load_weights


def release(checkpoint: Path, folder: Path) -> dict[str, str]:
    """Write the model of a checkpoint; returns the checkpoint's metadata."""
    with safe_open(checkpoint, "pt") as file:
        config = ModelConfig.from_dict(json.loads(file.metadata()["config"]))
    model = CodecModel(config)
    metadata = load_weights(checkpoint, config, model)
    save_model(folder, model)
    return metadata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    metadata = release(args.checkpoint, args.folder)
    loaded = load_model(args.folder)
    size = (args.folder / "weights.safetensors").stat().st_size / 2**20
    print(
        f"{args.folder}: step {metadata['step']}, {float(metadata['seconds']) / 3600:.2f} h, {size:.1f} MiB, "
        f"token model {loaded.token_model.hex()}, synthesis {loaded.synthesis.hex()}"
    )


if __name__ == "__main__":
    main()
