"""Row 4: read-only places, damaged caches, what callers set in torch, forked children."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from leechcodec.codec import api, model_store, surroundings
from leechcodec.testing.files import without
from tests.inputs import make
from tests.places import ROOT

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def python(script, *arguments, timeout=240, **environment):
    """A script in a process of its own, by what it prints."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **{k: str(v) for k, v in environment.items() if v is not None}}
    for name in (name for name, value in environment.items() if value is None):
        variables.pop(name, None)
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- caches ------------------------------------------------------------------------------------------

MODULE = """
from leechcodec.compiled import entry
@entry()
def twice(x):
    return 2 * x
"""
USE = """
import sys
sys.path.insert(0, sys.argv[1])
import module
from leechcodec.compiled import remark
print(module.twice(21), remark(), 1 - module.twice.compiled)
"""


@pytest.fixture
def module(tmp_path):
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "module.py").write_text(MODULE)
    return folder


def nowhere(tmp_path, **more):
    return {
        "HOME": "/dev/null/x",
        "XDG_CACHE_HOME": "/dev/null/x",
        "NUMBA_CACHE_DIR": None,
        "NUMBA_DISABLE_JIT": None,
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


@pytest.mark.slow
@posix
def test_4a_without_a_place_for_a_cache(module, tmp_path):
    (module / "__pycache__").write_bytes(b"")  # stands for a folder that cannot be written
    there = tmp_path / "tmp"
    there.mkdir()
    first = python(USE, module, **nowhere(tmp_path, TMPDIR=there))
    assert first.startswith("42 compiled code is kept in ") and str(there) in first and first.endswith(" 0")
    folder = there / f"leechcodec-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700 and list(folder.rglob("*.code"))
    assert python(USE, module, **nowhere(tmp_path, TMPDIR=there)).endswith(" 1")
    folder.chmod(0o777)  # another user might have written it
    assert "not kept" in python(USE, module, **nowhere(tmp_path, TMPDIR=there))


@pytest.mark.slow
@posix
def test_4a_with_a_cache_nothing_is_said(module, tmp_path):
    assert python(USE, module, NUMBA_CACHE_DIR=tmp_path / "cache", NUMBA_DISABLE_JIT=None) == "42 None 0"
    assert python(USE, module, NUMBA_CACHE_DIR=tmp_path / "cache", NUMBA_DISABLE_JIT=None) == "42 None 1"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "forty", "zeros", "no head"])
def test_4b_a_damaged_cache_is_made_again(damage, module, tmp_path):
    settings = {"NUMBA_CACHE_DIR": tmp_path / "cache", "NUMBA_DISABLE_JIT": None}
    python(USE, module, **settings)
    (path,) = (tmp_path / "cache").rglob("*.code")
    whole = path.read_bytes()
    spoiled = {
        "empty": b"",
        "forty": whole[:40],
        "zeros": whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
        "no head": whole.partition(b"\n")[2],
    }
    path.write_bytes(spoiled[damage])
    assert python(USE, module, **settings) == "42 None 0"
    assert python(USE, module, **settings) == "42 None 1"


# --- torch ------------------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    """The first call of a process, as far as models are concerned."""
    model_store._load.cache_clear()
    yield
    model_store._load.cache_clear()


@pytest.fixture(scope="module")
def expected(tiny_folder):
    image = Image.fromarray(make.photo())
    data = api.compress(image, quality=80, model=tiny_folder)
    return image, data, np.asarray(api.decompress(data, model=tiny_folder))


def same(expected, tiny_folder):
    image, data, pixels = expected
    assert api.compress(image, quality=80, model=tiny_folder) == data
    assert np.array_equal(np.asarray(api.decompress(data, model=tiny_folder)), pixels)
    tokens = api.tokenize(image, quality=80, model=tiny_folder)
    plain = api.decompress(without(data), model=tiny_folder)
    assert np.array_equal(np.asarray(api.detokenize(tokens, model=tiny_folder)), np.asarray(plain))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_4c_a_default_dtype(dtype, fresh, expected, tiny_folder):
    torch.set_default_dtype(dtype)
    try:
        same(expected, tiny_folder)
        assert torch.get_default_dtype() == dtype
        with pytest.raises(TypeError):
            api.compress(expected[0], model=5)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    same(expected, tiny_folder)


def test_4c_of_eight_threads(fresh, expected, tiny_folder):
    torch.set_default_dtype(torch.float64)
    try:
        threads = [threading.Thread(target=same, args=(expected, tiny_folder)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("how", ["default", "context"])
def test_4d_a_default_device(how, fresh, expected, tiny_folder):
    if how == "default":
        torch.set_default_device("meta")
        try:
            same(expected, tiny_folder)
            assert torch.empty(1).device.type == "meta"
        finally:
            torch.set_default_device(None)
    else:
        with torch.device("meta"):
            same(expected, tiny_folder)
            assert torch.empty(1).device.type == "meta"
    same(expected, tiny_folder)


def test_4d_loading_alone(fresh, expected, tiny_folder):
    with torch.device("meta"):
        model_store.load_model(tiny_folder)
    same(expected, tiny_folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_4e_autocast(dtype, fresh, expected, tiny_folder):
    with torch.autocast("cpu", dtype=dtype):
        same(expected, tiny_folder)
        assert torch.is_autocast_enabled("cpu")


def test_4f_random_numbers(fresh, expected, tiny_folder):
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    state = np.random.get_state()[1].copy()
    same(expected, tiny_folder)
    assert torch.equal(torch.rand(1), wanted) and np.array_equal(np.random.get_state()[1], state)


@pytest.mark.slow
@posix
@pytest.mark.parametrize("used_by", ["codec", "torch"])
@pytest.mark.parametrize("how", ["fork", "pool"])
def test_4g_a_forked_child_works(how, used_by, tiny_folder, tmp_path):
    script = """
        import os, sys, multiprocessing, torch, numpy as np
        from PIL import Image
        import leechcodec
        from leechcodec.codec import api
        image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8))
        torch.set_num_threads(2)
        def work(_=None):
            return len(leechcodec.compress(image, model=sys.argv[1]))
        if sys.argv[2] == "codec":
            work()
        else:
            a = torch.rand(1000, 1000); (a @ a).exp().sum()
        if sys.argv[3] == "fork":
            child = os.fork()
            if not child:
                os._exit(0 if work() else 1)
            print(os.waitpid(child, 0)[1])
        else:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(0 * sum(pool.map(work, range(3))))
        work()
        assert torch.get_num_threads() == 2
    """
    assert python(script, tiny_folder, used_by, how, OMP_NUM_THREADS=2).splitlines()[-1] == "0"


@pytest.mark.slow
@posix
@pytest.mark.parametrize("first_by", ["main", "thread"])
def test_4h_a_forked_child_of_a_program_that_had_only_imported_it(first_by, tiny_folder):
    script = """
        import os, sys, threading, torch
        import leechcodec
        from PIL import Image
        torch.set_num_threads(2)
        torch.ones(1 << 17).exp().sum()
        image = Image.effect_noise((128, 128), 60).convert("RGB")
        def work():
            leechcodec.compress(image, effort=2, model=sys.argv[1])
            assert torch.get_num_threads() == 1
        if not (child := os.fork()):
            if sys.argv[2] == "thread":
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
            work()
            os._exit(0)
        print(os.waitpid(child, 0)[1])
    """
    assert python(script, tiny_folder, first_by, OMP_NUM_THREADS=2).split() == ["0"]


@pytest.mark.slow
@posix
def test_4h_a_forked_child_forgets_its_parents_models(tiny_folder, tmp_path):
    script = """
        import os, shutil, sys
        import numpy as np
        from PIL import Image
        import leechcodec
        image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8))
        models = [shutil.copytree(sys.argv[1], os.path.join(sys.argv[2], str(number))) for number in range(6)]
        data = [leechcodec.compress(image, model=model) for model in models[:2]]
        if not (child := os.fork()):
            made = [leechcodec.compress(image, model=model) for model in (*models[2:], models[0])]
            os._exit(any(each != data[0] for each in made))
        print(os.waitpid(child, 0)[1])
    """
    assert python(script, tiny_folder, tmp_path, OMP_NUM_THREADS=2).split() == ["0"]


def test_shelters_nest():
    with surroundings.shelter(), surroundings.shelter():
        assert torch.get_default_dtype() == torch.float32
    assert surroundings._inside == 0
