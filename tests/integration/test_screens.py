"""The screens of docs/watching.md show what the commands print now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Those that most of a run's output goes through.
NAMES = ("failure", "status", "show", "kept")


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("screens", DOCS / "screens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "screens", module)
    spec.loader.exec_module(module)
    return module


def test_the_screens_in_the_docs_are_those_of_today(
    screens: Any, tmp_path: Path
) -> None:
    root = screens.make_shop(tmp_path)
    for name in NAMES:
        today = screens.run_fanin(root, screens.SHOP[name]).text
        shown = (DOCS / "screens" / f"{name}.txt").read_text(encoding="utf-8")
        assert screens.comparable(today) == screens.comparable(shown), (
            "python docs/screens.py  makes them anew"
        )


def test_only_times_and_names_of_a_run_may_differ(screens: Any) -> None:
    before = (
        "B  2.1 s  0123456789\nA  its work is kept at ref/a1-20260101-120000-1f2e.1\n"
    )
    after = (
        "A  its work is kept at ref/a1-20270101-120000-2e1f.1\nB  12 s  a123456789\n"
    )
    assert screens.comparable(before) == screens.comparable(after)
    assert screens.comparable(before) != screens.comparable(before.replace("its", "no"))
    # The terminal has broken a line.
    assert screens.comparable("abcd\nef\n", 4) == screens.comparable("abcdef\n", 9)


def test_faint_text_is_grey_and_scrolled_lines_are_kept(screens: Any) -> None:
    terminal = screens.Terminal()
    terminal.write("".join(f"{number}\n" for number in range(50)).encode())
    terminal.write(b"\x1b[2mfaint\x1b[0m \x1b[32mdone\x1b[0m")
    shown = terminal.shown()
    assert len(shown.rows) == 51
    assert [shown.rows[50][place].fg for place in (0, 6)] == ["brightblack", "green"]


def test_a_screen_that_never_came_is_an_error(screens: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fanin --version never showed"):
        screens.run_fanin(tmp_path, "--version", lambda text: "no such text" in text)
