"""The table of packages in AGENTS.md equals the folders and modules of `runner/`."""

from __future__ import annotations

import re
from pathlib import Path

import runner

ROOT = Path(runner.__file__).parent
AGENTS_MD = (ROOT.parent / "AGENTS.md").read_text(encoding="utf-8")

# AGENTS.md describes these modules in words: one for each preset.
PRESETS = {"aider", "claude", "codex", "command", "copilot", "gemini", "opencode"}


def _table() -> dict[str, set[str]]:
    """Package → its modules, as the table lists them."""
    rows = {}
    for line in AGENTS_MD.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        match = re.fullmatch(r"`([\w.]+)`", cells[0])
        if match and len(cells) == 3:
            rows[match[1]] = set(re.findall(r"`(\w+)`", cells[2]))
    return rows


def _packages() -> dict[str, set[str]]:
    """Package → its modules and the packages inside it."""
    packages = {}
    for init in ROOT.glob("*/__init__.py"):
        folder = init.parent
        modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
        inner = {path.parent.name for path in folder.glob("*/__init__.py")}
        packages[folder.name] = modules | inner
    packages["agents"] -= PRESETS
    return packages


def test_the_table_lists_every_package_and_every_module() -> None:
    table = _table()
    assert table.pop("pipeline.py") == set()
    assert table == _packages()


def test_packages_are_listed_from_the_top_down() -> None:
    """A package imports only from rows below its own."""
    order = [name.removesuffix(".py") for name in _table()]
    for position, package in enumerate(order):
        path = ROOT / package
        files = path.glob("**/*.py") if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            text = file.read_text(encoding="utf-8")
            # Imports for type checkers alone are indented.
            imported = re.findall(r"^(?:from|import) runner\.(\w+)", text, re.MULTILINE)
            above = set(imported) & set(order[:position])
            assert not above, f"{file} imports from above"
