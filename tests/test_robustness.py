"""What no input may do: break a round trip, or bring out anything but an LqError."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leechcodec.codec import api
from leechcodec.errors import CorruptError, LqError
from leechcodec.formats.container import ChunkKind, read_file, salvage
from leechcodec.testing.mutations import layer, mutate, repaired

pytestmark = pytest.mark.slow

CONTENTS = {
    "black": lambda h, w: np.zeros((h, w, 3)),
    "white": lambda h, w: np.full((h, w, 3), 255),
    "red": lambda h, w: np.broadcast_to([255, 0, 0], (h, w, 3)),
    "noise": lambda h, w: np.random.default_rng(h * w).integers(0, 256, (h, w, 3)),
    "checkerboard": lambda h, w: 255 * (np.indices((h, w)).sum(0) % 2)[..., None].repeat(3, 2),
}
MODES = ("RGB", "L", "LA", "RGBA", "P", "1", "CMYK")


@given(
    width=st.integers(1, 140),
    height=st.integers(1, 140),
    content=st.sampled_from(sorted(CONTENTS)),
    mode=st.sampled_from(MODES),
    quality=st.floats(1, 100),
)
@settings(max_examples=40, deadline=None)
def test_round_trip(tiny_folder, width, height, content, mode, quality):
    image = Image.fromarray(CONTENTS[content](height, width).astype(np.uint8)).convert(mode)
    data = api.compress(image, quality=quality, model=tiny_folder, verify=True)
    assert api.decompress(data, model=tiny_folder).size == (width, height)


@pytest.mark.parametrize("size", [(1, 5000), (4097, 3), (1, 1), (65, 1)])
def test_shapes_that_hurt(tiny_folder, size):
    image = Image.fromarray(CONTENTS["noise"](*size[::-1]).astype(np.uint8))
    data = api.compress(image, quality=77.7, model=tiny_folder, verify=True)
    assert api.decompress(data, model=tiny_folder).size == size


@pytest.fixture(scope="module")
def files(tiny_folder):
    image = Image.fromarray(CONTENTS["noise"](40, 90).astype(np.uint8))
    plain = api.compress(image, quality=100, model=tiny_folder)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info["xmp"] = b"<x/>"
    return [plain, api.compress(image, quality=20, model=tiny_folder)]


def test_repairing_a_sound_file_changes_nothing(files):
    assert all(repaired(data) == data for data in files)


def test_mutated_containers(files):
    rng = np.random.default_rng(5)
    read = 0
    for number in range(3000):
        data = mutate(rng, files[number % 2], files)
        for reader in (read_file, salvage):
            with contextlib.suppress(LqError):
                reader(data)
                read += 1
    assert read > 50  # the mutations are not so wild that nothing gets past the first check


def test_mutated_files(tiny_folder, files):
    rng = np.random.default_rng(6)
    for number in range(60):
        data = mutate(rng, files[number % 2], files)
        with contextlib.suppress(LqError):
            api.decompress_partial(data, model=tiny_folder, max_pixels=100_000)
        with contextlib.suppress(LqError):
            api.decompress(data, model=tiny_folder, max_pixels=100_000)


def test_mutated_layers(tiny_folder, files):
    """Behind the checksums and the DEFLATE: what the head states is another, and the decoder meets it."""
    rng = np.random.default_rng(7)
    refused, shown = 0, 0
    assert any(chunk.kind == ChunkKind.DETAIL for chunk in read_file(files[0])[1])
    for _ in range(20):
        data = repaired(layer(rng, files[0], files[1]))
        assert data != files[0]
        assert read_file(data)[0] == read_file(files[0])[0]
        try:
            api.decompress(data, model=tiny_folder)
            shown += 1
        except CorruptError:
            refused += 1
    assert refused + shown == 20 and refused
    assert layer(rng, files[1], files[0]) == files[1]  # it has no layer
