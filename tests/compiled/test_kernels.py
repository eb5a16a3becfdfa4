"""A kernel gives what its function gives, whatever way its code came."""

import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np
import pytest

from leechcodec.compiled import cache, compiling, entry, inner, kernels, linking, numba_object
from leechcodec.compiled.cache import MachineCode
from leechcodec.compiled.identity import digest
from tests.places import ROOT

if not isinstance(entry()(len), kernels.Kernel):
    pytest.skip("the compiler is switched off", allow_module_level=True)

STEP = 3


class Pair(NamedTuple):
    values: np.ndarray
    factor: int


@inner()
def _scaled(value, factor):
    return value * factor + STEP


def _halved(value):
    return value // 2


def _compiled_half():
    from numba.extending import overload

    @overload(_halved)
    def chosen(value):
        return lambda value: value // 2

    return _halved


half = numba_object(_compiled_half, _halved)


@entry()
def fill(pair, result, extra):
    values, factor = pair
    total = 0
    for i in range(len(values)):
        result[i] = _scaled(values[i], factor) + np.int64(extra)
        total += half(result[i])
    return total


@entry()
def mean(values):
    total = 0.0
    for value in values.flat:
        total += value
    return total / values.size


@entry()
def nothing(values):
    values[0] = 1


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for kernel in (fill, mean, nothing):
        monkeypatch.setattr(kernel, "_calls", {})
        monkeypatch.setattr(kernel, "compiled", 0)
    return tmp_path / "leechcodec"


def expected(pair, extra):
    found = pair.values * pair.factor + STEP + int(extra)
    return found, int((found // 2).sum())


@pytest.mark.parametrize("extra", [2, 2.0, np.int64(2)])
def test_arguments_of_every_kind(extra, own_cache):
    pair, result = Pair(np.arange(12)[::3], 5), np.zeros(4, dtype=np.int64)
    wanted, total = expected(pair, extra)
    assert fill(pair, result, extra) == total
    assert np.array_equal(result, wanted)
    assert fill.compiled == 1 and len(list(own_cache.iterdir())) == 1


def test_numba_links_where_llvmlite_cannot(own_cache, monkeypatch):
    def fail(code):
        raise linking.LinkError

    monkeypatch.setattr(linking, "link", fail)
    test_arguments_of_every_kind(2, own_cache)
    fill._calls.clear()
    test_arguments_of_every_kind(2, own_cache)


def test_no_symbol_is_no_address(own_cache):
    code = compiling.compile_kernel(nothing.function, {}, (np.ones(2),))
    with pytest.raises(linking.LinkError, match="no other in"):
        linking.link(MachineCode("other", "none", code.object_code))


def test_results(own_cache):
    values = np.arange(6.0).reshape(2, 3)
    assert mean(values) == 2.5 and mean(values.T) == 2.5 and mean(values[:, 1:]) == 3
    assert nothing(values[0]) is None and values[0, 0] == 1
    assert len(mean._calls) == 3


def test_the_cache_is_used(own_cache):
    mean(np.ones(3))
    mean._calls.clear()
    assert mean(np.ones(4)) == 1 and mean.compiled == 1


@pytest.mark.parametrize("damaged", [b"", b"{}\n", bytes(1000)])
def test_a_damaged_file_is_made_again(damaged, own_cache):
    mean(np.ones(3))
    (path,) = own_cache.iterdir()
    path.write_bytes(damaged)
    mean._calls.clear()
    assert mean(np.ones(4)) == 1 and mean.compiled == 2
    assert MachineCode.from_bytes(path.read_bytes()).result == "float64"


@pytest.mark.parametrize(("old", "new"), [(b'"float64"', b'"float65"'), (b'"symbol": "', b'"symbol": "x')])
def test_a_damaged_head_is_made_again(old, new, own_cache):
    mean(np.ones(3))
    (path,) = own_cache.iterdir()
    damaged = path.read_bytes().replace(old, new, 1)
    path.write_bytes(damaged)
    mean._calls.clear()
    assert mean(np.ones(4)) == 1 and path.read_bytes() != damaged
    assert MachineCode.from_bytes(path.read_bytes()).result == "float64"


def test_a_kernel_that_allocates_is_refused():
    @entry()
    def allocates(values):
        return np.zeros(3)[0] + values[0]

    with pytest.raises(Exception, match=r"nopython mode"):
        allocates(np.ones(3))


def test_a_kernel_that_needs_a_library_is_refused():
    @entry()
    def needs(values):
        return np.arctan2(values[0], 2.0)

    with pytest.raises(RuntimeError, match="needs atan2"):
        needs(np.ones(3))


def test_a_result_that_none_may_have():
    @entry()
    def returns(values):
        return values

    with pytest.raises(TypeError, match="returns array"):
        returns(np.ones(3))


def test_a_status_is_an_error():
    @entry()
    def raises(values):
        if values[0] > 0:
            raise ValueError
        return 0

    assert raises(np.zeros(1)) == 0
    with pytest.raises(RuntimeError, match="status"):
        raises(np.ones(1))


def test_a_digest_knows_what_a_kernel_is_made_of(monkeypatch):
    before = digest(fill)
    assert before == digest(fill) != digest(mean)
    monkeypatch.setitem(globals(), "STEP", 4)
    assert digest(fill) != before


def test_a_part_changes_what_it_is_part_of(monkeypatch):
    before = digest(fill)
    monkeypatch.setitem(globals(), "_scaled", inner(fastmath=True)(_scaled.function))
    assert digest(fill) != before


def test_without_numba_where_code_is_kept():
    """The point of it all: a second process imports no compiler."""
    script = """
        import sys, numpy as np
        from leechcodec.entropy.pmf import integer_pmf
        print(integer_pmf(np.ones((2, 4))).tolist()[0], "numba" in sys.modules)
    """
    command = [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())]
    found = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert found[1] == "[4194304, 4194304, 4194304, 4194304] False\n"


def test_save_goes_on_where_a_folder_is_full(own_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = compiling.compile_kernel(nothing.function, {}, (np.ones(2),))
    own_cache.parent.joinpath("leechcodec").write_bytes(b"a file in the way")
    cache.save(tmp_path / "missing.py", "name.code", code)
    assert cache.load(tmp_path / "missing.py", "name.code") == code
    cache._elsewhere.clear()
