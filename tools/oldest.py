"""The oldest versions that pyproject.toml allows for what the package needs, as a constraints file for pip.

python -m tools.oldest                    click==8.2, llvmlite==0.43, …, one a line
python -m tools.oldest --except pillow    without some of them
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
LOWER_BOUND = re.compile(r"^([\w.-]+)>=([\d.]+)(,.*)?$")


def oldest(requirements: list[str]) -> dict[str, str]:
    """Versions by name. Raises ValueError for a requirement that is not a name, `>=` and a version first."""
    found = {requirement: LOWER_BOUND.match(requirement.replace(" ", "")) for requirement in requirements}
    if without := [requirement for requirement, match in found.items() if match is None]:
        raise ValueError(f"no lower bound: {', '.join(without)}")
    return {match[1]: match[2] for match in found.values() if match}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--except", dest="left_out", nargs="*", default=[], help="packages to leave out")
    left_out = parser.parse_args().left_out
    versions = oldest(tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])
    if unknown := set(left_out) - set(versions):
        parser.error(f"no dependency: {', '.join(sorted(unknown))}")
    for name, version in versions.items():
        if name not in left_out:
            print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
