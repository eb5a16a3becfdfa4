"""kernels.cu compiled for one thread of the processor: as on a GPU, save for the waits of threads for each other."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
import torch

from leechcodec.lattice import cuda_kernels, kernels, leech
from tests.lattice.test_kernels import SCALES, directions, scores

pytestmark = pytest.mark.slow

COMPILER = shutil.which("g++") or shutil.which("clang++")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    path = tmp_path_factory.mktemp("kernels") / "kernels.so"
    options = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-DHOST", "-x", "c++"]
    subprocess.run([COMPILER, *options, str(cuda_kernels.SOURCE), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.mark.parametrize("kind", ["random", "clustered", "sparse", "integer ties", "half-integer ties", "midpoints"])
def test_nearest(library, kind):
    z, tables = directions(kind), cuda_kernels.tables()
    codes = np.empty(z.shape, dtype=np.int8)
    library.nearest(pointer(z), pointer(tables), pointer(codes), len(z))
    leech.vector_to_index(codes)
    assert (z * codes).sum(1) == pytest.approx((z * kernels.nearest(z)).sum(1), rel=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_log_partition_and_marginals(library, scale):
    table, tables = scores(scale), cuda_kernels.tables()
    values, marginals = np.empty(len(table)), np.empty_like(table)
    library.log_partition(pointer(table), pointer(tables), pointer(values), pointer(marginals), len(table))
    expected, slopes = kernels.log_partition_and_marginals(table)
    assert values == pytest.approx(expected, rel=1e-13)
    assert marginals == pytest.approx(slopes, abs=1e-7)
    library.log_partition(pointer(table), pointer(tables), pointer(values), None, len(table))
    assert values == pytest.approx(expected, rel=1e-13)


def test_there_are_none_for_the_cpu():
    assert not cuda_kernels.available(torch.device("cpu"))


@pytest.mark.parametrize("error", [OSError("CUDA_HOME is not set"), RuntimeError("NVRTC"), AttributeError("no such")])
def test_a_torch_that_cannot_compile_goes_without(monkeypatch, error):
    def refuse(*args):
        raise error

    monkeypatch.setattr(cuda_kernels, "_kernel", refuse)
    with pytest.warns(UserWarning, match="torch operations instead"):
        assert not cuda_kernels.available.__wrapped__(torch.device("cuda"))


@pytest.mark.gpu
@on_a_gpu
def test_on_a_gpu():
    z = torch.from_numpy(directions("random")).cuda()
    assert np.array_equal(cuda_kernels.nearest(z).cpu().numpy(), kernels.nearest(z.cpu().numpy()))
    table = scores(4.0)
    values, marginals = cuda_kernels.log_partition_and_marginals(torch.from_numpy(table).cuda(), True)
    expected, slopes = kernels.log_partition_and_marginals(table)
    assert values.cpu().numpy() == pytest.approx(expected, rel=1e-13)
    assert marginals.cpu().numpy() == pytest.approx(slopes, abs=1e-7)
