"""What the post-filter gives: the files of an evaluation as they are, and without their filter.

    leechcodec eval PHOTOS --codec leech --dial leech=10,35,60,75,90 --no-process -o RESULTS
    python -m tools.measure_filter PHOTOS RESULTS/leech.json -o RESULTS/filter

For each quality: how many files have one, its mean size among these, the share of bytes and the PSNR that it adds to
all. Then the BD-rate with filters against the same files without, in curves of means and as the mean of the pictures'
own. OUTPUT gets both as results of leechcodec eval, with-filter.json and without-filter.json.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from PIL import Image

from leechcodec.codec import api
from leechcodec.lab.bdrate import bd_groups
from leechcodec.lab.datasets import photographs, pixels_of
from leechcodec.lab.metrics import scores
from leechcodec.lab.results import ImageRow, Results, load, means, save
from leechcodec.testing.files import without


def row_without(row: ImageRow, original: Image.Image, folder: Path) -> ImageRow:
    """A row of the same file without its filter."""
    data = (folder / row.file).read_bytes()
    plain = without(data)
    if plain == data:
        return row
    found = scores(original, api.decompress(plain))
    return replace(
        row, bytes=len(plain), bpp=8 * len(plain) / (row.width * row.height), psnr=found.psnr, ms_ssim=found.ms_ssim,
        ssim=found.ssim, ssimulacra2=found.ssimulacra2, lpips=None,
    )  # fmt: skip


def show(pairs: dict[str, list[tuple[ImageRow, ImageRow]]]) -> None:
    print(f"{'quality':>8} {'filters':>8} {'bytes':>7} {'of file':>8} {'PSNR':>9}")
    for setting, rows in pairs.items():
        having = [(row, plain) for row, plain in rows if row.bytes != plain.bytes]
        added = fmean(row.bytes - plain.bytes for row, plain in having) if having else 0.0
        share = sum(row.bytes - plain.bytes for row, plain in rows) / sum(plain.bytes for _, plain in rows)
        gain = fmean(row.psnr - plain.psnr for row, plain in rows)
        print(f"{setting:>8} {len(having):>4}/{len(rows):<3} {added:>7.1f} {share:>8.2%} {gain:>+6.3f} dB")


def show_rates(both: list[Results]) -> None:
    for metric in ("psnr", "ms-ssim", "ssimulacra2"):
        groups = dict(bd_groups(both, both[1].name, metric, "image"))
        mean, curves = groups["mean"][0], groups["all"][0]
        own = mean.reason if mean.rate is None else f"{mean.rate:+.2f} ± {mean.error or 0.0:.2f} % by picture"
        print(f"{metric:>12}: {curves.reason if curves.rate is None else f'{curves.rate:+.2f} %'}; {own}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("results", type=Path, help="a codec's results; its files are beside them")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    found = load(args.results)
    originals = {image.path.name: image.path for image in photographs(args.images)[0]}
    pairs: dict[str, list[tuple[ImageRow, ImageRow]]] = defaultdict(list)
    for row in found.images:
        pairs[row.setting].append((row, row_without(row, pixels_of(originals[row.image]), args.results.parent)))
    plain = tuple(plain for rows in pairs.values() for _, plain in rows)
    settings, columns = means(plain)
    both = [
        replace(found, codec="with-filter", name="with filter"),
        replace(found, codec="without-filter", name="without filter", images=plain, settings=settings, results=columns),
    ]
    args.output.mkdir(parents=True, exist_ok=True)
    for each in both:
        save(each, args.output / f"{each.codec}.json")
    show(pairs)
    show_rates(both)


if __name__ == "__main__":
    main()
