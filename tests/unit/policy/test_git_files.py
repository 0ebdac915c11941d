"""Which changes to .gitignore and .gitattributes are harmless, and why the others are
not.
"""

from __future__ import annotations

import pytest

from runner.policy import git_files


def _reason(
    path: str,
    old: str,
    new: str,
    *,
    ignored: tuple[str, ...] = (),
    carriage_returns: bool = False,
) -> str:
    fault = git_files.fault(
        path,
        old.encode(),
        new.encode(),
        lambda patterns: ignored if "*.log" in patterns else (),
        lambda: carriage_returns,
    )
    if fault is None:
        return ""
    return f"{fault.reason} (needed)" if fault.needed else fault.reason


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("src/.gitignore", "", "build/\n*.tmp\n", ""),
        (".gitignore", "dist\n", "# notes\ndist\n\nnode_modules/\n", ""),
        ("out/.gitignore", "", "*\n!.gitignore\n!.gitkeep\n", ""),
        ("conf/.gitignore", "", "!.env\n", "stops ignoring '.env'"),
        (".gitignore", ".env\nx\n", "x\n", "no longer ignores '.env'"),
        (".gitignore", ".env\n", "", "no longer ignores '.env'"),
        (".gitignore", "a\n!b\n", "!b\na\n", "no longer ignores '!b'"),
    ],
)
def test_a_gitignore_may_only_grow(path: str, old: str, new: str, reason: str) -> None:
    found = _reason(path, old, new)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_a_gitignore_may_not_hide_what_is_there() -> None:
    path, old, new = "src/.gitignore", "x\n", "x\n*.log\n"
    assert _reason(path, old, new, ignored=(path,)) == ""
    reason = "ignores src/x.log, which is in the repository"
    assert _reason(path, old, new, ignored=(path, "src/x.log")) == reason
    # What was there before hides nothing more.
    assert _reason(path, new, f"{new}y\n", ignored=("src/x.log",)) == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("* text=auto", ""),
        ("*.sh text eol=lf", ""),
        ("*.png -text", ""),
        ("*.x whitespace=tab-in-indent linguist-language=Python", ""),
        ("*.bin filter=lfs", "more than plain attributes"),
        ("*.bin filter=lfs -text", "(needed)"),
        ("*.bin merge=ours", "more than plain attributes"),
        ("*.bin diff=x", "more than plain attributes"),
        ("*.py -diff", "more than plain attributes"),
        ("*.py binary", "more than plain attributes"),
        ("*.py linguist-generated", "more than plain attributes"),
        ("*.py export-ignore", "more than plain attributes"),
        ("*.py !text", "(needed)"),
        ("*.py text=x", "(needed)"),
        ("*.py working-tree-encoding=UTF-16", "(needed)"),
        ("*.py ident", "(needed)"),
        ("[attr]x text", "more than plain attributes"),
        ('"a b" text', "more than plain attributes"),
    ],
)
def test_a_gitattributes_adds_nothing_executable(line: str, reason: str) -> None:
    found = _reason("src/.gitattributes", "a text\n", f"a text\n{line}\n")
    assert reason in found
    assert bool(found) == bool(reason)
    removed = _reason("src/.gitattributes", f"{line}\n", "")
    assert removed.startswith("no longer has the line")


def test_new_line_ends_of_files_that_are_there_are_not_harmless() -> None:
    path, new = "src/.gitattributes", "*.sh text\n"
    assert "line ends" in _reason(path, "", new, carriage_returns=True)
    assert _reason(path, "", "*.sh whitespace=fix\n", carriage_returns=True) == ""
