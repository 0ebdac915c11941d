"""No regular expression of `runner/` has a possessive quantifier or an atomic group.

CPython 3.11.0 to 3.11.4 mishandle them inside groups, and Debian 12 has 3.11.2: a
pattern would silently match less.
"""

from __future__ import annotations

import ast
import importlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[2] / "runner"
MODULES = sorted(path.relative_to(RUNNER) for path in RUNNER.rglob("*.py"))
PLACEHOLDER = "(?:x)"  # in place of a part of the pattern that is not written there
parser = importlib.import_module("re._parser")


def pattern_texts(tree: ast.AST) -> Iterator[str]:
    """Every text that is no docstring; texts that are joined by `+` or in an f-string
    also as a whole.
    """
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    text = joined(tree)
    if text is not None:
        yield text
    for child in ast.iter_child_nodes(tree):
        yield from pattern_texts(child)


def joined(node: ast.AST) -> str | None:
    """The text that this expression makes; None for what makes no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(joined(part) or PLACEHOLDER for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = joined(node.left), joined(node.right)
        if left is not None or right is not None:
            return (left or PLACEHOLDER) + (right or PLACEHOLDER)
    return None


def mishandled(text: str) -> bool:
    """Whether the text is a regular expression with a possessive quantifier or an
    atomic group.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(text)
    except (re.error, OverflowError):
        return False
    return any(
        operator in repr(parsed) for operator in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")
    )


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_pattern_needs_a_newer_python(module: Path) -> None:
    tree = ast.parse((RUNNER / module).read_text(encoding="utf-8"))
    assert [text for text in pattern_texts(tree) if mishandled(text)] == []


@pytest.mark.parametrize(
    "source",
    [
        'P = re.compile(r"#[ ]++x")',
        'P = re.compile(r"(?:a*+)")',
        'P = re.compile("a?+")',
        'P = re.compile("a{2,3}+")',
        'P = re.compile("(?>ab)")',
        'P = re.compile(r"(" + NAME + r")*+")',
        'P = re.compile(rf"({NAME})++")',
        'NAME = r"[a-z]++"',
    ],
)
def test_every_kind_would_be_noticed(source: str) -> None:
    assert any(mishandled(text) for text in pattern_texts(ast.parse(source)))


@pytest.mark.parametrize(
    "source", ['P = re.compile(r"[-*+]+ \\++ x+?")', '"""C++ in a docstring."""']
)
def test_what_is_neither_is_allowed(source: str) -> None:
    assert not any(mishandled(text) for text in pattern_texts(ast.parse(source)))
