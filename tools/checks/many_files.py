"""The tool's own times: opening, refusing, starting, and a folder on two cores against one.

    python -m tools.checks.many_files                                        100 photographs of 768 x 512: some minutes
    python -m tools.checks.many_files --images 2 --size 64 48 --ratio 0      whether it works

Photographs are mirrored and shifted pieces of the sample. Opening is `Image.open` of 1,000 .lq files in a process of
its own, size and mode read. Refusing is `Image.open` of a PNG that may only be .lq. The folder is encoded by
`leechcodec encode FOLDER -o OUT` with the default jobs, then with `--jobs 1 --threads 1`; start and weights included.
Exit status 1 where torch is imported by opening, opening takes over 2 s, or the ratio is below --ratio.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps

SAMPLE = Path(__file__).parents[2] / "data" / "sample.png"
FILES = 1000
OPEN_LIMIT = 2.0
OPEN = """
import json, sys, time
from pathlib import Path
from PIL import Image
import leechcodec.pillow
paths = [str(path) for path in Path(sys.argv[1]).iterdir()]
started = time.perf_counter()
for path in paths:
    with Image.open(path) as image:
        image.size, image.mode
print(json.dumps({"seconds": time.perf_counter() - started, "files": len(paths), "torch": "torch" in sys.modules}))
"""
COMMAND = (sys.executable, "-m", "leechcodec")


def photographs(sample: Image.Image, count: int, size: tuple[int, int], folder: Path) -> None:
    """Write so many different pieces of the sample, each of a size."""
    scale = max(1.0, size[0] / sample.width, size[1] / sample.height)
    sample = sample.resize((round(sample.width * scale), round(sample.height * scale)))
    for number in range(count):
        piece = ImageOps.mirror(sample) if number % 2 else sample
        piece = ImageOps.flip(piece) if number % 4 > 1 else piece
        shifted = Image.new("RGB", size)
        shift = -(37 * number % piece.width), -(23 * number % piece.height)
        for left in (shift[0], shift[0] + piece.width):
            for top in (shift[1], shift[1] + piece.height):
                shifted.paste(piece, (left, top))
        shifted.save(folder / f"{number:03}.png", compress_level=1)


def opening(folder: Path) -> dict:
    """Seconds for 1,000 files, and whether torch was imported."""
    from leechcodec import compress

    data = compress(Image.effect_noise((64, 48), 50), quality=1)
    for number in range(FILES):
        (folder / f"{number}.lq").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", OPEN, str(folder)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def refusing(runs: int = 2000) -> float:
    """Microseconds until a PNG file is refused."""
    import leechcodec.pillow  # noqa: F401 (registers the format)

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    started = time.perf_counter()
    for _ in range(runs):
        try:
            Image.open(buffer, formats=["LQ"])
        except Image.UnidentifiedImageError:
            continue
        sys.exit("a PNG file was opened as .lq")
    return 1e6 * (time.perf_counter() - started) / runs


def seconds_of(*arguments: str) -> float:
    """Of one leechcodec command, as a process."""
    started = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip()[-2000:])
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sample", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=(768, 512), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--ratio", type=float, default=1.6, help="fail below this one")
    args = parser.parse_args()
    print("| what | measured |")
    print("|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        opened = opening(Path(name))
    torch = "torch imported" if opened["torch"] else "no torch"
    print(f"| opening {opened['files']:,} .lq files | {opened['seconds']:.2f} s, {torch} |")
    print(f"| refusing a PNG file | {refusing():.1f} µs |")
    print(f"| `leechcodec --help`, best of 5 | {min(seconds_of('--help') for _ in range(5)):.2f} s |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "in"), Path(name, "out")
        source.mkdir()
        photographs(Image.open(args.sample).convert("RGB"), args.images, tuple(args.size), source)
        seconds_of("encode", str(source / "000.png"), "-o", str(Path(name, "first.lq")))  # compiles what is compiled
        shared = seconds_of("encode", str(source), "-o", str(out))
        alone = seconds_of("encode", str(source), "-o", str(Path(name, "alone")), "--jobs", "1", "--threads", "1")
        same = all(path.read_bytes() == Path(name, "alone", path.name).read_bytes() for path in out.iterdir())
    size = f"{args.images} images of {args.size[0]} x {args.size[1]}"
    print(f"| {size}, default jobs | {shared:.1f} s |")
    print(f"| {size}, one job, one thread | {alone:.1f} s |")
    print(f"| ratio | {alone / shared:.2f}, {'equal' if same else 'other'} files |")
    sys.exit(opened["torch"] or opened["seconds"] > OPEN_LIMIT or alone / shared < args.ratio)


if __name__ == "__main__":
    main()
