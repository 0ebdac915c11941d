"""The prose of the documents is wrapped as code is, so that a change of it is a small diff.

Tables, code and what a command writes are as wide as they must be.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
GENERATED = {"compatibility.md"}
DOCUMENTS = [
    *(path for path in ROOT.glob("docs/*.md") if path.name not in GENERATED),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/README.md")),
]
MAX_COLUMNS = 120


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_line_of_prose_is_too_long(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    lines = text.splitlines()
    prose = {
        number
        for token in MarkdownIt().enable("table").parse(text)
        if token.type == "paragraph_open" and token.map
        for number in range(*token.map)
    }
    long = [n + 1 for n in sorted(prose) if len(lines[n]) > MAX_COLUMNS]
    assert not long, f"wrap these lines of {document.name} at {MAX_COLUMNS} columns"
