"""A file's detail layer: it brings the picture closer, and a reader that stops at the base ignores it."""

import numpy as np
from PIL import Image

from leechcodec.codec import api
from leechcodec.codec.detail_layer import detail_chunk
from leechcodec.codec.distortion import psnr
from leechcodec.formats.container import read_file, write_file


def test_the_layer_reaches_50_db_and_the_base_stays(tiny_folder):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 65, 3), dtype=np.uint8)
    base = api.compress(Image.fromarray(pixels), quality=50, model=tiny_folder)
    decoded = api.decompress(base, model=tiny_folder)
    header, chunks = read_file(base)
    file = write_file(header, [*chunks, detail_chunk(pixels, decoded, 0.8)])
    assert psnr(np.asarray(api.decompress(file, model=tiny_folder)), pixels) > 50
    small = api.decompress(file, model=tiny_folder, shrink=2)
    assert np.array_equal(small, api.decompress(base, model=tiny_folder, shrink=2))
    partial, missing = api.decompress_partial(file, model=tiny_folder)
    assert not missing and np.array_equal(partial, decoded)
