"""Whether every function fits on a screen: at most 60 lines, docstring included.

    python -m tools.checks.functions

Exit status 1 where one does not.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("leechcodec", "tools")
LINES = 60


def functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, first line, number of lines) of every function in a module, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def main() -> int:
    found = [(path, each) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") for each in functions(path)]
    for path, (name, line, count) in found:
        if count > LINES:
            print(f"{path.relative_to(ROOT)}:{line}: {name} has {count} lines, at most {LINES}", file=sys.stderr)
    lengths = sorted(count for _, (_, _, count) in found)
    print(f"{len(found)} functions, the longest of {lengths[-1]} lines, the median of {lengths[len(lengths) // 2]}")
    return int(lengths[-1] > LINES)


if __name__ == "__main__":
    sys.exit(main())
