"""The pages: files that they name exist, links lead somewhere, and the first ones are short (tools/checks/prose.py)."""

import re
import subprocess
import sys
import unicodedata

import pytest

from tests.places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FILE = re.compile(r"`((?:[\w-]+/)+[\w-]+\.(?:py|cu|toml|sh))`")
ANCHOR = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def prose(*pages: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.checks.prose", *pages]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page):
    named = FILE.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / "leechcodec" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def headings(page) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"[`*]", "", line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]


def in_the_site(heading: str) -> str:
    """The anchor that Python-Markdown makes of a heading."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def in_a_repository(heading: str) -> str:
    """The anchor that GitHub makes of it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_pages_lead_to_a_heading_there(page):
    lost = []
    for name, anchor in ANCHOR.findall(page.read_text(encoding="utf-8")):
        target = page.parent / name if name else page
        if target.suffix == ".md" and "api.md" not in name:  # its anchors are made of docstrings
            found = headings(target)
            both = {in_the_site(heading) for heading in found} & {in_a_repository(heading) for heading in found}
            lost += [f"{name}#{anchor}"] if anchor not in both else []
    assert lost == []


def test_the_design_page_shows_every_folder_of_the_package():
    folders = {path.name for path in (ROOT / "leechcodec").iterdir() if (path / "__init__.py").is_file()}
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert {name for name in folders if f"`{name}/`" not in text} == set()


def test_the_first_pages_are_short_and_plain():
    checked = prose()
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A " * 25 + "sentence.", 1),
        ("One. " + "word " * 25 + "end! " + "word " * 25 + "end?", 2),
        ("- item\n- " + "word " * 26 + "\n", 1),
        ("| cell | " + "word " * 26 + "|\n", 1),
        ("# " + "word " * 26 + "\n", 1),
        ("word " * 13 + "\n" + "word " * 13 + "\n", 1),  # a sentence over two lines
        ("word " * 20 + "[" + "word " * 6 + "](page.md)\n", 1),
        ("word " * 25 + "\n\n" + "word " * 25 + "\n", 0),
        ("| " + "word " * 25 + "| " + "word " * 25 + "|\n", 0),
        ("```\n" + "word " * 40 + "\n```\n", 0),
        ("    " + "word " * 40 + "\n", 0),
        ("<!-- " + "word " * 40 + "-->\n", 0),
        ("word " * 20 + "as by Zhao et al. " + "word " * 2 + "\n", 1),
    ],
)
def test_long_sentences_are_found(tmp_path, text, found):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    checked = prose(str(page))
    assert (checked.returncode, checked.stderr.count("words, at most")) == (int(found > 0), found)


def test_a_long_readme_is_found(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("A word here. " * 200, encoding="utf-8")
    assert prose(str(page)).returncode == 0
    page.write_text("A word here. " * 201, encoding="utf-8")
    assert prose(str(page)).returncode == 1
