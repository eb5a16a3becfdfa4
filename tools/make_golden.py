"""Write golden files for a released model: .lq files, what they must decode to, for ever.

    python -m tools.make_golden tests/golden/leech-vbr-1
    python -m tools.make_golden tests/golden/leech-vbr-1-layer --only finest
    python -m tools.make_golden tests/golden/leech-vbr-1-together --only crop wide
    python -m tools.make_golden tests/golden/leech-open-1-filter --only filtered --model leech-open
    python -m tools.make_golden tests/golden/leech-open-1-textured --only textured --model leech-open

Crops of data/sample.png at several qualities, one with transparency and metadata. For each: the file, the SHA-256 of
its tokens and the decoded picture. A folder is written once, for a new model or format version, and never again: the
tool refuses a folder that exists.
"""

import argparse
import json
import sys
from pathlib import Path

from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.model_store import load_model

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample.png"
CASES = {"small": (0, 0, 1, 1, 50), "wide": (200, 150, 500, 170, 5), "crop": (300, 100, 500, 250, 40.3),
         "fine": (320, 120, 450, 220, 82.4), "finest": (350, 150, 430, 214, 100),
         "filtered": (0, 0, 192, 144, 88), "textured": (300, 100, 620, 340, 60)}  # fmt: skip
"""Name -> left, top, right, bottom of the crop, and quality; at two of them leech-vbr sends a stage in part. The last
two have a post-filter with leech-open: the first files with one had it in a chunk of its own, and no clipped pairs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="Where others have not changed.")
    args = parser.parse_args()
    if args.folder.exists():
        sys.exit(f"{args.folder} exists: golden files are never written again")
    args.folder.mkdir(parents=True)
    sample, files = Image.open(SAMPLE).convert("RGB"), {}
    for name in args.only:
        *box, quality = CASES[name]
        image = sample.crop(tuple(box))
        if name == "crop":
            image.putalpha(Image.linear_gradient("L").resize(image.size))
            image.info["xmp"] = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
        data = api.compress(image, quality=quality, verify=True, model=args.model)
        (args.folder / f"{name}.lq").write_bytes(data)
        api.decompress(data, model=args.model).save(args.folder / f"{name}.png", optimize=True)
        files[name] = api.read_tokens(data, model=args.model).digest()
    loaded = load_model(args.model)
    manifest = {"model": loaded.name, "token_model": loaded.token_model.hex(), "tokens_sha256": files}
    (args.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{args.folder}: {len(files)} files for {loaded.name} {loaded.token_model.hex()}")


if __name__ == "__main__":
    main()
