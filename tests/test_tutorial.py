"""docs/tutorial.md runs as it stands."""

import re

import pytest
from PIL import Image

from tests.places import ROOT

pytestmark = pytest.mark.slow

TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_tutorials_blocks_run_in_order(released, tmp_path, monkeypatch):
    with Image.open(ROOT / "data" / "sample.png") as sample:
        sample.crop((300, 150, 492, 278)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    text, names = TUTORIAL.read_text(), {"__name__": "tutorial"}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 10
    for block in blocks:
        line = text.count("\n", 0, block.start(1))  # so that a traceback names the line of the page
        exec(compile("\n" * line + block[1], str(TUTORIAL), "exec"), names)
    assert (tmp_path / "icon.png").is_file()
