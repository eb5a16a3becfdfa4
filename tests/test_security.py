"""What the package must never do, read from its source."""

import ast
from pathlib import Path

import pytest

import leechcodec

PACKAGE = Path(leechcodec.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
NETWORK = {"socket", "urllib", "http", "requests", "ftplib"}
MAY_LOAD = {"lab/peers/compressai.py", "training/lpips_net.py"}
MAY_DOWNLOAD = {"lab/download.py"}
"""The only file that may open a connection: behind ``leechcodec data``."""
MAY_FETCH_WEIGHTS = {"lab/peers/compressai.py"}
"""torch.hub downloads, of ``leechcodec eval`` alone."""
FETCHING = ("download_url_to_file", "load_state_dict_from_url", "hub.load")
MAY_LISTEN = {"apps/serve/server.py"}
"""The only file that may be connected to: it binds sockets, and never connects one."""


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])
def test_no_pickle_no_eval_no_network(path):
    tree = ast.parse(path.read_text())
    assert not imported(tree) & FORBIDDEN
    name = path.relative_to(PACKAGE).as_posix()
    if name not in MAY_DOWNLOAD:
        assert imported(tree) & NETWORK <= ({"socket"} if name in MAY_LISTEN else set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert not called.endswith(FETCHING) or name in MAY_FETCH_WEIGHTS
            assert not called.endswith((".connect", ".connect_ex", ".create_connection"))
            assert called not in ("eval", "exec", "torch.save", "numpy.load", "np.load")
            if called == "torch.load":  # others' weights alone, and never objects
                assert str(path.relative_to(PACKAGE)) in MAY_LOAD and "weights_only=True" in ast.unparse(node)
