"""Every row of the threats in docs/security.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.escapes import ESCAPES

TESTS = Path(__file__).parents[1]
SECURITY_MD = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")


def _rows() -> dict[str, str]:
    """Threat → the cell that names its tests."""
    rows = {}
    for line in SECURITY_MD.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4 and cells[0] != "threat":
            rows[cells[0]] = cells[3]
    return rows


@pytest.mark.parametrize(("threat", "cell"), _rows().items(), ids=[*_rows()])
def test_the_tests_of_a_threat_exist(threat: str, cell: str) -> None:
    named = re.findall(r"`([\w/]+)(?:::(\w+)(…?))?`", cell)
    assert named, f"no test is named for: {threat}"
    for module, function, shortened in named:
        folder = TESTS if "/" in module else TESTS / "integration"
        text = (folder / f"{module}.py").read_text(encoding="utf-8")
        if function:
            end = "" if shortened else r"\("
            assert re.search(rf"^ *def {function}{end}", text, re.MULTILINE), function


def test_the_table_is_read() -> None:
    assert len(_rows()) > 15


def test_the_named_escapes_are_rows_of_their_table() -> None:
    """With a star where only bubblewrap holds them."""
    table = SECURITY_MD.partition("## On one machine")[2].partition("\n## ")[0]
    rows = table.partition("|---")[2]
    within = "".join(line.split("|")[3] for line in rows.splitlines()[1:] if line)
    named = dict(re.findall(r"`([a-z]+_[a-z_]+)`(\\\*)?", within))
    known = {row.name: "" if row.landlock else "\\*" for row in ESCAPES}
    assert len(named) > 25
    assert named == {name: known.get(name) for name in named}
