"""Imports go one way: no module of the package knows a layer above its own."""

import ast
from pathlib import Path

import pytest

import leechcodec

PACKAGE = Path(leechcodec.__file__).parent
LAYERS = (
    "errors", "lazy", "concurrency", "threads", "compiled", "field_types", "config", "formats", "lattice", "entropy",
    "quantizers", "networks", "detail", "postfilter", "codec", "pillow", "training", "lab", "apps", "__main__",
    "testing",
)  # fmt: skip
"""From the bottom up. The package's own ``__init__`` offers public names of several layers, lazily."""
STRANGERS = [("formats", "lattice"), ("formats", "entropy"), ("formats", "quantizers"), ("formats", "networks")]
"""Neither knows the other."""


def imported(path: Path) -> set[str]:
    """The layers that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: name the module in full"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("leechcodec.")}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_none_above_it(layer):
    folder = PACKAGE / layer
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{layer}.py"]
    assert paths
    allowed = set(LAYERS[: LAYERS.index(layer) + 1]) | {"__version__"}
    allowed -= {other for pair in STRANGERS if layer in pair for other in pair if other != layer}
    for path in paths:
        assert imported(path) <= allowed, f"{path.relative_to(PACKAGE)} imports {imported(path) - allowed}"


def test_formats_do_without_torch():
    """Reading a file's header takes microseconds, not an import of seconds."""
    for path in (PACKAGE / "formats").rglob("*.py"):
        assert "import torch" not in path.read_text() and "from torch" not in path.read_text()


def test_every_module_has_its_layer():
    found = {path.stem for path in PACKAGE.glob("*") if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found == {*LAYERS, "__init__"}
