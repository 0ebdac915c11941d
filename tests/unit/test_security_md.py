"""Every row of the threats in docs/security.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
