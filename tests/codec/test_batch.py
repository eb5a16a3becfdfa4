"""Batches, threads and asyncio: one model, the same bytes."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import leechcodec
import leechcodec.threads
from leechcodec.codec import api, model_store
from leechcodec.codec.batch import compress_many, decompress_many
from leechcodec.errors import ConfigError, ImageError, NotLqError
from tests.pictures import gradient


@pytest.fixture
def loads(monkeypatch):
    """The weight files read from here on, nothing loaded before."""
    read, read_weights = [], model_store.read_weights
    monkeypatch.setattr(model_store, "read_weights", lambda path: read.append(path) or read_weights(path))
    model_store._load.cache_clear()
    return read


def test_results_are_in_order_and_those_of_one_at_a_time(tiny_folder, loads):
    images = [gradient(60 + 10 * n, 50, n) for n in range(6)]
    files = list(compress_many(images, quality=60, model=tiny_folder, workers=3))
    assert len(loads) == 1
    assert files == [api.compress(image, quality=60, model=tiny_folder) for image in images]
    small = list(decompress_many(files, model=tiny_folder, shrink=2, workers=3))
    assert [image.size for image in small] == [(30 + 5 * n, 25) for n in range(6)]
    assert np.array_equal(small[5], api.decompress(files[5], model=tiny_folder, shrink=2))
    assert list(compress_many([], model=tiny_folder)) == []


def test_images_are_taken_as_results_are_asked_for(tiny_folder):
    taken = []

    def images():
        for number in range(20):
            taken.append(number)
            yield gradient(20, 20, number)

    files = compress_many(images(), quality=1, model=tiny_folder, workers=2)
    assert taken == []
    next(files)
    assert len(taken) == 4
    files.close()
    assert len(taken) == 4


def test_an_error_is_raised_in_its_place_and_ends_the_iterator(tiny_folder):
    good = api.compress(gradient(20, 20), model=tiny_folder)
    images = decompress_many([good, good, b"spoiled", good], model=tiny_folder, workers=4)
    assert next(images).size == (20, 20) and next(images).size == (20, 20)
    with pytest.raises(NotLqError):
        next(images)
    assert list(images) == []


def test_an_error_of_the_iterable_comes_after_the_results_before_it(tiny_folder):
    def images():
        yield gradient(20, 20)
        raise ImageError("no such file")

    files = compress_many(images(), model=tiny_folder, workers=2)
    assert next(files)[:4] == b"\x89LQ\n"
    with pytest.raises(ImageError, match="no such file"):
        next(files)


def test_settings_out_of_range(tiny_folder):
    with pytest.raises(ConfigError, match="workers"):
        compress_many([], workers=0)
    with pytest.raises(ConfigError, match="quality"):
        next(compress_many([gradient(20, 20)], quality=0, model=tiny_folder))


def test_threads_to_compute_with_are_as_before(tiny_folder):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        list(compress_many([gradient(20, 20)], quality=1, model=tiny_folder, workers=2))
        with ThreadPoolExecutor(1) as pool:
            assert (torch.get_num_threads(), pool.submit(torch.get_num_threads).result()) == (3, 3)
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_many_threads_load_one_model_and_code_equal_bytes(tiny_folder, loads):
    image, gate = gradient(90, 70), threading.Barrier(12)

    def work(number: int) -> tuple[int, bytes, bytes]:
        gate.wait()
        loaded = model_store.load_model(tiny_folder)
        data = api.compress(image, quality=80, effort=2 if number % 3 == 0 else 1, model=tiny_folder)
        return id(loaded), data, api.decompress(data, model=tiny_folder).tobytes()

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(work, range(12)))
    assert len(loads) == 1 and len({model for model, _, _ in results}) == 1
    for effort, members in ((2, results[::3]), (1, results[1::3] + results[2::3])):
        expected = api.compress(image, quality=80, effort=effort, model=tiny_folder)
        assert {data for _, data, _ in members} == {expected}
        assert {pixels for _, _, pixels in members} == {api.decompress(expected, model=tiny_folder).tobytes()}


def test_a_model_is_the_same_whoever_loads_it_first(tiny_folder, loads):
    api.tokenize(gradient(20, 20), model=tiny_folder)
    loaded = model_store.load_model(tiny_folder)
    assert len(loads) == 1 and not any(parameter.is_inference() for parameter in loaded.networks.parameters())


def test_from_asyncio(tiny_folder, loads):
    images = [gradient(40, 30, n) for n in range(4)]

    async def all_of_them() -> list[bytes]:
        calls = (asyncio.to_thread(leechcodec.compress, image, quality=40, model=tiny_folder) for image in images)
        return await asyncio.gather(*calls)

    assert asyncio.run(all_of_them()) == [api.compress(image, quality=40, model=tiny_folder) for image in images]
    assert len(loads) == 1


def test_iterators_that_overlap_leave_the_number_of_threads(tiny_folder, monkeypatch):
    """Without torch, where the number is the process's own."""
    monkeypatch.setattr(leechcodec.threads, "_torch", lambda: None)
    monkeypatch.setattr(leechcodec.threads, "_own", [7])
    images = [gradient(20, 20, number) for number in range(3)]
    one, other = (compress_many(images, quality=1, model=tiny_folder, workers=2) for _ in range(2))
    assert len(list(zip(one, other, strict=True))) == 3
    assert leechcodec.threads.threads() == 7
