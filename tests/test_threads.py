import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from leechcodec import threads as module
from leechcodec.threads import in_parts, load_torch, set_threads, threads


@pytest.fixture(autouse=True)
def as_it_was():
    before, own = torch.get_num_threads(), list(module._own)
    yield
    torch.set_num_threads(before)
    module._own[:] = own


def test_torch_has_the_number_where_it_is_loaded():
    set_threads(3)
    assert threads() == torch.get_num_threads() == 3
    torch.set_num_threads(2)
    load_torch()
    assert threads() == 2


@pytest.mark.parametrize("count, block, parts", [(0, 1, 1), (1, 1, 1), (7, 1, 3), (32, 16, 2), (33, 16, 3), (9, 4, 3)])
def test_parts_are_whole_blocks_in_order(count, block, parts):
    set_threads(3)
    slices = in_parts(lambda part: part, count, block)
    assert [number for part in slices for number in range(count)[part]] == list(range(count))
    assert len(slices) == parts and all(part.start % block == 0 for part in slices)


def test_without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    set_threads(3)
    assert threads() == 3
    module._own.clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "9" * 20)
    assert threads() == 4096
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads() >= 1


def test_while_another_thread_loads_torch(monkeypatch):
    half = ModuleType("torch")
    half.__spec__ = SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "torch", half)
    set_threads(3)
    assert threads() == 3


def test_torch_takes_over_what_was_set_before():
    program = """
from leechcodec.threads import load_torch, set_threads, threads
set_threads(1)
load_torch()
import torch
assert threads() == torch.get_num_threads() == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"OMP_NUM_THREADS": "2"})
