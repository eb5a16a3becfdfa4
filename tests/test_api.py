"""The public names: all there, all with types, none of them imported before it is used."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import leechcodec

LAZY = sorted(leechcodec._LAZY)


@pytest.mark.parametrize("name", LAZY)
def test_public_functions_have_types_and_a_docstring(name):
    value = getattr(leechcodec, name)
    assert inspect.getdoc(value)
    hints, parameters = typing.get_type_hints(value), inspect.signature(value).parameters
    assert set(parameters) <= set(hints)
    assert inspect.isclass(value) or "return" in hints


def test_every_public_name_is_there():
    assert set(LAZY) <= set(leechcodec.__all__)
    assert all(hasattr(leechcodec, name) for name in leechcodec.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        leechcodec.nothing  # noqa: B018


def test_the_package_says_that_it_is_typed():
    assert (Path(leechcodec.__file__).parent / "py.typed").is_file()


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, leechcodec; sys.exit(not {'torch', 'numpy', 'numba', 'PIL'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
