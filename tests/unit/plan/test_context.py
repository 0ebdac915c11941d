"""The context of a prompt: whole documents, in order, of bounded size."""

from __future__ import annotations

import pytest

from runner.core.task import Reference
from runner.plan.context import MAX_CONTEXT, read_context
from runner.plan.formats import MemoryTree

FEATURE = MemoryTree({"s/plan.md": "Use Python.\n", "s/spec.md": "Users log in.\n"})


def test_names_come_first_and_texts_follow_in_order() -> None:
    references = [Reference("s/plan.md"), Reference("s/spec.md")]
    assert read_context(references, FEATURE) == (
        "Read these before you begin:\n\n- s/plan.md\n- s/spec.md\n\n"
        "----- s/plan.md -----\n\nUse Python.\n\n"
        "----- s/spec.md -----\n\nUsers log in."
    )


def test_a_document_that_does_not_exist_is_left_out() -> None:
    assert read_context([Reference("s/research.md")], FEATURE) == ""
    text = read_context([Reference("s/research.md"), Reference("s/plan.md")], FEATURE)
    assert "research" not in text


def test_a_text_of_the_format_needs_no_tree() -> None:
    text = read_context([Reference("epic b-1: Payments", "Take money.")], None)
    assert "- epic b-1: Payments" in text
    assert "Take money." in text


def test_a_document_that_does_not_fit_is_left_out_whole_and_named() -> None:
    big = MemoryTree({"big.md": "ü" * MAX_CONTEXT, "small.md": "short"})
    text = read_context([Reference("big.md"), Reference("small.md")], big)
    assert "ü" not in text
    assert "short" in text
    assert text.splitlines()[-1] == "(cut here: the text of big.md did not fit)"


@pytest.mark.parametrize("size", [1, 100, 7_000, 27_990, 28_100])
@pytest.mark.parametrize("count", [1, 5, 400])
def test_the_context_is_never_larger_than_its_limit(size: int, count: int) -> None:
    names = [f"{number:03d}-{'ä' * 60}.md" for number in range(count)]
    tree = MemoryTree(dict.fromkeys(names, "ö" * size))
    text = read_context([Reference(name) for name in names], tree)
    assert len(text.encode()) <= MAX_CONTEXT
    fits = count * (2 * size + 2 * len(names[0].encode()) + 20) < MAX_CONTEXT // 2
    assert ("cut here" in text) <= (not fits)
