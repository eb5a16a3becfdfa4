"""Whether the pages that a newcomer reads first are short and in short sentences.

    python -m tools.checks.prose                  the README and the four pages behind it
    python -m tools.checks.prose docs/tokens.md   other pages, by the same rule for sentences

Counts the words of README.md (all of the file, as `wc -w` does) and the words of every sentence. Code blocks have no
sentences, and a piece of inline code, a link or an image counts by the words that a reader sees. A heading, an item of
a list and a cell of a table end a sentence. Exit status 1 where a page breaks a rule.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PAGES = ("README.md", "docs/index.md", "docs/tutorial.md", "docs/cli.md", "docs/design.md")
README_WORDS = 600
SENTENCE_WORDS = 25

FENCE = re.compile(r"^\s*(```|~~~)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s+")
INLINE_CODE = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
ABBREVIATIONS = "".join(rf"(?<!\b{word}\.)" for word in ("al", "ch", "cf", r"e\.g", r"i\.e", "vs"))
SENTENCE_END = re.compile(ABBREVIATIONS + r"(?<=[.!?])[)*_\"”]*\s+")
WORD = re.compile(r"\w")


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """The stretches of running text in a Markdown page: (number of the first line, text), code left out."""
    text = COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    start, lines, fenced = 0, [], False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        fence = FENCE.match(line)
        fenced ^= bool(fence)
        code = fenced or bool(fence) or (line.startswith("    ") and not lines)
        table = line.lstrip().startswith("|")
        if lines and (code or table or not line.strip() or line.startswith("#") or ITEM.match(line)):
            yield start, " ".join(lines)
            lines = []
        if code or not line.strip():
            continue
        if table:
            yield from ((number, cell.strip()) for cell in re.split(r"(?<!\\)\|", line))
        elif line.startswith("#"):
            yield number, line.lstrip("# ")
        else:
            start = start if lines else number
            lines.append(ITEM.sub("", line).strip())


def sentences(block: str) -> list[str]:
    """The sentences of a stretch of text, with links as their text and inline code without its spaces' full stops."""
    shown = LINK.sub(r"\1", INLINE_CODE.sub(lambda found: found[2].replace(". ", " "), block))
    return SENTENCE_END.split(shown)


def words(sentence: str) -> int:
    """Words with a letter or a digit in them."""
    return sum(bool(WORD.search(word)) for word in sentence.split())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files (default: the five a newcomer reads)")
    pages = parser.parse_args().pages or [Path(page) for page in PAGES]
    broken = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        counts = [(words(each), line, each) for line, block in blocks(text) for each in sentences(block)]
        longest, total = max((count for count, _, _ in counts), default=0), len(text.split())
        print(f"{page}: {total} words, longest sentence {longest}")
        for count, line, sentence in counts:
            if count > SENTENCE_WORDS:
                broken += 1
                print(f"{page}:{line}: {count} words, at most {SENTENCE_WORDS}: {sentence}", file=sys.stderr)
        if page.name == "README.md" and total > README_WORDS:
            broken += 1
            print(f"{page}: {total} words, at most {README_WORDS}", file=sys.stderr)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
